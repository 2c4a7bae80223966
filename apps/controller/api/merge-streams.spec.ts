import { setTimeout as sleep } from 'node:timers/promises';
import { mergeAsTheyCome, mergeInOrder } from './merge-streams.js';

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
    expect(await collect(mergeInOrder([of([1, 4, 9]), of([2, 3, 10, 11]), of([])], (n) => n))).toEqual([1, 2, 3, 4, 9, 10, 11]);
    expect(await collect(mergeInOrder<number>([], (n) => n))).toEqual([]);
  });

  it('as they come: a slow stream holds up nobody', async () => {
    async function* slow() {
      await sleep(50);
      yield 'late';
    }
    expect(await collect(mergeAsTheyCome([slow(), of(['a', 'b'])]))).toEqual(['a', 'b', 'late']);
  });

  it('lets go of every stream when it is left early, or when one throws', async () => {
    let ended = 0;
    for await (const _ of mergeAsTheyCome([of([1, 2], () => ended++), of([3, 4], () => ended++)])) break;
    await sleep(5);
    expect(ended).toBe(2);
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error('broken');
    }
    await expect(collect(mergeAsTheyCome([broken(), of([2], () => ended++)]))).rejects.toThrow('broken');
    await sleep(5);
    expect(ended).toBe(3);
  });
});
