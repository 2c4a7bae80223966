/** Subnets of networks: which ranges are in use, and the first piece of a pool that touches none of them. */
import { cidrLast, cidrSize, cidrsOverlap, formatCidr, parseCidr, type Cidr } from '#base/address.js';
import { WeftError } from '#base/errors.js';
import type { ClusterState } from './cluster-state.js';

/** A range that is in use, and by what: shown to the user. */
export interface UsedRange {
  cidr: Cidr;
  what: string;
}

function parseLax(text: string): Cidr | undefined {
  try {
    return parseCidr(text.includes('/') ? text : `${text}/32`, true);
  } catch {
    // IPv6, or a route that is no prefix ("default"): no IPv4 subnet can clash with it.
    return undefined;
  }
}

/** The networks of the cluster, and the routes and addresses of every node. A default route is no clash. */
export function usedRanges(state: ClusterState): UsedRange[] {
  const out: UsedRange[] = [];
  for (const n of state.networks.values()) out.push({ cidr: parseCidr(n.subnet), what: `network ${n.name} (${n.subnet})` });
  for (const [nodeId, facts] of state.facts) {
    const node = state.nodes.get(nodeId);
    if (!node) continue;
    for (const [kind, texts] of [
      ['route', facts.routes],
      ['address', facts.addresses],
    ] as const) {
      for (const text of texts) {
        const cidr = parseLax(text);
        if (cidr && cidr.prefix > 0) out.push({ cidr, what: `${kind} ${text} of node ${node.name}` });
      }
    }
  }
  for (const n of state.nodes.values()) {
    const cidr = parseLax(n.address);
    if (cidr) out.push({ cidr, what: `address ${n.address} of node ${n.name}` });
  }
  return out;
}

export const clashOf = (subnet: Cidr, used: readonly UsedRange[]): UsedRange | undefined => used.find((u) => cidrsOverlap(u.cidr, subnet));

/** @throws SUBNET_CLASH naming the network, or the node and its route */
export function checkSubnet(networkName: string, subnet: string, used: readonly UsedRange[]): void {
  const clash = clashOf(parseCidr(subnet), used);
  if (clash)
    throw new WeftError('SUBNET_CLASH', {
      what: `network ${networkName} cannot have the subnet ${subnet}`,
      why: `it overlaps ${clash.what}`,
    });
}

/**
 * The first piece of the pools, from the low end, that overlaps nothing in use.
 * @throws SUBNET_CLASH when no piece is free
 */
export function chooseSubnet(pools: readonly string[], prefix: number, used: readonly UsedRange[]): string {
  const size = cidrSize({ base: 0, prefix });
  for (const text of pools) {
    const pool = parseCidr(text);
    let base = Math.ceil(pool.base / size) * size;
    while (base + size - 1 <= cidrLast(pool)) {
      const piece = { base, prefix };
      const clash = clashOf(piece, used);
      if (!clash) return formatCidr(piece);
      // Jump over what is in the way: a /8 route would otherwise cost thousands of steps.
      base = Math.ceil((Math.max(cidrLast(clash.cidr), base) + 1) / size) * size;
    }
  }
  throw new WeftError('SUBNET_CLASH', {
    what: `no free subnet of size /${prefix} is left`,
    why: `everything in ${pools.join(', ')} overlaps a network or a node's routes`,
    hint: 'Name a subnet for the network in the file (ipam), or remove stacks that are not needed.',
  });
}
