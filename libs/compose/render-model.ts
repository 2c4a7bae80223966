/** A canonical tree → plain values in the order and form in which `docker compose config` prints them. */
import type { MapShape, ObjectShape, Shape } from './shape.js';
import { COMPOSE_FILE } from './key-table.js';
import type { MapValue, Value } from './tree.js';

export type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain };

export interface RenderOptions {
  /** JSON has a few keys even where they say nothing, as Compose's does. */
  json?: boolean;
  /** `$` → `$$`, so that the output can be read again. */
  escape?: boolean;
}

/** Kept though they are false, 0 or empty: that they are given says something. */
const KEPT = new Set([
  'services',
  'init',
  'attach',
  'scale',
  'replicas',
  'retries',
  'parallelism',
  'max_attempts',
  'enable_ipv4',
  'enable_ipv6',
  'required',
  'command',
  'entrypoint',
  'soft',
  'hard',
]);
/** Compose leaves these out when they are empty; other maps of keys say something by being there. */
const DROPPED = new Set(['resources', 'placement', 'ipam']);
const IN_JSON: Readonly<Record<string, Readonly<Record<string, Plain>>>> = {
  'a service': { command: null, entrypoint: null },
  'a network': { ipam: {} },
  deploy: { resources: {}, placement: {} },
};

export const renderModel = (tree: MapValue, options: RenderOptions = {}): Plain => render(tree, COMPOSE_FILE, options);

/** @param shape undefined for notes of the user */
export function render(value: Value, shape: Shape | undefined, options: RenderOptions): Plain {
  if (value.kind === 'scalar') return typeof value.value === 'string' && options.escape ? value.value.replaceAll('$', '$$$$') : value.value;
  if (value.kind === 'list') return value.items.map((item) => render(item, shape?.kind === 'list' ? shape.of : undefined, options));
  if (shape?.kind === 'map' && shape.print) return shape.print(value).map((text) => (options.escape ? text.replaceAll('$', '$$$$') : text));
  return shape?.kind === 'object'
    ? renderObject(value, shape, options)
    : renderMap(value, shape?.kind === 'map' ? shape : undefined, options);
}

function renderMap(value: MapValue, shape: MapShape | undefined, options: RenderOptions): Plain {
  const entries = [...value.entries].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  return Object.fromEntries(entries.map((entry) => [entry.key, render(entry.value, shape?.of, options)]));
}

function renderObject(value: MapValue, shape: ObjectShape, options: RenderOptions): Plain {
  const given = new Map(value.entries.map((entry) => [entry.key, entry.value]));
  const always = (options.json ? IN_JSON[shape.name] : undefined) ?? {};
  const out: Record<string, Plain> = {};
  for (const [key, [inner]] of Object.entries(shape.keys)) {
    const found = given.get(key);
    if (found && says(key, found, inner, shape, options)) out[key] = render(found, inner, options);
    else if (Object.hasOwn(always, key)) out[key] = always[key] ?? null;
  }
  const notes = value.entries.filter((entry) => entry.key.startsWith('x-')).sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const entry of notes) out[entry.key] = render(entry.value, undefined, options);
  return out;
}

function says(key: string, value: Value, shape: Shape, within: ObjectShape, options: RenderOptions): boolean {
  if (within.defaults?.[key] === true && key === 'create_host_path') return value.kind === 'scalar' && value.value === false;
  if (value.kind === 'scalar')
    return KEPT.has(key)
      ? value.value !== null || (options.json ?? false)
      : value.value !== null && value.value !== false && value.value !== 0 && value.value !== '';
  if (KEPT.has(key)) return true;
  if (shape.kind === 'object') return !DROPPED.has(key) || (value.kind === 'map' && value.entries.length > 0);
  return isFull(value, shape);
}

const isFull = (value: Value, shape: Shape): boolean =>
  value.kind === 'list' ? value.items.length > 0 : value.kind === 'map' ? value.entries.length > 0 : shape.kind !== 'any';
