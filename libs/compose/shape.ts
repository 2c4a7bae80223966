/**
 * Shapes: what may stand at a key of a compose file, as values. One interpreter (expand.ts) checks a file against them and
 * writes every short form out; merge.ts and render-model.ts follow the same shapes. Each key also has a standing: what Weft does with it.
 */
import type { Context, Field } from './context.js';
import type { MapValue, Value } from './tree.js';

/** How one file is read. */
export interface Expander {
  readonly c: Context;
  readonly env: Readonly<Record<string, string>>;
  /** Absolute; relative paths of the file are taken from here. */
  readonly directory: string;
  /** false: `$` stays as it is, and what holds one is not looked into. */
  readonly interpolate: boolean;
  /** false: paths stay as they are written. */
  readonly resolvePaths: boolean;
  /** Notes of the user that were read: aliases share them. */
  readonly notes: Map<Value, Value | undefined>;
}

/** What Weft does with a key. `later`: refused, because it is not built yet. */
export type Standing =
  { is: 'honoured' } | { is: 'differs'; how: string } | { is: 'refused'; why: string; hint?: string } | { is: 'later' };

export const honoured: Standing = { is: 'honoured' };
export const later: Standing = { is: 'later' };
/** Honoured, but not as Compose does it: in which way. */
export const differs = (how: string): Standing => ({ is: 'differs', how });
/** Has no meaning across hosts: why. */
export const refused = (why: string, hint?: string): Standing => ({ is: 'refused', why, ...(hint === undefined ? {} : { hint }) });

/** Another way to write a value → the value written out; undefined when `field` is not in that form or is wrong (and was told). */
export type Short = (e: Expander, field: Field) => Value | undefined;

interface Common {
  /** What may stand there, short forms too: "a string or a list of strings". */
  says?: string;
  /** Turns other forms into the one that the shape describes, before it is looked at. */
  short?: Short;
  /** Looks at the canonical value as a whole, and may return another. */
  then?: Short;
  /** An overriding file replaces the value instead of merging it. */
  replace?: boolean;
  /** null is a value of its own; elsewhere it means that the key is not given. */
  nullable?: boolean;
}

export interface TextShape extends Common {
  kind: 'text';
  /** "the name of an image": for messages and docs. */
  what: string;
  pattern?: RegExp;
  choices?: readonly string[];
  /** Numbers and booleans count as what is written. */
  lax?: boolean;
  /** A path on the machine of the user, made absolute; `unless` fits what is no path (URLs). */
  path?: { unless?: RegExp };
}
export interface NumberShape extends Common {
  kind: 'number';
  what: string;
  whole: boolean;
  min: number;
  max: number;
}
export interface PlainShape extends Common {
  /** bytes become a string of digits, duration one like "1m30s", mode one like "0440". */
  kind: 'boolean' | 'bytes' | 'duration' | 'mode' | 'any';
}
export interface ListShape extends Common {
  kind: 'list';
  of: Shape;
  /** Of two items with the same key the later one stands, in the place of the earlier. */
  unique?: (item: Value) => string | undefined;
  /** An item may stand for several: its canonical value is then a list. */
  spread?: boolean;
  /** Two items with the same key are merged instead. */
  mergeItems?: boolean;
}
export interface MapShape extends Common {
  kind: 'map';
  of: Shape;
  /** "a service": what an entry is. */
  what: string;
  keys?: { pattern: RegExp; rule: string };
  /** Entries that begin with x- are the user's notes. */
  notes?: boolean;
  /** Compose prints it as a list. */
  print?: (value: MapValue) => string[];
}
export interface ObjectShape extends Common {
  kind: 'object';
  /** What the place is called in messages: "a service". */
  name: string;
  /** In the order in which Compose prints them. */
  keys: Readonly<Record<string, Key>>;
  required?: readonly string[];
  /** What is taken where a key is not given, once all files are merged. */
  defaults?: Readonly<Record<string, string | boolean>>;
  /** A single value of this shape may stand for the map. */
  scalar?: NumberShape;
  /** An overriding file merges only where this allows it. */
  mergeIf?: (base: Value, over: Value) => boolean;
}
export type Shape = TextShape | NumberShape | PlainShape | ListShape | MapShape | ObjectShape;
export type Key = readonly [Shape, Standing];

