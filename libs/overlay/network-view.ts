/** A network of a view, asked for its subnets. */
import { addressToNumber, parseSubnet, subnetHas } from '#base/ip.js';
import { numberToIp6 } from '#base/address6.js';
import type { NetworkView } from '#model/node-view.js';

export interface SubnetView {
  subnet: string;
  gateway: string;
}

/** IPv4 subnets, the first first. */
export const subnets4 = ({ subnet, gateway, moreSubnets = [] }: NetworkView): SubnetView[] => [{ subnet, gateway }, ...moreSubnets];

/** The IPv6 half of a network, where this node has an address in it. */
export interface Ipv6View extends SubnetView {
  /** Of this node. */
  nodeAddress: string;
}

export const ipv6Of = ({ ipv6, nodeAddress6 }: NetworkView): Ipv6View | undefined =>
  ipv6 && nodeAddress6 !== undefined ? { subnet: ipv6.subnet, gateway: ipv6.gateway, nodeAddress: nodeAddress6 } : undefined;

/** The subnet that an address of the network is in. */
export const homeOf = (n: NetworkView, ipv4: string): SubnetView =>
  subnets4(n).find((s) => subnetHas(parseSubnet(s.subnet), ipv4)) ?? { subnet: n.subnet, gateway: n.gateway };

export const prefixOf = (subnet: string): number => parseSubnet(subnet).prefix;

/** The link-local address that Linux makes from a MAC (modified EUI-64, RFC 4291 appendix A). */
export function linkLocalOf(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const half = [a ^ 2, b, c, 0xff, 0xfe, d, e, f].reduce((n, byte) => (n << 8n) | BigInt(byte), 0n);
  return numberToIp6((0xfe80n << 112n) | half);
}

/** As nft writes the value of a raw 128-bit expression. */
export const hex128 = (ipv6: string): string => `0x${addressToNumber(ipv6).toString(16).padStart(32, '0')}`;
