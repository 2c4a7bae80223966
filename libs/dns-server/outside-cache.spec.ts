import { failureReply } from '#dns/respond.js';
import { decodeMessage, encodeMessage } from '#dns/wire.js';
import { OUTSIDE_CACHE_LIMITS, OutsideCache } from './outside-cache.js';
import { Rates } from './rates.js';

const HEADER = Uint8Array.of(0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const answer = (ttlSeconds: number, bytes = 4): Uint8Array =>
  encodeMessage({
    ...decodeMessage(failureReply(HEADER, 0)),
    question: undefined,
    answers: [{ name: 'x', ttlSeconds, data: { kind: 'other', type: 16, bytes: new Uint8Array(bytes) } }],
    authorities: [],
  });
const ttlOf = (bytes: Uint8Array | undefined) => bytes && decodeMessage(bytes).answers[0]?.ttlSeconds;

describe('answers from outside', () => {
  it('are kept as long as they live, and come out older', () => {
    const cache = new OutsideCache(OUTSIDE_CACHE_LIMITS);
    cache.keep('k', answer(10), 5_000);
    expect(ttlOf(cache.find('k', 5_000)?.answer)).toBe(10);
    expect(ttlOf(cache.find('k', 8_999)?.answer)).toBe(7);
    expect(cache.find('k', 15_000)).toBeUndefined();
    expect(cache.find('other', 5_000)).toBeUndefined();
  });

  it('that nobody gave are not asked for again for a moment', () => {
    const cache = new OutsideCache(OUTSIDE_CACHE_LIMITS);
    cache.keep('k', undefined, 0);
    expect(cache.find('k', 999)).toEqual({ answer: undefined });
    expect(cache.find('k', 1_000)).toBeUndefined();
  });

  it('are bounded in number and bytes; those used last stay', () => {
    const few = new OutsideCache({ ...OUTSIDE_CACHE_LIMITS, maxEntries: 2 });
    for (const key of ['a', 'b']) few.keep(key, answer(60), 0);
    few.find('a', 1);
    few.keep('c', answer(60), 2);
    expect(['a', 'b', 'c'].map((key) => few.find(key, 3) !== undefined)).toEqual([true, false, true]);
    const small = new OutsideCache({ ...OUTSIDE_CACHE_LIMITS, maxBytes: 2_500 });
    for (const key of ['a', 'b', 'c']) small.keep(key, answer(60, 1_000), 0);
    expect(['a', 'b', 'c'].map((key) => small.find(key, 1) !== undefined)).toEqual([false, true, true]);
    small.keep('large', answer(60, 5_000), 0);
    expect(small.find('large', 1)).toBeUndefined();
  });
});

describe('rates', () => {
  it('let each client do so many things at once, and so many a second', () => {
    const rates = new Rates(10, 3);
    const allowed = (client: string, now: number, tries: number) =>
      Array.from({ length: tries }, () => rates.allows(client, now)).filter(Boolean).length;
    expect(allowed('a', 0, 5)).toBe(3);
    expect(allowed('b', 0, 5)).toBe(3);
    expect(allowed('a', 200, 5)).toBe(2);
    expect(allowed('a', 60_000, 5)).toBe(3);
  });
});
