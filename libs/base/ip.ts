/** Addresses and subnets of either family in one arithmetic, for what asks the same of both. Numbers are bigint here. */
import { cidrLast, ipToNumber, isIpv4, numberToIp, parseCidr } from './address.js';
import { cidr6Last, ip6ToNumber, numberToIp6, parseCidr6 } from './address6.js';

export type Family = 4 | 6;

export interface Subnet {
  family: Family;
  /** First address. */
  first: bigint;
  /** Last address (IPv4: the broadcast address). */
  last: bigint;
  prefix: number;
}

/** By the look of the text alone: a colon makes it IPv6. */
export const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

/** @throws BAD_ADDRESS */
export function parseSubnet(text: string, lax = false): Subnet {
  if (familyOf(text) === 6) {
    const cidr = parseCidr6(text, lax);
    return { family: 6, first: cidr.base, last: cidr6Last(cidr), prefix: cidr.prefix };
  }
  const cidr = parseCidr(text, lax);
  return { family: 4, first: BigInt(cidr.base), last: BigInt(cidrLast(cidr)), prefix: cidr.prefix };
}

/** @throws BAD_ADDRESS */
export const addressToNumber = (text: string): bigint => (familyOf(text) === 6 ? ip6ToNumber(text) : BigInt(ipToNumber(text)));

export const numberToAddress = (family: Family, n: bigint): string => (family === 6 ? numberToIp6(n) : numberToIp(Number(n)));

export const formatSubnet = (s: Subnet): string => `${numberToAddress(s.family, s.first)}/${s.prefix}`;

/** In the one spelling we use. @throws BAD_ADDRESS */
export const canonicalAddress = (text: string): string => numberToAddress(familyOf(text), addressToNumber(text));

/** In the one spelling we use; host bits must be zero. @throws BAD_ADDRESS */
export const canonicalSubnet = (text: string): string => formatSubnet(parseSubnet(text));

export const subnetHas = (subnet: Subnet, address: string): boolean => {
  if (familyOf(address) !== subnet.family) return false;
  const n = addressToNumber(address);
  return n >= subnet.first && n <= subnet.last;
};

export const subnetsOverlap = (a: Subnet, b: Subnet): boolean => a.family === b.family && a.first <= b.last && b.first <= a.last;

/** Network and (IPv4) broadcast address, which no host can have; the subnet-router anycast address of IPv6 (RFC 4291 §2.6.1). */
export const isEdge = (subnet: Subnet, n: bigint): boolean => n === subnet.first || (subnet.family === 4 && n === subnet.last);

/** IPv4 first, then by number. */
export function compareAddresses(a: string, b: string): number {
  const [fa, fb] = [familyOf(a), familyOf(b)];
  if (fa !== fb) return fa - fb;
  if (fa === 4 && isIpv4(a) && isIpv4(b)) return ipToNumber(a) - ipToNumber(b);
  const [na, nb] = [addressToNumber(a), addressToNumber(b)];
  return na < nb ? -1 : na > nb ? 1 : 0;
}
