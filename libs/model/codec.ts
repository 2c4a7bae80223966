/** Text ⇄ value for what is kept in etcd and on disk. Nothing read from there is believed before its schema has passed. */
import type { z } from 'zod';
import { messageOf, WeftError } from '#base/errors.js';

export const encode = (value: unknown): string => JSON.stringify(value);

/** @throws CORRUPT, or `code`, naming `where` */
export function decode<S extends z.ZodType>(
  schema: S,
  text: string,
  where: string,
  code: 'CORRUPT' | 'BAD_VALUE' = 'CORRUPT',
): z.output<S> {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new WeftError(code, { what: `${where} is not JSON`, why: messageOf(error), cause: error });
  }
  return check(schema, raw, where, code);
}

/** Validates an already parsed value (an RPC message as plain JSON, say). @throws CORRUPT, or `code` */
export function check<S extends z.ZodType>(schema: S, raw: unknown, where: string, code: 'CORRUPT' | 'BAD_VALUE' = 'CORRUPT'): z.output<S> {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const why = result.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'value'}: ${issue.message}`)
    .join('; ');
  throw new WeftError(code, { what: `${where} is not valid`, why });
}
