/** The nearest of some words to one that was mistyped. */

const MAX_TYPED_LENGTH = 40;

/** The word that `typed` was probably meant to be: at most one slip in three letters. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const key = typed.toLowerCase().replaceAll('-', '_').slice(0, MAX_TYPED_LENGTH);
  let best: string | undefined;
  let least = Infinity;
  for (const word of words) {
    const limit = Math.min(Math.max(1, Math.floor(word.length / 3)), least - 1);
    const distance = editDistance(key, word, limit);
    if (distance > limit) continue;
    best = word;
    least = distance;
  }
  return best;
}

/**
 * Damerau-Levenshtein, adjacent transpositions only ("optimal string alignment").
 * @returns more than `limit` where the distance is: most words are given up after a few letters
 */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let [beforeLast, last, least]: [number[], number[], number] = [[], Array.from({ length: b.length + 1 }, (_, j) => j), 0];
  for (let i = 1; i <= a.length; i++) {
    const row = rowOf(a, b, i, last, beforeLast);
    const leastBefore = least;
    least = Math.min(...row);
    // A swap alone reaches back over a row, and costs one.
    if (least > limit && leastBefore >= limit) return limit + 1;
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** The distances of the first `i` letters of `a` to each beginning of `b`. */
function rowOf(a: string, b: string, i: number, last: readonly number[], beforeLast: readonly number[]): number[] {
  const row = [i];
  const letter = a[i - 1];
  let left = i;
  for (let j = 1; j <= b.length; j++) {
    const above = last[j - 1] ?? 0;
    let d = Math.min((last[j] ?? 0) + 1, left + 1, letter === b[j - 1] ? above : above + 1);
    if (i > 1 && j > 1 && letter === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, (beforeLast[j - 2] ?? 0) + 1);
    row.push((left = d));
  }
  return row;
}
