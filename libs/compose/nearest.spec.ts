import fc from 'fast-check';
import { nearest } from './nearest.js';

describe('nearest', () => {
  it.each([
    ['imgae', 'image'],
    ['Image', 'image'],
    ['stop-signal', 'stop_signal'],
    ['enviroment', 'environment'],
    ['vol', undefined],
    ['', undefined],
  ])('%s', (typed, meant) => expect(nearest(typed, ['image', 'stop_signal', 'environment', 'volumes', 'expose'])).toBe(meant));

  it('gives words up early, and finds what whole distances find', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 9 });
    fc.assert(
      fc.property(word, fc.array(word, { maxLength: 8 }), (typed, words) =>
        expect(nearest(typed, words)).toBe(nearestByWhole(typed, words)),
      ),
      { numRuns: 400 },
    );
  });
});

/** The same by its definition. */
function nearestByWhole(typed: string, words: readonly string[]): string | undefined {
  const within = words.filter((word) => distance(typed, word) <= Math.max(1, Math.floor(word.length / 3)));
  const least = Math.min(...within.map((word) => distance(typed, word)));
  return within.find((word) => distance(typed, word) === least);
}

function distance(a: string, b: string, known = new Map<string, number>()): number {
  const key = `${a.length} ${b.length}`;
  const found = known.get(key) ?? shortestWay(a, b, known);
  known.set(key, found);
  return found;
}

function shortestWay(a: string, b: string, known: Map<string, number>): number {
  if (a === '' || b === '') return a.length + b.length;
  const [cutA, cutB] = [a.slice(0, -1), b.slice(0, -1)];
  const ways = [distance(cutA, b, known) + 1, distance(a, cutB, known) + 1, distance(cutA, cutB, known) + (a.at(-1) === b.at(-1) ? 0 : 1)];
  if (a.length > 1 && b.length > 1 && a.at(-1) === b.at(-2) && a.at(-2) === b.at(-1))
    ways.push(distance(a.slice(0, -2), b.slice(0, -2), known) + 1);
  return Math.min(...ways);
}
