/**
 * Merging canonical trees, as the Compose Specification has it ("Merge and override"): maps key by key, lists one after the
 * other with unique items replaced, single values and commands replaced; `!reset` takes a key away, `!override` replaces it.
 */
import { dedupe } from './expand.js';
import type { ListShape, Shape } from './shape.js';
import type { Entry, ListValue, MapValue, Value } from './tree.js';

/** What `over` says, put over `base`. Tags of `over` have done their work, and are left for trees that come before `base`. */
export function merge(base: Value | undefined, over: Value, shape: Shape | undefined): Value {
  if (!base || over.tag || shape?.replace) return over;
  if (over.kind === 'scalar' && over.value === null && !shape?.replace) return base;
  if (base.kind === 'map' && over.kind === 'map') return mergeMaps(base, over, shape);
  if (base.kind === 'list' && over.kind === 'list') return mergeLists(base, over, shape?.kind === 'list' ? shape : undefined);
  return over;
}

function mergeMaps(base: MapValue, over: MapValue, shape: Shape | undefined): MapValue {
  if (shape?.kind === 'object' && shape.mergeIf && !shape.mergeIf(base, over)) return over;
  const entries = new Map<string, Entry>(base.entries.map((entry) => [entry.key, entry]));
  for (const entry of over.entries) {
    const own = entries.get(entry.key);
    entries.set(entry.key, own ? { ...entry, value: merge(own.value, entry.value, inner(shape, entry.key)) } : entry);
  }
  return { ...keepTag(base), kind: 'map', at: over.at, entries: [...entries.values()] };
}

const keepTag = ({ tag }: Value): Pick<Value, 'tag'> => (tag ? { tag } : {});

function mergeLists(base: ListValue, over: ListValue, shape: ListShape | undefined): ListValue {
  const items = [...base.items, ...over.items];
  const both = shape?.mergeItems ? (a: Value, b: Value) => merge(a, b, shape.of) : undefined;
  return { ...keepTag(base), kind: 'list', at: over.at, items: shape?.unique ? dedupe(items, shape, both) : items };
}

function inner(shape: Shape | undefined, key: string): Shape | undefined {
  if (shape?.kind === 'map') return shape.of;
  return shape?.kind === 'object' && Object.hasOwn(shape.keys, key) ? shape.keys[key]?.[0] : undefined;
}

/** Without tags, and without what they took away. */
export function withoutTags(value: Value): Value | undefined {
  if (value.tag === 'reset') return undefined;
  if (value.kind === 'scalar') return value.tag ? { ...value, tag: undefined } : value;
  if (value.kind === 'list') return { kind: 'list', at: value.at, items: value.items.flatMap((item) => withoutTags(item) ?? []) };
  const entries = value.entries.flatMap((entry) => {
    // Notes of the user may be shared many times over, and no tag in them does anything.
    const kept = entry.key.startsWith('x-') ? entry.value : withoutTags(entry.value);
    return kept ? [{ ...entry, value: kept }] : [];
  });
  return { kind: 'map', at: value.at, entries };
}
