/**
 * A file's tree → the same in canonical form, by its shape: variables put in, types read, every short form written out.
 * Whatever is wrong is told with its place; each value keeps the place it was written at.
 */
import { posix } from 'node:path';
import { describe, interpolated, isNull, listFields, mapFields, reject, report, warn, type Field } from './context.js';
import { quote } from './issue.js';
import { nearest } from './nearest.js';
import {
  describeShape,
  type Expander,
  type ListShape,
  type MapShape,
  type NumberShape,
  type ObjectShape,
  type Shape,
  type TextShape,
} from './shape.js';
import type { Entry, ListValue, MapValue, ScalarValue, Value } from './tree.js';
import { formatDuration, parseBytes, parseDurationNs } from './units.js';

/** The canonical value; undefined when there is none: null, or wrong (and told). */
export function expand(e: Expander, given: Field, shape: Shape): Value | undefined {
  const { tag } = given.value;
  if (tag === 'reset') return { kind: 'scalar', at: given.value.at, value: null, text: '', tag };
  const value = given.value.kind === 'scalar' ? settled(e, given) : given.value;
  if (value === undefined || isRaw(e, value)) return value;
  if (isNull(value) && shape.kind !== 'any') return shape.nullable ? value : undefined;
  const field = value === given.value ? given : { ...given, value };
  const written = shape.short ? shape.short(e, field) : value;
  if (written === undefined || isRaw(e, written)) return written;
  // One text may stand for several items, each canonical already.
  if (shape.kind === 'object' && value.kind === 'scalar' && written.kind === 'list') return written;
  const result = byKind(e, written === value ? field : { ...field, value: written }, shape);
  const done = result && shape.then ? shape.then(e, { ...field, value: result }) : result;
  return done && tag ? { ...done, tag } : done;
}

/** A text with variables that are left as they are: nothing can be said of it. */
export const isRaw = (e: Expander, value: Value): boolean =>
  !e.interpolate && value.kind === 'scalar' && typeof value.value === 'string' && value.value.includes('$');

/** A scalar with its variables put in. */
export function settled(e: Expander, field: Field): ScalarValue | undefined {
  const { value } = field;
  if (value.kind !== 'scalar') return undefined;
  if (value.settled || typeof value.value !== 'string' || !e.interpolate || !value.value.includes('$')) return value;
  const text = interpolated(e.c, e.env, field, value);
  return text === undefined ? undefined : { kind: 'scalar', at: value.at, value: text, text, settled: true };
}

function byKind(e: Expander, field: Field, shape: Shape): Value | undefined {
  switch (shape.kind) {
    case 'text':
      return expandText(e, field, shape);
    case 'number':
      return expandNumber(e, field, shape);
    case 'list':
      return expandList(e, field, shape);
    case 'map':
      return expandMap(e, field, shape);
    case 'object':
      return expandObject(e, field, shape);
    case 'any':
      return expandAny(e, field);
    default:
      return expandNotation(e, field, shape);
  }
}

/** Tells that another shape was expected. */
export function mismatch(e: Expander, field: Field, shape: Shape | string, hint?: string): undefined {
  const expected = typeof shape === 'string' ? shape : describeShape(shape);
  return void reject(e.c, field, `expected ${expected}, found ${describe(field.value)}`, hint);
}

const scalar = (of: Value, value: string | number | boolean): ScalarValue => ({
  kind: 'scalar',
  at: of.at,
  value,
  text: String(value),
  settled: true,
});

function expandText(e: Expander, field: Field, shape: TextShape): Value | undefined {
  const { value } = field;
  if (value.kind !== 'scalar' || value.value === null) return mismatch(e, field, shape);
  if (typeof value.value !== 'string' && !shape.lax) return mismatch(e, field, shape, 'put it in quotes');
  const { text } = value;
  if (shape.choices && !shape.choices.includes(text)) {
    const near = nearest(text, shape.choices);
    return mismatch(e, field, shape, near === undefined ? undefined : `did you mean "${near}"?`);
  }
  if (shape.pattern && !shape.pattern.test(text)) return mismatch(e, field, shape);
  if (!shape.path || shape.path.unless?.test(text)) return typeof value.value === 'string' ? value : scalar(value, text);
  const found = resolvePath(e, field, text);
  return found === undefined ? undefined : found === text ? value : scalar(value, found);
}

