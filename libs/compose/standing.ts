/** What of a model Weft does not do: each key whose standing in the key table is a refusal, with its place and reason. */
import { report, type Context } from './context.js';
import { joinPath } from './issue.js';
import { NOT_YET } from './read-by-table.js';
import type { Shape, Standing } from './shape.js';
import type { Entry, Value } from './tree.js';

/** Tells of every refused key. What completion put in by itself is not the user's. */
export function refuseByStanding(c: Context, value: Value, shape: Shape, path = ''): void {
  if (!mayRefuse(shape)) return;
  if (value.kind === 'list' && shape.kind === 'list')
    value.items.forEach((item, i) => refuseByStanding(c, item, shape.of, `${path}[${i}]`));
  if (value.kind !== 'map') return;
  if (shape.kind === 'map') for (const entry of value.entries) refuseByStanding(c, entry.value, shape.of, joinPath(path, entry.key));
  if (shape.kind !== 'object') return;
  for (const entry of value.entries) {
    const key = Object.hasOwn(shape.keys, entry.key) ? shape.keys[entry.key] : undefined;
    if (!key || (!isRefusal(key[1]) && !mayRefuse(key[0])) || entry.implied || asksForNothing(entry)) continue;
    const inner = joinPath(path, entry.key);
    if (!refuse(c, entry, inner, key[1])) refuseByStanding(c, entry.value, key[0], inner);
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
