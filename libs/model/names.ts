/**
 * The strict patterns for names. Whatever becomes part of an `ip` or `nft` line, a path or an etcd key has passed one of
 * these at the edge (compose file, flag, RPC, etcd value), once.
 */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import { NAME_PATTERN, SERVICE_PATTERN, HOSTNAME_PATTERN, ID_PATTERN, GLOBAL_NAME_PATTERN } from './name-patterns.js';

export { NAME_PATTERN, SERVICE_PATTERN, HOSTNAME_PATTERN, ID_PATTERN, GLOBAL_NAME_PATTERN } from './name-patterns.js';

export const nameSchema = z.string().regex(NAME_PATTERN);
export const serviceNameSchema = z.string().regex(SERVICE_PATTERN);
export const hostnameSchema = z.string().regex(HOSTNAME_PATTERN);
export const idSchema = z.string().regex(ID_PATTERN);
export const globalNameSchema = z.string().regex(GLOBAL_NAME_PATTERN);

/** Returns `value` if it fits `pattern`. @throws BAD_NAME, quoting the value safely (control characters escaped, cut at 64). */
export function checkName(value: string, what: string, pattern: RegExp = NAME_PATTERN): string {
  if (pattern.test(value)) return value;
  throw new WeftError('BAD_NAME', { what: `${what} ${JSON.stringify(value.slice(0, 64))} is not a valid name` });
}
