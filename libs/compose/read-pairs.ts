/** `environment`, `labels` and lists of texts. */
import { describe, entriesOf, isNull, itemsOf, readText, reject, report, type Context, type Field } from './context.js';
import { placeSeenFrom, quote, type Position } from './issue.js';

interface Pair {
  key: string;
  /** undefined: only the key was given. */
  value: string | undefined;
  at: Position;
  path: string;
}

function readPairs(c: Context, field: Field): Pair[] {
  return (entriesOf(c, field, 'a map') ?? []).flatMap((entry) => {
    const value = isNull(entry.value) ? undefined : readText(c, entry, 'a string, a number or a boolean');
    return value !== undefined || isNull(entry.value) ? [{ key: entry.key, value, at: entry.at, path: entry.path }] : [];
  });
}

const VARIABLE_NAME = /^[^=\0\n\r]+$/;

/** A variable that has no value, of the caller's either, is left out, as in Compose. */
export function readEnvironment(c: Context, field: Field): Record<string, string> {
  const out: [string, string][] = [];
  for (const { key, value, at, path } of readPairs(c, field)) {
    if (!VARIABLE_NAME.test(key)) report(c, at, path, `${quote(key)} cannot be the name of a variable`);
    else if (value?.includes('\0')) report(c, at, path, 'the value of a variable cannot hold a NUL character');
    else if (value !== undefined) out.push([key, value]);
  }
  return Object.fromEntries(out);
}

const MAX_LABEL_KEY = 256;
const MAX_LABEL_VALUE = 65_536;

export function readLabels(c: Context, field: Field): Record<string, string> {
  const out: [string, string][] = [];
  for (const { key, value = '', at, path } of readPairs(c, field)) {
    if (key === '' || key.length > MAX_LABEL_KEY) report(c, at, path, `a label's key has 1 to ${MAX_LABEL_KEY} characters`);
    else if (value.length > MAX_LABEL_VALUE) report(c, at, path, `a label's value has at most ${MAX_LABEL_VALUE} characters`);
    else out.push([key, value]);
  }
  return Object.fromEntries(out);
}

/** A list of strings without repeats, each made by `read`. */
export function readUniqueList(c: Context, field: Field, read: (c: Context, item: Field) => string | undefined): string[] {
  const seen = new Map<string, Position>();
  for (const item of itemsOf(c, field, 'a list of strings') ?? []) {
    if (item.value.kind !== 'scalar') {
      reject(c, item, `expected a string, found ${describe(item.value)}`);
      continue;
    }
    const value = read(c, item);
    if (value === undefined) continue;
    const first = seen.get(value);
    if (first) report(c, item.at, item.path, `${quote(value)} is already given at ${placeSeenFrom(item.at, first)}`);
    else seen.set(value, item.at);
  }
  return [...seen.keys()];
}
