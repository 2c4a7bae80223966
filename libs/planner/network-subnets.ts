/** The subnets of a network of either family, what was wished of them, and the addresses in them that are spoken for. */
import { ipOfMac } from '#base/address.js';
import { addressToNumber, familyOf, numberToAddress, parseSubnet, type Family, type Subnet } from '#base/ip.js';
import type { Network } from '#model/network.js';
import type { Attachment, Stack } from '#model/stack.js';
import type { NetworkWish, SubnetWish } from '#model/network-wish.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { connectionsOf } from './connections.js';

/** One subnet of a network; of either family. */
export interface NetworkSubnet {
  subnet: string;
  gateway: string;
  ipRange?: string;
  auxAddresses?: Record<string, string>;
}

type Subnets = Pick<Network, 'subnet' | 'gateway' | 'ipRange' | 'auxAddresses' | 'moreSubnets' | 'ipv6'>;

/** The IPv4 subnets, the first first. */
export const subnets4Of = ({ subnet, gateway, ipRange, auxAddresses, moreSubnets = [] }: Subnets): NetworkSubnet[] => [
  { subnet, gateway, ipRange, auxAddresses },
  ...moreSubnets,
];

export const subnetsOf = (network: Subnets): NetworkSubnet[] => [...subnets4Of(network), ...(network.ipv6 ? [network.ipv6] : [])];

/** `10.1.0.0/24, 10.2.0.0/24` */
export const showSubnets = (network: Subnets, family: Family = 4): string =>
  subnetsOf(network)
    .filter((s) => familyOf(s.subnet) === family)
    .map((s) => s.subnet)
    .join(', ');

/** What was declared, by family: `ipam`, or `subnet` alone. */
export function wishedSubnets(wish: NetworkWish): { v4: SubnetWish[]; v6: SubnetWish | undefined } {
  const all = wish.ipam ?? [];
  const v4 = all.filter((s) => familyOf(s.subnet) === 4);
  return {
    v4: v4.length > 0 || wish.subnet === undefined ? v4 : [{ subnet: wish.subnet }],
    v6: all.find((s) => familyOf(s.subnet) === 6),
  };
}

/** The gateway of a subnet unless another is declared: its first address. */
export function gatewayOf(subnet: string): string {
  const { family, first } = parseSubnet(subnet);
  return numberToAddress(family, first + 1n);
}

/** A wish with nothing left open. */
export const settled = (wish: SubnetWish): NetworkSubnet => ({
  subnet: wish.subnet,
  gateway: wish.gateway ?? gatewayOf(wish.subnet),
  ...(wish.ipRange === undefined ? {} : { ipRange: wish.ipRange }),
  ...(wish.auxAddresses === undefined || Object.keys(wish.auxAddresses).length === 0 ? {} : { auxAddresses: wish.auxAddresses }),
});

/** First and last address that may be given out: the range asked for, less network and broadcast address. */
export function givable({ subnet, ipRange }: NetworkSubnet): { first: bigint; last: bigint } {
  const whole: Subnet = parseSubnet(subnet);
  const range = ipRange === undefined ? whole : parseSubnet(ipRange);
  const lastOfWhole = whole.family === 4 ? whole.last - 1n : whole.last;
  return {
    first: range.first > whole.first ? range.first : whole.first + 1n,
    last: range.last < lastOfWhole ? range.last : lastOfWhole,
  };
}

/** How many IPv4 addresses owners can have. */
export function usableAddresses(network: Subnets): number {
  let count = 0;
  for (const s of subnets4Of(network)) {
    const { first, last } = givable(s);
    const kept = new Set([s.gateway, ...Object.values(s.auxAddresses ?? {})].map(addressToNumber));
    const inside = [...kept].filter((n) => n >= first && n <= last).length;
    count += Math.max(0, Number(last - first) + 1 - inside);
  }
  return count;
}

/** Gateways and auxiliary addresses: address → what it is. */
export function keptAddresses(network: Subnets): Map<string, string> {
  const kept = new Map<string, string>();
  for (const { gateway, auxAddresses = {} } of subnetsOf(network)) {
    kept.set(gateway, 'the gateway');
    for (const [name, address] of Object.entries(auxAddresses)) kept.set(address, `kept for ${name} (aux_addresses)`);
  }
  return kept;
}

/** Network id → address → `stack/service`. */
export type DeclaredAddresses = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What stacks declared as static, or a command gave to a service, also of services that do not run. */
interface Declared {
  /** Name of the network. */
  network: string;
  attachment: Attachment;
  /** `stack/service` */
  owner: string;
}

/** What a stack says of static addresses. Values are never changed: looked through once. */
function staticOf(spec: Stack): readonly Declared[] {
  let found = statics.get(spec);
  if (found) return found;
  found = Object.values(spec.services).flatMap((service) =>
    Object.entries(service.networks).flatMap(([key, attachment]) =>
      attachment.ipv4 === undefined && attachment.ipv6 === undefined && attachment.mac === undefined
        ? []
        : [{ network: spec.networks[key]?.name ?? '', attachment, owner: serviceKey(spec.name, service.name) }],
    ),
  );
  statics.set(spec, found);
  return found;
}

const statics = new WeakMap<Stack, readonly Declared[]>();

/** @param macs whether the address that a declared MAC is made of counts: whoever had it would have that MAC */
export function declaredAddresses(state: ClusterState, macs = true): DeclaredAddresses {
  const declared = new Map<string, Map<string, string>>();
  const note = (id: string, { ipv4, ipv6, mac }: Attachment, owner: string): void => {
    for (const address of [ipv4, ipv6, macs ? ipOfMac(mac ?? '') : undefined]) {
      if (address === undefined) continue;
      const row = declared.get(id) ?? new Map<string, string>();
      declared.set(id, row.set(address, owner));
    }
  };
  for (const { spec } of state.stacks.values()) {
    for (const { network, attachment, owner } of staticOf(spec)) {
      const id = state.networkNames.get(network);
      if (id !== undefined) note(id, attachment, owner);
    }
    for (const c of connectionsOf(state, spec.name))
      if (!c.off && spec.services[c.service]) note(c.networkId, c.attachment, serviceKey(spec.name, c.service));
  }
  return declared;
}
