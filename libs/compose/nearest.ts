/** The nearest of some words to one that was mistyped. */

/** The word that `typed` was probably meant to be: at most one slip in three letters. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const key = typed.toLowerCase().replaceAll('-', '_').slice(0, 40);
  let best: { word: string; distance: number } | undefined;
  for (const word of words) {
    const distance = editDistance(key, word);
    if (distance <= Math.max(1, Math.floor(word.length / 3)) && distance < (best?.distance ?? Infinity)) best = { word, distance };
  }
  return best?.word;
}

/** Damerau-Levenshtein, adjacent transpositions only ("optimal string alignment"). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, (beforeLast[j - 2] ?? 0) + 1);
      row.push(d);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
