/** Several streams as one: as they come, or in the order of a number that each of them grows by. */

interface Pending<T> {
  index: number;
  result: IteratorResult<T>;
}

/** Everything that any of the streams gives, as it comes. A stream that throws ends the whole. */
export async function* mergeAsTheyCome<T>(streams: readonly AsyncIterable<T>[]): AsyncGenerator<T> {
  const iterators = streams.map((s) => s[Symbol.asyncIterator]());
  const step = async (index: number): Promise<Pending<T>> => ({ index, result: await (iterators[index] as AsyncIterator<T>).next() });
  const pending = new Map(iterators.map((_, index) => [index, step(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) pending.delete(index);
      else {
        pending.set(index, step(index));
        yield result.value;
      }
    }
  } finally {
    for (const promise of pending.values()) promise.catch(() => undefined);
    for (const iterator of iterators) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

/** Items of all streams by `at`, smallest first; each stream is in order by itself. */
export async function* mergeInOrder<T>(streams: readonly AsyncIterable<T>[], at: (item: T) => number): AsyncGenerator<T> {
  const iterators = streams.map((s) => s[Symbol.asyncIterator]());
  try {
    const heads = await Promise.all(iterators.map((i) => i.next()));
    for (;;) {
      let first = -1;
      let best = Infinity;
      for (const [index, head] of heads.entries()) {
        if (head.done || at(head.value) >= best) continue;
        best = at(head.value);
        first = index;
      }
      const head = heads[first];
      if (!head || head.done) return;
      yield head.value;
      heads[first] = await (iterators[first] as AsyncIterator<T>).next();
    }
  } finally {
    for (const iterator of iterators) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}
