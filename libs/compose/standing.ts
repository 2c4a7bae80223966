/** What of a model Weft does not do: each key whose standing in the key table is a refusal, with its place and reason. */
import { report, type Context } from './context.js';
import { joinPath } from './issue.js';
import { NOT_YET } from './read-by-table.js';
import type { ObjectShape, Shape, Standing } from './shape.js';
import type { Entry, Value } from './tree.js';

/** Tells of every refused key. What completion put in by itself is not the user's. */
export function refuseByStanding(c: Context, value: Value, shape: Shape): void {
  // Mostly there is none, and paths are only for telling.
  if (hasRefused(value, shape)) refuseBelow(c, value, shape, '');
}

function hasRefused(value: Value, shape: Shape): boolean {
  if (value.kind === 'scalar' || !mayRefuse(shape)) return false;
  if (value.kind === 'list') return shape.kind === 'list' && value.items.some((item) => hasRefused(item, shape.of));
  if (shape.kind === 'map') return value.entries.some((entry) => hasRefused(entry.value, shape.of));
  return shape.kind === 'object' && value.entries.some((entry) => isRefusedWithin(entry, keyOf(shape, entry)));
}

const keyOf = ({ keys }: ObjectShape, { key }: Entry) => (Object.hasOwn(keys, key) ? keys[key] : undefined);

const isRefusedWithin = (entry: Entry, key: ReturnType<typeof keyOf>): boolean =>
  key !== undefined && !entry.implied && (isRefusal(key[1]) || hasRefused(entry.value, key[0])) && !asksForNothing(entry);

function refuseBelow(c: Context, value: Value, shape: Shape, path: string): void {
  if (value.kind === 'list' && shape.kind === 'list') value.items.forEach((item, i) => refuseBelow(c, item, shape.of, `${path}[${i}]`));
  if (value.kind !== 'map') return;
  if (shape.kind === 'map') for (const entry of value.entries) refuseBelow(c, entry.value, shape.of, joinPath(path, entry.key));
  if (shape.kind !== 'object') return;
  for (const entry of value.entries) {
    const key = keyOf(shape, entry);
    if (!key || !isRefusedWithin(entry, key)) continue;
    const inner = joinPath(path, entry.key);
    if (!refuse(c, entry, inner, key[1])) refuseBelow(c, entry.value, key[0], inner);
  }
}

const isRefusal = ({ is }: Standing): boolean => is === 'later' || is === 'refused';

const known = new WeakMap<Shape, boolean>();

/** Whether any key below is refused: most of a large file need not be looked at. */
function mayRefuse(shape: Shape): boolean {
  if (shape.kind === 'list' || shape.kind === 'map') return mayRefuse(shape.of);
  if (shape.kind !== 'object') return false;
  const found = known.get(shape) ?? Object.values(shape.keys).some(([of, standing]) => isRefusal(standing) || mayRefuse(of));
  known.set(shape, found);
  return found;
}

/** On unless they are turned off: to turn them off asks for something. */
const ON_BY_DEFAULT = new Set(['attach', 'enable_ipv4', 'create_host_path', 'required']);

/** What is off, or empty, is what Weft does anyway: files often say so. */
function asksForNothing({ key, value }: Entry): boolean {
  if (value.kind === 'scalar') return value.value === false && !ON_BY_DEFAULT.has(key);
  return value.kind === 'list' && value.items.length === 0;
}

function refuse(c: Context, entry: Entry, path: string, standing: Standing): boolean {
  if (standing.is === 'later') report(c, entry.at, path, NOT_YET, 'remove it, or rename it to x-… to keep it as a note');
  else if (standing.is === 'refused') report(c, entry.at, path, `Weft refuses this key: ${standing.why}`, standing.hint);
  return isRefusal(standing);
}
