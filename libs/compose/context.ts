/** What a reader of a value has at hand, and the typed readings of single values. A reading that fails has told why. */
import { interpolate, InterpolationFault } from './interpolate.js';
import { ComposeErrors, formatPlace, joinPath, quote, type ComposeIssue, type Position } from './issue.js';
import type { Entry, ListValue, MapValue, ScalarValue, Value } from './tree.js';

export interface Context {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly projectDirectory: string;
  readonly issues: ComposeIssue[];
  readonly warnings: (Position & { text: string })[];
  /** Values that may still be looked at: aliases make a file much longer than its text. */
  budget: number;
}

/** A value and where it is in the model. */
export interface Field {
  value: Value;
  path: string;
  /** Of the key for an entry, of the item for a list's. */
  at: Position;
}

const MAX_ISSUES = 100;
const MAX_VALUES = 500_000;

export function newContext(file: string, env: Readonly<Record<string, string>>, projectDirectory: string): Context {
  return { file, env, projectDirectory, issues: [], warnings: [], budget: MAX_VALUES };
}

/** Records an issue. @throws ComposeErrors at the hundredth: a file that is wrong everywhere is wrong in one way. */
export function report(c: Context, at: Position, path: string, text: string, hint?: string): void {
  const message = visible(text);
  // One line in the file may be reached by several paths (merge keys): its fault is told once.
  if (c.issues.some((i) => i.line === at.line && i.column === at.column && i.file === at.file && i.message === message)) return;
  c.issues.push({
    file: at.file,
    line: at.line,
    column: at.column,
    path: visible(path),
    message,
    ...(hint === undefined ? {} : { hint: visible(hint) }),
  });
  if (c.issues.length >= MAX_ISSUES) throw failure(c);
}

/** Whether a fault was told of a value at one of these keys, or within: that the key is missing would only be the echo of it. */
export const isTold = (c: Context, path: string, ...keys: readonly string[]): boolean =>
  c.issues.some(({ path: told }) =>
    keys.some((key) => told.startsWith(joinPath(path, key)) && /^([.[]|$)/.test(told.slice(joinPath(path, key).length))),
  );

/** A message may quote the file, the parser's do: no control character of it reaches a terminal or breaks the line. */
const visible = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]/gu, '?');

/** Records an issue about a value. */
export const reject = (c: Context, field: Field, message: string, hint?: string): void =>
  report(c, field.value.at, field.path, message, hint);

export function warn(c: Context, at: Position, text: string): void {
  if (c.warnings.length < MAX_ISSUES && !c.warnings.some((w) => w.line === at.line && w.text === visible(text)))
    c.warnings.push({ ...at, text: visible(text) });
}

/** The files keep the order in which they were told of. */
const byPlace = (a: Position, b: Position): number => (a.file === b.file ? a.line - b.line || a.column - b.column : 0);

function inOrder<T extends Position>(all: readonly T[]): T[] {
  const files = [...new Set(all.map((one) => one.file))];
  return files.flatMap((file) => all.filter((one) => one.file === file).sort(byPlace));
}

/** One line each, in the order of the file. */
export function warningLines(c: Context): string[] {
  return inOrder(c.warnings).map((w) => `${formatPlace(w)}: ${w.text}`);
}

export const failure = (c: Context): ComposeErrors => new ComposeErrors(c.file, inOrder(c.issues));

function spend(c: Context, at: Position, amount: number): void {
  c.budget -= amount;
  if (c.budget >= 0) return;
  report(c, at, '', `with its aliases written out, the file has more than ${MAX_VALUES} values`);
  throw failure(c);
}

export const isNull = (value: Value): boolean => value.kind === 'scalar' && value.value === null;

/** What a person would call the value. */
export function describe(value: Value): string {
  if (value.kind !== 'scalar') return `a ${value.kind}`;
  if (value.value === null) return 'nothing';
  return typeof value.value === 'string'
    ? quote(value.value)
    : `${typeof value.value === 'boolean' ? 'the boolean' : 'the number'} ${quote(value.text).slice(1, -1)}`;
}

export function entriesOf(c: Context, field: Field, what = 'a map'): (Field & { key: string })[] | undefined {
  if (field.value.kind !== 'map') return void reject(c, field, `expected ${what}, found ${describe(field.value)}`);
  return mapFields(c, field.value, field.path);
}

export function mapFields(c: Context, map: MapValue, path: string): (Field & { key: string })[] {
  spend(c, map.at, map.entries.length + 1);
  return map.entries.map((e: Entry) => ({ key: e.key, at: e.at, value: e.value, path: joinPath(path, e.key) }));
}

