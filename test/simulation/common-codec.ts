/**
 * The codec of libs/model, in place of it where histories are played (bundle.mjs): a text that several simulated processes
 * read is decoded once. What they share is frozen, so that none can change what another has read.
 */
import type { z } from 'zod';
import { decode as decodeAnew } from '../../libs/model/codec.js';

export { check, encode } from '../../libs/model/codec.js';

/** Of one schema. Then it is begun anew: histories have little in common. */
const MOST = 2_000;
const known = new WeakMap<z.ZodType, Map<string, unknown>>();

export function decode<S extends z.ZodType>(schema: S, text: string, where: string, code?: 'CORRUPT' | 'BAD_VALUE'): z.output<S> {
  let values = known.get(schema);
  if (!values) known.set(schema, (values = new Map()));
  if (values.has(text)) return values.get(text) as z.output<S>;
  const value = frozen(decodeAnew(schema, text, where, code));
  if (values.size >= MOST) values.clear();
  values.set(text, value);
  return value;
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) frozen(member);
  }
  return value;
}
