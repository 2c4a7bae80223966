/** When two wishes for a port of a node cannot both be had. */
import { isIpv4 } from '#base/address.js';
import type { Port } from '#model/stack.js';

/** Addresses that stand for every address of their family. */
const EVERY = new Set(['0.0.0.0', '::']);

const sameFamily = (a: string, b: string): boolean => isIpv4(a) === isIpv4(b);

/** Whether a socket on address `a` of a node and one on `b` get in each other's way; undefined: every address. */
export function addressesOverlap(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined || a === b) return true;
  return sameFamily(a, b) && (EVERY.has(a) || EVERY.has(b));
}

type Wish = Pick<Port, 'protocol' | 'published' | 'hostIp'>;

/** The same port of the same protocol, on addresses that overlap. */
export const samePort = (a: Wish, b: Wish): boolean =>
  a.published === b.published && a.protocol === b.protocol && addressesOverlap(a.hostIp, b.hostIp);

/** Two services cannot both have it: on the same node if both are of mode `host` (the scheduler keeps those apart), else anywhere. */
export const excludes = (a: Port, b: Port): boolean => samePort(a, b) && !(a.mode === 'host' && b.mode === 'host');
