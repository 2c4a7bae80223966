import { setTimeout as sleep } from 'node:timers/promises';
import { batch, merge, mergeSorted, Queue } from './streams.js';

async function* of<T>(items: readonly T[], onEnd?: () => void): AsyncGenerator<T> {
  try {
    for (const item of items) yield item;
  } finally {
    onEnd?.();
  }
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of stream) out.push(item);
  return out;
}

describe('merging streams', () => {
  it('in order of time, whichever stream an item is on', async () => {
    expect(await collect(mergeSorted([of([1, 4, 9]), of([2, 3, 10, 11]), of([])], (n) => n))).toEqual([1, 2, 3, 4, 9, 10, 11]);
    expect(await collect(mergeSorted<number>([], (n) => n))).toEqual([]);
  });

  it('as they come: a slow stream holds up nobody', async () => {
    async function* slow() {
      await sleep(50);
      yield 'late';
    }
    expect(await collect(merge([slow(), of(['a', 'b'])]))).toEqual(['a', 'b', 'late']);
  });

  it('lets go of every stream when it is left early, or when one throws', async () => {
    let ended = 0;
    for await (const _ of merge([of([1, 2], () => ended++), of([3, 4], () => ended++)])) break;
    await sleep(5);
    expect(ended).toBe(2);
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error('broken');
    }
    await expect(collect(merge([broken(), of([2], () => ended++)]))).rejects.toThrow('broken');
    await sleep(5);
    expect(ended).toBe(3);
  });
});

describe('streams', () => {
  it('fail when one of them fails', async () => {
    const bad = async function* () {
      yield 1;
      throw new Error('broke');
    };
    await expect(collect(merge<number>([bad(), new Queue<number>()]))).rejects.toThrow('broke');
    await expect(collect(batch(bad(), 10, 5))).rejects.toThrow('broke');
  });

  it('are batched by count and by time', async () => {
    expect(await collect(batch(of([1, 2, 3]), 2, 10_000))).toEqual([[1, 2], [3]]);
    const queue = new Queue<number>();
    const batches = batch(queue, 100, 10)[Symbol.asyncIterator]();
    queue.push(1);
    expect((await batches.next()).value).toEqual([1]);
    queue.push(2);
    queue.end();
    expect([await batches.next(), (await batches.next()).done]).toEqual([{ done: false, value: [2] }, true]);
  });
});
