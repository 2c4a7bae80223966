/**
 * What a declared subnet must hold to: said where it is read (libs/compose gives each fault its place in the file) and again
 * where it is planned, since a wish may also come from `ctl network create`.
 */
import { addressToNumber, isEdge, parseSubnet, subnetHas, subnetsOverlap, type Subnet } from '#base/ip.js';
import type { SubnetWish } from './network-wish.js';

/** The smallest IPv4 subnet that holds a gateway, a node's address, a VIP and a task. */
export const MAX_PREFIX_V4 = 29;
/** The same for IPv6; the largest is a /16, since nobody owns more. */
export const MAX_PREFIX_V6 = 125;
const MIN_PREFIX_V4 = 8;
const MIN_PREFIX_V6 = 16;

export interface SubnetFault {
  /** The part of the wish that is wrong. */
  part: 'subnet' | 'ipRange' | 'gateway' | 'auxAddresses';
  /** Of auxAddresses. */
  key?: string;
  message: string;
}

/** @param wish whose texts have passed subnetWishSchema */
export function subnetFaults(wish: SubnetWish): SubnetFault[] {
  const subnet = parseSubnet(wish.subnet);
  const size = sizeFault(wish.subnet, subnet);
  if (size) return [size];
  return [...rangeFaults(wish, subnet), ...gatewayFaults(wish, subnet), ...auxFaults(wish, subnet)];
}

function sizeFault(text: string, { family, prefix }: Subnet): SubnetFault | undefined {
  const [min, max] = family === 4 ? [MIN_PREFIX_V4, MAX_PREFIX_V4] : [MIN_PREFIX_V6, MAX_PREFIX_V6];
  if (prefix > max) return { part: 'subnet', message: `a subnet of a network is /${max} or larger, found "${text}"` };
  if (prefix < min) return { part: 'subnet', message: `a subnet of a network is /${min} or smaller, found "${text}"` };
  const special = SPECIAL.find((s) => subnetsOverlap(parseSubnet(s.subnet), parseSubnet(text)));
  return special && { part: 'subnet', message: `${text} is within ${special.subnet}: ${special.what}` };
}

/** IANA special-purpose registries (RFC 6890): what no host on a network can have. */
const SPECIAL: readonly { subnet: string; what: string }[] = [
  { subnet: '0.0.0.0/8', what: 'no addresses of hosts' },
  { subnet: '127.0.0.0/8', what: 'loopback' },
  { subnet: '169.254.0.0/16', what: 'link-local' },
  { subnet: '224.0.0.0/3', what: 'multicast and reserved' },
  { subnet: 'fe80::/10', what: 'link-local' },
  { subnet: 'ff00::/8', what: 'multicast' },
];

function rangeFaults({ ipRange, subnet: text }: SubnetWish, subnet: Subnet): SubnetFault[] {
  if (ipRange === undefined) return [];
  const range = parseSubnet(ipRange);
  const inside = range.family === subnet.family && range.first >= subnet.first && range.last <= subnet.last;
  return inside ? [] : [{ part: 'ipRange', message: `the range ${ipRange} is not inside the subnet ${text}` }];
}

function gatewayFaults({ gateway, subnet: text }: SubnetWish, subnet: Subnet): SubnetFault[] {
  if (gateway === undefined) return [];
  if (!subnetHas(subnet, gateway)) return [{ part: 'gateway', message: `the gateway ${gateway} is not in the subnet ${text}` }];
  if (isEdge(subnet, addressToNumber(gateway)))
    return [{ part: 'gateway', message: `${gateway} is the network or broadcast address of ${text}` }];
  return [];
}

function auxFaults({ auxAddresses = {}, gateway, subnet: text }: SubnetWish, subnet: Subnet): SubnetFault[] {
  const faults: SubnetFault[] = [];
  const seen = new Map<string, string>(gateway === undefined ? [] : [[gateway, 'the gateway']]);
  for (const [key, address] of Object.entries(auxAddresses)) {
    const other = seen.get(address);
    const message = !subnetHas(subnet, address)
      ? `the address ${address} is not in the subnet ${text}`
      : other === undefined
        ? undefined
        : `the address ${address} is already that of ${other}`;
    if (message !== undefined) faults.push({ part: 'auxAddresses', key, message });
    seen.set(address, key);
  }
  return faults;
}

/** Whether two of a network's own subnets overlap; the texts of the first two that do. */
export function overlapAmong(wishes: readonly SubnetWish[]): [string, string] | undefined {
  for (const [i, a] of wishes.entries()) {
    const b = wishes.slice(i + 1).find((other) => subnetsOverlap(parseSubnet(a.subnet), parseSubnet(other.subnet)));
    if (b) return [a.subnet, b.subnet];
  }
  return undefined;
}