export const text = (what = 'a string', more: Omit<TextShape, 'kind' | 'what'> = {}): TextShape => ({ kind: 'text', what, ...more });
export const string = text();
/** A string, where a number is taken as it is written. */
export const laxText = (what = 'a string'): TextShape => text(what, { lax: true });
export const choice = (...choices: string[]): TextShape =>
  text(choices.length === 1 ? `"${choices[0]}"` : `one of ${choices.join(', ')}`, { choices });
export const path = (what = 'a path', unless?: RegExp): TextShape => text(what, { path: unless ? { unless } : {} });
export const whole = (min = 0, max = Number.MAX_SAFE_INTEGER): NumberShape => ({
  kind: 'number',
  what:
    max === Number.MAX_SAFE_INTEGER
      ? min === 0
        ? 'a whole number, not negative'
        : 'a whole number'
      : `a whole number from ${min} to ${max}`,
  whole: true,
  min,
  max,
});
export const anyWhole = whole(-Number.MAX_SAFE_INTEGER);
export const number = (what = 'a number', min = 0, max = Infinity): NumberShape => ({ kind: 'number', what, whole: false, min, max });
export const boolean: PlainShape = { kind: 'boolean' };
export const bytes: PlainShape = { kind: 'bytes' };
export const duration: PlainShape = { kind: 'duration' };
export const mode: PlainShape = { kind: 'mode' };
export const any: PlainShape = { kind: 'any' };
export const list = (of: Shape = string, more: Omit<ListShape, 'kind' | 'of'> = {}): ListShape => ({ kind: 'list', of, ...more });
export const map = (what: string, of: Shape, more: Omit<MapShape, 'kind' | 'of' | 'what'> = {}): MapShape => ({
  kind: 'map',
  of,
  what,
  ...more,
});
export const object = (name: string, keys: Record<string, Key>, more: Omit<ObjectShape, 'kind' | 'name' | 'keys'> = {}): ObjectShape => ({
  kind: 'object',
  name,
  keys,
  ...more,
});

/** What a person would call the shape: for docs and messages. */
export function describeShape(shape: Shape): string {
  if (shape.says !== undefined) return shape.says;
  switch (shape.kind) {
    case 'text':
    case 'number':
      return shape.what;
    case 'boolean':
      return 'true or false';
    case 'bytes':
      return 'a size like 64m';
    case 'duration':
      return 'a time like "10s" or "1m30s"';
    case 'mode':
      return 'permission bits like 0440';
    case 'any':
      return 'anything';
    case 'list':
      return `a list of ${plural(shape.of.kind === 'object' ? shape.of.name : describeShape(shape.of))}`;
    case 'map':
      return `a map of ${plural(shape.what)}`;
    case 'object':
      return `${shape.name}, a map`;
  }
}

/** "a secret of a build" → "secrets of a build". What comes after a comma, "or" and "like" is left out. */
const plural = (what: string): string =>
  /^an? /.test(what)
    ? what
        .replace(/^an? /, '')
        .replace(/(,| or | like ).*/, '')
        .replace(/^(.*?)( (?:of|for|to) .*)?$/, '$1s$2')
        .replace(/sss\b/, 'sses')
    : what;

export interface KeyRow {
  /** `services.*.ports[].target`. */
  path: string;
  shape: string;
  standing: Standing;
}

/** Every key below a shape, one row each, in the order of the table. */
export function keyRows(shape: Shape, at = ''): KeyRow[] {
  if (shape.kind === 'list') return keyRows(shape.of, `${at}[]`);
  if (shape.kind === 'map') return keyRows(shape.of, `${at}.*`);
  if (shape.kind !== 'object') return [];
  return Object.entries(shape.keys).flatMap(([key, [of, standing]]) => {
    const path = at === '' ? key : `${at}.${key}`;
    return [{ path, shape: describeShape(of), standing }, ...keyRows(of, path)];
  });
}
