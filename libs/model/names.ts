/**
 * The strict patterns for names. Whatever becomes part of an `ip` or `nft` line, a path or an etcd key has passed one of
 * these at the edge (compose file, flag, RPC, etcd value), once.
 */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';

/** Stack, service, network-key, volume and node names: as Compose's project names, 63 characters at most (a DNS label, RFC 1123). */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
/** Compose allows upper case, dots in service keys; a name that must resolve may not have them. */
export const SERVICE_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$/;
/** A DNS alias or host name: labels of RFC 1123, underscores tolerated as Docker does. */
export const HOSTNAME_PATTERN =
  /^(?=.{1,253}$)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*$/;
/** Ids we make: lower-case hex. */
export const ID_PATTERN = /^[0-9a-f]{8,64}$/;
/** Names of networks and volumes as the cluster knows them: `<stack>_<key>`, or the `name:` a user gave. */
export const GLOBAL_NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

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
