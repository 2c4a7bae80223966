/** Addresses and subnets of either family, in the one text that each is written in. */
import { z } from 'zod';
import { isIpv4, isMac, parseCidr } from '#base/address.js';
import { isIpv6, parseCidr6 } from '#base/address6.js';

export const cidrSchema = z.string().refine((text) => {
  try {
    parseCidr(text);
    return true;
  } catch {
    return false;
  }
}, 'not an IPv4 subnet');
export const ipv4Schema = z.string().refine(isIpv4, 'not an IPv4 address');
/** IPv6 in the canonical text of RFC 5952. */
export const ipv6Schema = z.string().refine(isIpv6, 'not an IPv6 address in canonical form');
export const ipSchema = z.union([ipv4Schema, ipv6Schema]);
export const cidr6Schema = z.string().refine((text) => {
  try {
    parseCidr6(text);
    return true;
  } catch {
    return false;
  }
}, 'not an IPv6 subnet');
export const macSchema = z.string().refine(isMac, 'not a MAC address');
