/**
 * A key table says for every key of one place in a compose file who reads it. It holds *all* keys of the Compose
 * Specification: `later` marks those that Weft does not support yet, so that a key is honoured or refused, never dropped.
 */
import { entriesOf, report, type Context, type Field } from './context.js';
import { quote } from './issue.js';

export type ReadKey<D> = (c: Context, field: Field, draft: D) => void;
export const later = 'later';

export interface KeyTable<D> {
  /** What the place is called in messages: "a service". */
  place: string;
  keys: Readonly<Record<string, ReadKey<D> | typeof later>>;
}

/** Reads a map by its table into `draft`. Keys that begin with `x-` are the user's own. */
export function readByTable<D>(c: Context, field: Field, table: KeyTable<D>, draft: D): void {
  for (const entry of entriesOf(c, field, `${table.place}, a map`) ?? []) {
    if (entry.key.startsWith('x-')) continue;
    const read = Object.hasOwn(table.keys, entry.key) ? table.keys[entry.key] : undefined;
    if (typeof read === 'function') read(c, entry, draft);
    else refuse(c, entry, table, read === later);
  }
}

function refuse<D>(c: Context, entry: Field & { key: string }, table: KeyTable<D>, known: boolean): void {
  if (known)
    return report(
      c,
      entry.at,
      entry.path,
      'Weft does not support this key of Compose yet',
      'remove it, or rename it to x-… to keep it as a note',
    );
  const near = nearest(entry.key, Object.keys(table.keys));
  const hint = near === undefined ? `supported here: ${supported(table).join(', ')}` : `did you mean "${near}"?`;
  report(c, entry.at, entry.path, `${quote(entry.key)} is not a key of ${table.place}`, hint);
}

const supported = <D>(table: KeyTable<D>): string[] => Object.keys(table.keys).filter((key) => table.keys[key] !== later);

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
