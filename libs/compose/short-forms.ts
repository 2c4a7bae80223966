/**
 * The other ways in which Compose lets a value be written → the one that the model has ("short syntax" → "long syntax").
 * Each returns undefined for what it told about; a value that is in no other form comes back as it is, for its shape to judge.
 */
import { posix } from 'node:path';
import { itemsOf, listFields, mapFields, placeIn, reject, report, type Field } from './context.js';
import { mismatch, settled } from './expand.js';
import { quote, type Position } from './issue.js';
import type { Expander, Short } from './shape.js';
import type { Entry, MapValue, ScalarValue, Value } from './tree.js';
import { parseDurationNs } from './units.js';
import { splitWords, WordsFault } from './words.js';

export const scalarAt = (at: Position, value: string | number | boolean | null): ScalarValue => ({
  kind: 'scalar',
  at,
  value,
  text: value === null ? '' : String(value),
  settled: true,
});

/** A map whose keys all stand at `at`; what is undefined is left out. */
export function mapAt(at: Position, entries: Record<string, Value | string | number | boolean | undefined>): MapValue {
  const out: Entry[] = [];
  for (const [key, value] of Object.entries(entries))
    if (value !== undefined) out.push({ key, at, value: typeof value === 'object' ? value : scalarAt(at, value) });
  return { kind: 'map', at, entries: out };
}

export const entryOf = (value: Value | undefined, key: string): Entry | undefined =>
  value?.kind === 'map' ? value.entries.find((entry) => entry.key === key) : undefined;
export const valueOf = (value: Value | undefined, key: string): Value | undefined => entryOf(value, key)?.value;
/** The text of a scalar entry. */
export function textOf(value: Value | undefined, key: string): string | undefined {
  const found = valueOf(value, key);
  return found?.kind === 'scalar' && found.value !== null ? found.text : undefined;
}

const isText = (value: Value): value is ScalarValue & { value: string } => value.kind === 'scalar' && typeof value.value === 'string';

/** The texts of a list, variables put in. Tells of items that are none. */
function texts(e: Expander, field: Field, what: string): { text: string; field: Field }[] {
  const out: { text: string; field: Field }[] = [];
  for (const item of itemsOf(e.c, field) ?? []) {
    const value = settled(e, item);
    if (value && isText(value)) out.push({ text: value.value, field: { ...item, value } });
    else if (item.value.kind !== 'scalar' || value) mismatch(e, item, what, item.value.kind === 'scalar' ? 'put it in quotes' : undefined);
  }
  return out;
}

/** Of entries with one key the last stays. */
const lastOf = (entries: Entry[]): Entry[] => [...new Map(entries.map((entry) => [entry.key, entry])).values()];

/** `[KEY=value, KEY]` → a map; a key alone has no value (null), or `without`. */
const pairList =
  (without: string | null, what = 'KEY=value'): Short =>
  (e, field) => {
    if (field.value.kind !== 'list') return field.value;
    const entries = texts(e, field, what).map(({ text, field: { at } }) => {
      const equals = text.indexOf('=');
      const value = scalarAt(at, equals < 0 ? without : text.slice(equals + 1));
      return { key: equals < 0 ? text : text.slice(0, equals), at, value };
    });
    return { kind: 'map', at: field.value.at, entries: lastOf(entries) };
  };

export const environmentPairs = pairList(null);
/** Labels and the like: no value is an empty one. */
export const pairs: Short = (e, field) => {
  const value = pairList('')(e, field);
  if (value?.kind !== 'map') return value;
  return {
    ...value,
    entries: value.entries.map((entry) =>
      entry.value.kind === 'scalar' && entry.value.value === null && !entry.value.tag ? { ...entry, value: scalarAt(entry.at, '') } : entry,
    ),
  };
};

