/** The keys that a tree says, as rows of the key table. */
import type { Position } from '#compose/issue.js';
import type { Shape } from '#compose/shape.js';
import type { Value } from '#compose/tree.js';

export interface SaidKey {
  /** `services.*.ports[].target`. */
  row: string;
  /** Of the key. */
  at: Position;
}

/** In the order of the file; not what completion put in. A short form says the key around it only. */
export function saidKeys(value: Value, shape: Shape, around = ''): SaidKey[] {
  if (value.kind === 'list' && shape.kind === 'list') return value.items.flatMap((item) => saidKeys(item, shape.of, `${around}[]`));
  if (value.kind !== 'map') return [];
  return value.entries.flatMap(({ key, at, value: inner, implied }) => {
    if (implied) return [];
    if (shape.kind === 'map') return saidKeys(inner, shape.of, `${around}.*`);
    const of = shape.kind === 'object' && Object.hasOwn(shape.keys, key) ? shape.keys[key]?.[0] : undefined;
    if (!of) return [];
    const row = around === '' ? key : `${around}.${key}`;
    return [{ row, at }, ...saidKeys(inner, of, row)];
  });
}
