/**
 * IPv6 addresses and subnets as text and as numbers. One spelling for one address: the canonical text of RFC 5952 (lower
 * case, no leading zeros, the longest run of zeros as `::`), so that equal addresses are equal strings.
 */
import { isIpv4 } from './address.js';
import { WeftError } from './errors.js';

export interface Cidr6 {
  /** First address of the subnet. */
  base: bigint;
  /** 0 … 128. */
  prefix: number;
}

const BITS = 128n;
const GROUPS = 8;

/** @throws BAD_ADDRESS for what is no IPv6 address; a zone (`%eth0`) is none. */
export function ip6ToNumber(text: string): bigint {
  const groups = groupsOfAddress(text);
  if (!groups) throw new WeftError('BAD_ADDRESS', { what: `${JSON.stringify(text.slice(0, 64))} is not an IPv6 address` });
  return groups.reduce((n, group) => (n << 16n) | BigInt(group), 0n);
}

const GROUP = /^[0-9a-fA-F]{1,4}$/;

/** The eight groups of an address in any spelling of RFC 4291 §2.2; undefined if it is none. */
function groupsOfAddress(text: string): number[] | undefined {
  const [head = '', tail, ...more] = withHexTail(text).split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = GROUPS - front.length - back.length;
  const fits = tail === undefined ? zeros === 0 : zeros >= 1;
  if (more.length > 0 || !fits || ![...front, ...back].every((group) => GROUP.test(group))) return undefined;
  return [...front, ...Array.from({ length: zeros }, () => '0'), ...back].map((group) => Number.parseInt(group, 16));
}

/** `::ffff:10.0.0.1` → `::ffff:a00:1`. */
function withHexTail(text: string): string {
  const at = text.lastIndexOf(':') + 1;
  const dotted = text.slice(at);
  if (at === 0 || !isIpv4(dotted)) return text;
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
  return `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** Canonical text, RFC 5952. */
export function numberToIp6(n: bigint): string {
  const groups = Array.from({ length: GROUPS }, (_, i) => Number((n >> BigInt(112 - 16 * i)) & 0xff_ffn));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < GROUPS; at++) {
    let length = 0;
    while (at + length < GROUPS && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  return best.at < 0 ? hex(groups) : `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}

/** In the one spelling we use. @throws BAD_ADDRESS */
export const canonicalIp6 = (text: string): string => numberToIp6(ip6ToNumber(text));

/** true for an IPv6 address in canonical text. */
export const isIpv6 = (text: string): boolean => groupsOfAddress(text) !== undefined && canonicalIp6(text) === text;

/** @param lax host bits may be set; they are cleared. @throws BAD_ADDRESS */
export function parseCidr6(text: string, lax = false): Cidr6 {
  const match = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/.exec(text);
  const prefix = Number(match?.[2]);
  if (!match || prefix > 128) throw new WeftError('BAD_ADDRESS', { what: `${JSON.stringify(text.slice(0, 64))} is not an IPv6 subnet` });
  const address = ip6ToNumber(match[1] ?? '');
  const base = (address >> (BITS - BigInt(prefix))) << (BITS - BigInt(prefix));
  if (!lax && base !== address)
    throw new WeftError('BAD_ADDRESS', { what: `${text} has bits set beyond its prefix`, hint: `Write ${formatCidr6({ base, prefix })}.` });
  return { base, prefix };
}

export const formatCidr6 = (c: Cidr6): string => `${numberToIp6(c.base)}/${c.prefix}`;

/** Last address of the subnet. */
export const cidr6Last = (c: Cidr6): bigint => c.base + (1n << (BITS - BigInt(c.prefix))) - 1n;

export const cidr6Contains = (c: Cidr6, address: bigint): boolean => address >= c.base && address <= cidr6Last(c);

export const cidrs6Overlap = (a: Cidr6, b: Cidr6): boolean => a.base <= cidr6Last(b) && b.base <= cidr6Last(a);

/** `…ip6.arpa` of an address (RFC 3596 §2.5). */
export const reverseName6 = (ip: string): string => `${[...ip6ToNumber(ip).toString(16).padStart(32, '0')].reverse().join('.')}.ip6.arpa`;