export function itemsOf(c: Context, field: Field, what = 'a list'): Field[] | undefined {
  if (field.value.kind !== 'list') return void reject(c, field, `expected ${what}, found ${describe(field.value)}`);
  return listFields(c, field.value, field.path);
}

export function listFields(c: Context, list: ListValue, path: string): Field[] {
  spend(c, list.at, list.items.length + 1);
  return list.items.map((value, i) => ({ value, at: value.at, path: `${path}[${i}]` }));
}

/**
 * The text of a scalar with its variables put in; undefined (and told) where that fails. Only for text as it is in the file:
 * the readings below are for the canonical model, which has none left.
 */
export function interpolated(c: Context, env: Context['env'], field: Field, scalar: ScalarValue): string | undefined {
  spend(c, scalar.at, 1);
  if (typeof scalar.value !== 'string') return scalar.text;
  try {
    return interpolate(scalar.value, env, (name) =>
      warn(c, scalar.at, `${field.path}: the variable ${name} is not set; an empty string is used`),
    );
  } catch (error) {
    if (!(error instanceof InterpolationFault)) throw error;
    report(c, placeIn(scalar, error.index), field.path, error.message);
    return undefined;
  }
}

/** The place of a character of the text; the place of the whole value where they cannot be matched. */
export function placeIn(scalar: ScalarValue, index: number): Position {
  if (scalar.dollars && scalar.text[index] === '$') return scalar.dollars[scalar.text.slice(0, index).split('$').length - 1] ?? scalar.at;
  if (scalar.offset === undefined || scalar.text.slice(0, index).includes('\n')) return scalar.at;
  return { ...scalar.at, column: scalar.at.column + scalar.offset + index };
}

/** A string; numbers and booleans are refused. */
export function readString(c: Context, field: Field, expected = 'a string'): string | undefined {
  const { value } = field;
  if (value.kind === 'scalar' && typeof value.value === 'string') return value.value;
  const hint = value.kind === 'scalar' && value.value !== null ? 'put it in quotes' : undefined;
  return void reject(c, field, `expected ${expected}, found ${describe(value)}`, hint);
}

/** Any scalar but null, as it is written. */
export function readText(c: Context, field: Field, expected = 'a string'): string | undefined {
  const { value } = field;
  if (value.kind === 'scalar' && value.value !== null) return value.text;
  return void reject(c, field, `expected ${expected}, found ${describe(value)}`);
}

/** A string that fits `pattern`. */
export function readMatching(c: Context, field: Field, pattern: RegExp, expected: string, hint?: string): string | undefined {
  const text = readString(c, field, expected);
  if (text === undefined || pattern.test(text)) return text;
  return void reject(c, field, `expected ${expected}, found ${quote(text)}`, hint);
}

export function readInteger(c: Context, field: Field, min: number, max: number): number | undefined {
  const expected = `a whole number from ${min} to ${max}`;
  const text = readText(c, field, expected);
  if (text === undefined) return undefined;
  const number = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (number >= min && number <= max) return number;
  return void reject(c, field, `expected ${expected}, found ${quote(text)}`);
}

/** true or false, also as text: a variable's value is always text. */
export function readBoolean(c: Context, field: Field): boolean | undefined {
  const text = readText(c, field, 'true or false');
  if (text === undefined || text.toLowerCase() === 'true') return text === undefined ? undefined : true;
  if (text.toLowerCase() === 'false') return false;
  return void reject(c, field, `expected true or false, found ${quote(text)}`);
}

/** A text in one of the small notations. */
export function readUnit(
  c: Context,
  field: Field,
  parse: (text: string) => number | undefined,
  expected: string,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const text = readText(c, field, expected);
  if (text === undefined) return undefined;
  const amount = parse(text);
  if (amount !== undefined && amount >= min && amount <= max) return amount;
  return void reject(c, field, `expected ${expected}, found ${quote(text)}`);
}

/** One of a few words. */
export function readChoice<T extends string>(c: Context, field: Field, choices: readonly T[], hint?: string): T | undefined {
  const expected = choices.length === 1 ? `"${choices[0]}"` : `one of ${choices.join(', ')}`;
  const text = readString(c, field, expected);
  if (text === undefined) return undefined;
  const found = choices.find((choice) => choice === text);
  if (found === undefined) reject(c, field, `expected ${expected}, found ${quote(text)}`, hint);
  return found;
}

/** Without the fields that are undefined. */
export const defined = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Partial<T>;
