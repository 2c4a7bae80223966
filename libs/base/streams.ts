/** Small tools for async iterables, of no side effect of their own: merging, batching, a queue with two ends. */

/** Items of all sources as they come; each source is asked for its next only when its last was taken. Ends the others when it is left. */
export async function* merge<T>(sources: AsyncIterable<T>[]): AsyncGenerator<T> {
  const iterators = sources.map((s) => s[Symbol.asyncIterator]());
  const pending = new Map(iterators.map((it) => [it, ask(it)]));
  try {
    while (pending.size > 0) {
      const { it, result } = await Promise.race(pending.values());
      if (result.done) pending.delete(it);
      else {
        // Asked before it is given out, at the end of the map: a source that always has something does not starve the others.
        pending.delete(it);
        pending.set(it, ask(it));
        yield result.value;
      }
    }
  } finally {
    for (const it of pending.keys()) void it.return?.()?.catch(() => undefined);
    for (const promise of pending.values()) promise.catch(() => undefined);
  }
}

async function ask<T>(it: AsyncIterator<T>): Promise<{ it: AsyncIterator<T>; result: IteratorResult<T> }> {
  return { it, result: await it.next() };
}

/** Items of all sources by `at`, smallest first; each source must be in that order itself. */
export async function* mergeSorted<T>(sources: readonly AsyncIterable<T>[], at: (item: T) => number): AsyncGenerator<T> {
  const iterators = sources.map((s) => s[Symbol.asyncIterator]());
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

/** Groups of up to `count` items, given out `ms` after the first of a group at the latest. */
export async function* batch<T>(source: AsyncIterable<T>, count: number, ms: number): AsyncGenerator<T[]> {
  const it = source[Symbol.asyncIterator]();
  let group: T[] = [];
  let timer: NodeJS.Timeout | undefined;
  let due: Promise<'due'> | undefined;
  let next = it.next();
  next.catch(() => undefined);
  try {
    for (;;) {
      const got = await (due ? Promise.race([next, due]) : next);
      if (got !== 'due') {
        if (got.done) break;
        group.push(got.value);
        next = it.next();
        next.catch(() => undefined);
        due ??= new Promise((resolve) => (timer = setTimeout(() => resolve('due'), ms)));
      }
      if (got === 'due' || group.length >= count) {
        clearTimeout(timer);
        due = undefined;
        yield group;
        group = [];
      }
    }
    if (group.length > 0) yield group;
  } finally {
    clearTimeout(timer);
    void it.return?.()?.catch(() => undefined);
  }
}

/** A queue: one side pushes, the other iterates. Unbounded: for what is small and rare. */
export class Queue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  push(item: T): void {
    this.#items.push(item);
    this.#wake?.();
  }

  end(error?: unknown): void {
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift() as T;
      if (this.#ended) break;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#error !== undefined) throw this.#error;
  }
}