/** A path of the user's machine, absolute. */
export function resolvePath(e: Expander, field: Field, path: string): string | undefined {
  if (!e.resolvePaths || path === '') return path;
  if (/^~($|\/)/.test(path)) {
    const home = Object.hasOwn(e.env, 'HOME') ? e.env['HOME'] : undefined;
    if (!home) return void reject(e.c, field, '"~" cannot be resolved: HOME is not set', 'write the absolute path');
    return clean(home + path.slice(1));
  }
  return clean(path.startsWith('/') ? path : `${e.directory}/${path}`);
}

const clean = (path: string): string => posix.normalize(path).replace(/(?<=.)\/$/, '');

function expandNumber(e: Expander, field: Field, shape: NumberShape): Value | undefined {
  const { value } = field;
  const found = value.kind === 'scalar' ? numberOf(value, shape.whole) : undefined;
  if (found === undefined || found < shape.min || found > shape.max) return mismatch(e, field, shape);
  return typeof (value as ScalarValue).value === 'number' ? value : scalar(value, found);
}

/** A number, or the text of one: what a variable held is always text. */
function numberOf(value: ScalarValue, whole: boolean): number | undefined {
  const raw = value.value;
  if (typeof raw === 'string' && !(whole ? /^[-+]?\d{1,16}$/ : /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i).test(raw)) return undefined;
  if (typeof raw !== 'string' && typeof raw !== 'number') return undefined;
  const found = Number(raw);
  return Number.isFinite(found) && (!whole || Number.isSafeInteger(found)) ? found : undefined;
}

const TRUE = new Set(['true', 'y', 'yes', 'on']);
const FALSE = new Set(['false', 'n', 'no', 'off']);

function expandNotation(e: Expander, field: Field, shape: Shape): Value | undefined {
  const { value } = field;
  if (value.kind !== 'scalar' || value.value === null) return mismatch(e, field, shape);
  switch (shape.kind) {
    case 'boolean': {
      const word = value.text.toLowerCase();
      if (typeof value.value === 'boolean') return value;
      if (typeof value.value !== 'string' || !(TRUE.has(word) || FALSE.has(word))) return mismatch(e, field, shape);
      return scalar(value, TRUE.has(word));
    }
    case 'bytes': {
      const size = value.text === '-1' ? -1 : parseBytes(value.text);
      return size === undefined || typeof value.value === 'boolean' ? mismatch(e, field, shape) : scalar(value, String(size));
    }
    case 'duration': {
      if (typeof value.value === 'number' && value.value !== 0) return mismatch(e, field, shape, `write the unit: "${value.text}s"`);
      const ns = parseDurationNs(value.text);
      return ns === undefined ? mismatch(e, field, shape) : scalar(value, formatDuration(ns));
    }
    default:
      return expandMode(e, field, value, shape);
  }
}

const MAX_MODE = 0o7777;

/** As Compose: a text is octal; a plain number is what YAML says, where only a leading zero (0440, 0o440) makes it octal. */
function expandMode(e: Expander, field: Field, value: ScalarValue, shape: Shape): Value | undefined {
  const bits =
    typeof value.value === 'number' ? value.value : /^(0o)?[0-7]{1,5}$/.test(value.text) ? parseInt(value.text.replace('0o', ''), 8) : NaN;
  if (!(Number.isInteger(bits) && bits >= 0 && bits <= MAX_MODE)) return mismatch(e, field, shape);
  if (typeof value.value === 'number' && /^[1-7][0-7]{2,3}$/.test(value.text))
    warn(
      e.c,
      value.at,
      `${field.path}: ${value.text} is a decimal number, permissions ${bits.toString(8)} in octal; write 0${value.text} if that was meant`,
    );
  return scalar(value, `0${bits.toString(8)}`);
}