/** `[a, b]` → `{ a: …, b: … }`. */
export const keyList =
  (make: (at: Position) => Value): Short =>
  (e, field) => {
    if (field.value.kind !== 'list') return field.value;
    const entries = texts(e, field, 'a name').map(({ text, field: { at } }) => ({ key: text, at, value: make(at) }));
    return { kind: 'map', at: field.value.at, entries: lastOf(entries) };
  };

/** `a` → `[a]`. */
export const oneOrList: Short = (_, { value }) => (value.kind === 'scalar' ? { kind: 'list', at: value.at, items: [value] } : value);

/** `a` → `{ key: a }`. */
export const inKey =
  (key: string, more: Record<string, boolean | string> = {}): Short =>
  (_, { value }) =>
    isText(value) ? mapAt(value.at, { [key]: value, ...more }) : value;

/** A command as one string → its words. */
export const words: Short = (e, field) => {
  const { value } = field;
  if (!isText(value)) return value;
  try {
    return { kind: 'list', at: value.at, items: splitWords(value.value).map((word) => scalarAt(value.at, word)) };
  } catch (error) {
    if (!(error instanceof WordsFault)) throw error;
    // Variables move characters: the place within the text is only known where there were none.
    report(e.c, value.settled ? value.at : placeIn(value, error.index), field.path, error.message);
    return undefined;
  }
};

/** A health check's test as one string is run by a shell. */
export const healthTest: Short = (_, { value }) =>
  isText(value) ? { kind: 'list', at: value.at, items: [scalarAt(value.at, 'CMD-SHELL'), scalarAt(value.at, value.value)] } : value;

/** `external: { name: x }`, the old way to write a name. */
export const external: Short = (e, field) => {
  const { value } = field;
  if (value.kind !== 'map') return value;
  const old = valueOf(value, 'external');
  if (old?.kind !== 'map') return value;
  const inner = entryOf(old, 'name');
  for (const entry of old.entries)
    if (entry.key !== 'name') report(e.c, entry.at, `${field.path}.external`, `${quote(entry.key)} is not a key of external`);
  const others = value.entries.filter((entry) => entry.key !== 'external' && !(entry.key === 'name' && inner));
  const at = old.at;
  return { ...value, entries: [...others, { key: 'external', at, value: scalarAt(at, true) }, ...(inner ? [inner] : [])] };
};

/** `host:ip`, `host=ip` or `{ host: ip | [ip…] }` → `{ host: [ip…] }`. */
export const hosts: Short = (e, field) => {
  const found = new Map<string, { at: Position; items: Value[] }>();
  const add = (name: string, ip: string, at: Position): void => {
    const host = found.get(name) ?? { at, items: [] };
    const address = ip.trim().replace(/^\[(.*)\]$/, '$1');
    if (!host.items.some((item) => item.kind === 'scalar' && item.text === address)) host.items.push(scalarAt(at, address));
    found.set(name, host);
  };
  if (field.value.kind === 'list') {
    for (const { text, field: item } of texts(e, field, '"HOST:ADDRESS"')) {
      const m = /^([^=:]+)[=:](.+)$/.exec(text);
      if (m) add(m[1]?.trim() ?? '', m[2] ?? '', item.value.at);
      else reject(e.c, item, `expected HOST:ADDRESS, found ${quote(text)}`);
    }
  } else if (field.value.kind === 'map') {
    for (const entry of mapFields(e.c, field.value, field.path)) {
      const items = entry.value.kind === 'list' ? listFields(e.c, entry.value, entry.path) : [entry];
      for (const item of items) {
        const value = settled(e, item);
        if (value && isText(value)) add(entry.key, value.value, entry.at);
        else if (item.value.kind !== 'scalar' || value) mismatch(e, item, 'an address');
      }
    }
  } else return field.value;
  return {
    kind: 'map',
    at: field.value.at,
    entries: [...found].map(([key, { at, items }]) => ({ key, at, value: { kind: 'list', at, items } })),
  };
};

