/** The values of a compose file, which know where they stand. An alias is a shared reference, not a copy. */
import type { Position } from './issue.js';

/** Tags of the Compose Specification ("Merge and override"): take the key away, or replace what it had instead of merging. */
export type MergeTag = 'reset' | 'override';

export interface MapValue {
  kind: 'map';
  at: Position;
  tag?: MergeTag;
  entries: Entry[];
}
export interface Entry {
  key: string;
  /** Of the key. */
  at: Position;
  value: Value;
  /** Put in by completion: no file says it. */
  implied?: boolean;
}
export interface ListValue {
  kind: 'list';
  at: Position;
  tag?: MergeTag;
  items: Value[];
}
export interface ScalarValue {
  kind: 'scalar';
  at: Position;
  tag?: MergeTag;
  value: string | number | boolean | null;
  /** As written in the file (1.10 stays "1.10"); a string's content. */
  text: string;
  /** Columns from `at` to the first character of `text`, when text and file agree character by character. */
  offset?: number;
  /** Where each "$" of the text stands, for texts that are written in another way (escapes, several lines). */
  dollars?: readonly Position[];
  /** The variables in it are put in. */
  settled?: boolean;
  /** A path that was made absolute: it was relative to its file, or to the user's home. */
  beside?: boolean;
}
export type Value = MapValue | ListValue | ScalarValue;

/** Entries that `<<` copied in one file so far. */
export interface MergeBudget {
  merged: number;
}
export const MAX_MERGED_ENTRIES = 200_000;
export type MergeProblem = 'not a map' | 'too many';

/**
 * Adds what `own` lacks; the first source to name a key wins (https://yaml.org/type/merge.html).
 * @returns what is wrong with the value of the merge key
 */
export function mergeInto(budget: MergeBudget, own: Map<string, Entry>, merge: { value: Value }): MergeProblem | undefined {
  const sources = merge.value.kind === 'list' ? merge.value.items : [merge.value];
  let problem: MergeProblem | undefined;
  for (const source of sources) {
    if (source.kind !== 'map') {
      problem = 'not a map';
      continue;
    }
    budget.merged += source.entries.length;
    if (budget.merged > MAX_MERGED_ENTRIES) return 'too many';
    for (const entry of source.entries) if (!own.has(entry.key)) own.set(entry.key, entry);
  }
  return problem;
}

/** The place of a path in a tree, or of as much of it as is there: of the key, or the item of a list (from 0), and the value. */
export function nearestEntry(tree: Value, path: readonly string[]): Pick<Entry, 'at' | 'value'> {
  let nearest: Pick<Entry, 'at' | 'value'> = { at: tree.at, value: tree };
  for (const key of path) {
    const { value } = nearest;
    const item = value.kind === 'list' && /^\d+$/.test(key) ? value.items[Number(key)] : undefined;
    const entry = value.kind === 'map' ? value.entries.find((e) => e.key === key) : item && { at: item.at, value: item };
    if (!entry) break;
    nearest = entry;
  }
  return nearest;
}