function expandList(e: Expander, field: Field, shape: ListShape): Value | undefined {
  if (field.value.kind !== 'list') return mismatch(e, field, shape);
  const items: Value[] = [];
  for (const item of listFields(e.c, field.value, field.path)) {
    const found = expand(e, item, shape.of);
    if (found?.kind === 'list' && shape.spread) items.push(...found.items);
    else if (found && found.tag !== 'reset') items.push(found);
    else if (isNull(item.value)) mismatch(e, item, shape.of);
  }
  return { kind: 'list', at: field.value.at, items: shape.unique ? dedupe(items, shape) : items };
}

/** Of items with one key the last stays, in the place of the first. */
export function dedupe(items: readonly Value[], shape: ListShape, merge: (base: Value, over: Value) => Value = (_, over) => over): Value[] {
  const out: Value[] = [];
  const places = new Map<string, number>();
  for (const item of items) {
    const key = shape.unique?.(item);
    const place = key === undefined ? undefined : places.get(key);
    if (place !== undefined) {
      out[place] = merge(out[place] ?? item, item);
      continue;
    }
    if (key !== undefined) places.set(key, out.length);
    out.push(item);
  }
  return out;
}

function expandMap(e: Expander, field: Field, shape: MapShape): Value | undefined {
  if (field.value.kind !== 'map') return mismatch(e, field, shape);
  const entries: Entry[] = [];
  for (const entry of mapFields(e.c, field.value, field.path)) {
    if (shape.notes && entry.key.startsWith('x-')) {
      warn(e.c, entry.at, `${entry.path}: keys that begin with "x-" are notes: this is not taken for ${shape.what}`);
      continue;
    }
    if (shape.keys && !shape.keys.pattern.test(entry.key)) {
      report(e.c, entry.at, entry.path, `${quote(entry.key)} is not a valid name for ${shape.what}`, shape.keys.rule);
      continue;
    }
    const value = expand(e, entry, shape.of);
    if (value) entries.push({ key: entry.key, at: entry.at, value });
    else if (isNull(entry.value)) mismatch(e, entry, shape.of);
  }
  return { kind: 'map', at: field.value.at, entries };
}

function expandObject(e: Expander, field: Field, shape: ObjectShape): Value | undefined {
  if (shape.scalar && field.value.kind === 'scalar') return expandNumber(e, field, shape.scalar);
  if (field.value.kind !== 'map') return mismatch(e, field, shape);
  const entries: Entry[] = [];
  for (const entry of mapFields(e.c, field.value, field.path)) {
    const note = entry.key.startsWith('x-');
    const known = Object.hasOwn(shape.keys, entry.key) ? shape.keys[entry.key] : undefined;
    if (!note && !known) {
      unknownKey(e, entry, shape);
      continue;
    }
    const value = known ? expand(e, entry, known[0]) : expandAny(e, entry);
    if (value) entries.push({ key: entry.key, at: entry.at, value });
  }
  return { kind: 'map', at: field.value.at, entries };
}

function unknownKey(e: Expander, entry: Field & { key: string }, shape: ObjectShape): void {
  const words = Object.keys(shape.keys);
  const near = nearest(entry.key, words);
  const hint =
    near !== undefined
      ? `did you mean "${near}"?`
      : words.length <= 12
        ? `its keys are ${words.join(', ')}`
        : 'keys of your own begin with "x-"';
  report(e.c, entry.at, entry.path, `${quote(entry.key)} is not a key of ${shape.name}`, hint);
}

/** Notes of the user: only their variables are looked at, and once, however many aliases lead there. */
function expandAny(e: Expander, field: Field): Value | undefined {
  const { value } = field;
  if (value.kind === 'scalar') return settled(e, field);
  if (e.notes.has(value)) return e.notes.get(value);
  const found = value.kind === 'list' ? expandAnyList(e, field, value) : expandAnyMap(e, field, value);
  e.notes.set(value, found);
  return found;
}

const expandAnyList = (e: Expander, { path }: Field, value: ListValue): ListValue => ({
  ...value,
  items: listFields(e.c, value, path).flatMap((item) => expandAny(e, item) ?? []),
});

function expandAnyMap(e: Expander, { path }: Field, value: MapValue): MapValue {
  const entries = mapFields(e.c, value, path).flatMap((entry) => {
    const found = expandAny(e, entry);
    return found ? [{ key: entry.key, at: entry.at, value: found }] : [];
  });
  return { ...value, entries };
}