/** As Compose prints it: `host=ip`. */
export const printHosts = (value: MapValue): string[] =>
  value.entries
    .flatMap(({ key, value: ips }) => (ips.kind === 'list' ? ips.items.map((ip) => `${key}=${ip.kind === 'scalar' ? ip.text : ''}`) : []))
    .sort();

const PROPAGATION = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);
/** Of Docker on macOS: they mean nothing on Linux. */
const CONSISTENCY = new Set(['consistent', 'cached', 'delegated']);

/** `[SOURCE:]TARGET[:OPTIONS]`. */
export const volume: Short = (e, field) => {
  const { value } = field;
  if (!isText(value)) return value;
  const { at } = value;
  const parts = value.value.split(':');
  const fail = (message: string): undefined => void reject(e.c, field, `${message}, found ${quote(value.value)}`);
  if (parts.some((part) => part === '')) return fail('a volume is written [SOURCE:]TARGET[:OPTIONS] without empty parts');
  if (parts.length > 3) return fail('a volume has at most three parts, [SOURCE:]TARGET[:OPTIONS]');
  const [first = '', second, options] = parts;
  const source = second === undefined ? undefined : first;
  const bind = source !== undefined && /^[./~]/.test(source);
  const inner: Record<string, string | boolean> = bind ? { create_host_path: true } : {};
  let readOnly: boolean | undefined;
  for (const option of options?.split(',') ?? []) {
    if (option === 'ro' || option === 'rw') readOnly = option === 'ro' ? true : undefined;
    else if (option === 'nocopy' && !bind) inner['nocopy'] = true;
    else if (PROPAGATION.has(option) && bind) inner['propagation'] = option;
    else if ((option === 'z' || option === 'Z') && bind) inner['selinux'] = option;
    else if (!CONSISTENCY.has(option) && option !== 'z' && option !== 'Z') return fail(`${quote(option)} is not an option of a volume`);
  }
  return mapAt(at, {
    type: bind ? 'bind' : 'volume',
    source,
    target: second ?? first,
    read_only: readOnly,
    [bind ? 'bind' : 'volume']: mapAt(at, inner),
  });
};

/** A path in a container without needless parts. */
export const cleanTarget: Short = (_, { value }) =>
  isText(value) && value.value !== '' ? { ...value, value: tidy(value.value), text: tidy(value.value) } : value;
const tidy = (path: string): string => posix.normalize(path).replace(/(?<=.)\/$/, '');

/** `SOURCE[:TARGET[:PERMISSIONS]]`. */
export const device: Short = (e, field) => {
  const { value } = field;
  if (!isText(value)) return value;
  const [source = '', target, permissions, ...rest] = value.value.split(':');
  if (rest.length > 0 || source === '')
    return void reject(e.c, field, `expected SOURCE[:TARGET[:PERMISSIONS]], found ${quote(value.value)}`);
  return mapAt(value.at, { source, target: target || source, permissions: permissions ?? 'rwm' });
};

/** `[default, id=path]` → `{ default: null, id: path }`. */
export const sshKeys: Short = environmentPairs;

export const allDevices: Short = (e, { value, path, at }) =>
  isText(value)
    ? value.value === 'all'
      ? { kind: 'list', at: value.at, items: [mapAt(value.at, { count: -1 })] }
      : void reject(e.c, { value, path, at }, `expected "all" or a list of devices, found ${quote(value.value)}`)
    : value;

/** A number of devices; "all" is −1. */
export const deviceCount: Short = (_, { value }) => (isText(value) && value.value === 'all' ? scalarAt(value.at, -1) : value);

/** true, false or a word → a word. */
export const asText: Short = (_, { value }) =>
  value.kind === 'scalar' && typeof value.value === 'boolean' ? scalarAt(value.at, value.text) : value;

/** A time with a unit → microseconds. */
export const microseconds: Short = (_, { value }) => {
  const ns = isText(value) && !/^\d+$/.test(value.value) ? parseDurationNs(value.value) : undefined;
  return ns === undefined ? value : scalarAt(value.at, Math.round(ns / 1000));
};
