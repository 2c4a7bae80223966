/**
 * The canonical model → the stack. A reader's table says for each key of one place who takes it over; what the key may be is
 * the business of its shape (key-table.ts), and was checked before. A key without a reader is refused: by its standing
 * (standing.ts), or here, should the key table call it honoured although nobody reads it.
 */
import { entriesOf, report, type Context, type Field } from './context.js';
import type { ObjectShape } from './shape.js';

export type ReadKey<D> = (c: Context, field: Field, draft: D) => void;

export interface KeyTable<D> {
  shape: ObjectShape;
  keys: Readonly<Record<string, ReadKey<D>>>;
}

/** Reads a map by its table into `draft`. Keys that begin with `x-` are the user's own. */
export function readByTable<D>(c: Context, field: Field, table: KeyTable<D>, draft: D): void {
  for (const entry of entriesOf(c, field, `${table.shape.name}, a map`) ?? []) {
    if (entry.key.startsWith('x-')) continue;
    const read = Object.hasOwn(table.keys, entry.key) ? table.keys[entry.key] : undefined;
    if (read) read(c, entry, draft);
    else if (isHonoured(table.shape, entry.key)) report(c, entry.at, entry.path, NOT_YET);
  }
}

export const NOT_YET = 'Weft does not support this key of Compose yet';

function isHonoured(shape: ObjectShape, key: string): boolean {
  const standing = Object.hasOwn(shape.keys, key) ? shape.keys[key]?.[1] : undefined;
  return standing?.is === 'honoured' || standing?.is === 'differs';
}
