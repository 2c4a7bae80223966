/** `environment` and `labels`: a map, or a list of `KEY=value`. */
import { describe, entriesOf, isNull, itemsOf, readString, readText, reject, report, type Context, type Field } from './context.js';
import { quote, type Position } from './issue.js';

interface Pair {
  key: string;
  /** undefined: only the key was given. */
  value: string | undefined;
  at: Position;
  path: string;
}

function readPairs(c: Context, field: Field): Pair[] {
  if (isNull(field.value)) return [];
  if (field.value.kind === 'list') return (itemsOf(c, field) ?? []).flatMap((item) => splitPair(c, item));
  const pairs: Pair[] = [];
  for (const entry of entriesOf(c, field, 'a map or a list of KEY=value') ?? []) {
    const value = isNull(entry.value) ? undefined : readText(c, entry, 'a string, a number or a boolean');
    if (value !== undefined || isNull(entry.value)) pairs.push({ key: entry.key, value, at: entry.at, path: entry.path });
  }
  return pairs;
}

function splitPair(c: Context, item: Field): Pair[] {
  const text = readString(c, item, 'KEY=value');
  if (text === undefined) return [];
  const equals = text.indexOf('=');
  const key = equals < 0 ? text : text.slice(0, equals);
  return [{ key, value: equals < 0 ? undefined : text.slice(equals + 1), at: item.at, path: item.path }];
}

/** Tells of each key that comes twice; of those the first counts. */
function collect(c: Context, pairs: Pair[], what: string): Map<string, Pair> {
  const seen = new Map<string, Pair>();
  for (const pair of pairs) {
    const first = seen.get(pair.key);
    if (first) report(c, pair.at, pair.path, `the ${what} ${quote(pair.key)} is already given at line ${first.at.line}`);
    else seen.set(pair.key, pair);
  }
  return seen;
}

const VARIABLE_NAME = /^[^=\0\n\r]+$/;

/** A variable without a value takes the caller's, and is left out where the caller has none, as in Compose. */
export function readEnvironment(c: Context, field: Field): Record<string, string> {
  const out: [string, string][] = [];
  for (const { key, value, at, path } of collect(c, readPairs(c, field), 'variable').values()) {
    if (!VARIABLE_NAME.test(key)) report(c, at, path, `${quote(key)} cannot be the name of a variable`);
    else if (value?.includes('\0')) report(c, at, path, 'the value of a variable cannot hold a NUL character');
    else {
      const given = value ?? (Object.hasOwn(c.env, key) ? c.env[key] : undefined);
      if (given !== undefined) out.push([key, given]);
    }
  }
  return Object.fromEntries(out);
}

const MAX_LABEL_KEY = 256;
const MAX_LABEL_VALUE = 65_536;

export function readLabels(c: Context, field: Field): Record<string, string> {
  const out: [string, string][] = [];
  for (const { key, value = '', at, path } of collect(c, readPairs(c, field), 'label').values()) {
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
    if (first) report(c, item.at, item.path, `${quote(value)} is already given at line ${first.line}`);
    else seen.set(value, item.at);
  }
  return [...seen.keys()];
}

/** A string or a list of strings, as fields. */
export function stringOrList(c: Context, field: Field): Field[] {
  return field.value.kind === 'list' ? (itemsOf(c, field) ?? []) : [field];
}
