/**
 * IPv4 addresses, subnets and MAC addresses as plain numbers and strings. Pure maths; RFC 791 (addresses), RFC 4632 (CIDR).
 * An address in code is its dotted string; a number (0 … 2^32-1) only inside this maths.
 */
import { WeftError } from './errors.js';

const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const CIDR4 = new RegExp(`^(${OCTET}(?:\\.${OCTET}){3})/(3[0-2]|[12]?\\d)$`);
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

export interface Cidr {
  /** Network address, host bits zero. */
  base: number;
  /** Prefix length in bits, 0 … 32. */
  prefix: number;
}

export const isIpv4 = (text: string): boolean => IPV4.test(text);
export const isMac = (text: string): boolean => MAC.test(text);

/** @throws BAD_ADDRESS */
export function ipToNumber(text: string): number {
  if (!IPV4.test(text)) throw new WeftError('BAD_ADDRESS', `"${text.slice(0, 64)}" is not an IPv4 address`);
  return text.split('.').reduce((n, octet) => n * 256 + Number(octet), 0);
}

export function numberToIp(n: number): string {
  return `${(n >>> 24) & 255}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

/** Parses `a.b.c.d/p`; host bits must be zero unless `lax`. @throws BAD_ADDRESS */
export function parseCidr(text: string, lax = false): Cidr {
  const match = CIDR4.exec(text);
  if (!match) throw new WeftError('BAD_ADDRESS', `"${text.slice(0, 64)}" is not an IPv4 subnet`);
  const prefix = Number(match[2]);
  const address = ipToNumber(match[1] as string);
  const base = maskTo(address, prefix);
  if (!lax && base !== address) {
    throw new WeftError('BAD_ADDRESS', { what: `"${text}" has host bits set`, hint: `Write ${numberToIp(base)}/${prefix}.` });
  }
  return { base, prefix };
}

export const formatCidr = (c: Cidr): string => `${numberToIp(c.base)}/${c.prefix}`;

function maskTo(address: number, prefix: number): number {
  const size = 2 ** (32 - prefix);
  return Math.floor(address / size) * size;
}

/** Number of addresses in the subnet, network and broadcast included. */
export const cidrSize = (c: Cidr): number => 2 ** (32 - c.prefix);

/** Last address of the subnet (the broadcast address of all but /31 and /32). */
export const cidrLast = (c: Cidr): number => c.base + cidrSize(c) - 1;

export const cidrContains = (c: Cidr, address: number): boolean => address >= c.base && address <= cidrLast(c);

export const cidrsOverlap = (a: Cidr, b: Cidr): boolean => a.base <= cidrLast(b) && b.base <= cidrLast(a);

/** The MAC of an endpoint, recomputable from its address: `02:42:` (locally administered) and the four octets. */
export function macOfIp(ip: string): string {
  const n = ipToNumber(ip);
  return `02:42:${[24, 16, 8, 0].map((shift) => ((n >>> shift) & 255).toString(16).padStart(2, '0')).join(':')}`;
}

/** The address that a MAC is made of; undefined for one that is not made of any. */
export const ipOfMac = (mac: string): string | undefined =>
  isMac(mac) && mac.startsWith('02:42:') ? numberToIp(Number.parseInt(mac.slice('02:42:'.length).replaceAll(':', ''), 16)) : undefined;

/**
 * The MAC of a node's bridges, the same on every network and known to every other node: `02:57:` and the node's index. So a
 * node is told by the frames it sends, whether it has an address on a network or not.
 */
export function macOfNode(index: number): string {
  return `02:57:${[24, 16, 8, 0].map((shift) => ((index >>> shift) & 255).toString(16).padStart(2, '0')).join(':')}`;
}

/** `7.0.1.10.in-addr.arpa` ⇄ `10.1.0.7` (RFC 1035 §3.5). */
export const reverseName = (ip: string): string => `${ip.split('.').reverse().join('.')}.in-addr.arpa`;
