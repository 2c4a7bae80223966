/** Subnets of networks: which ranges are in use, and the first piece of a pool that touches none of them. */
import { createHash } from 'node:crypto';
import { cidrLast, cidrSize, formatCidr, parseCidr } from '#base/address.js';
import { canonicalSubnet, formatSubnet, parseSubnet, subnetsOverlap, type Subnet } from '#base/ip.js';
import { WeftError } from '#base/errors.js';
import type { ClusterState } from './cluster-state.js';
import { subnetsOf } from './network-subnets.js';

/** A range that is in use, and by what: shown to the user. */
export interface UsedRange {
  subnet: Subnet;
  what: string;
  /** A route or an address of a node: of the site's own network, on which macvlan and ipvlan tasks are meant to be. */
  isSite?: boolean;
}

function parseLax(text: string): Subnet | undefined {
  try {
    return parseSubnet(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`, true);
  } catch {
    // A route that is no prefix ("default"): no subnet can clash with it.
    return undefined;
  }
}

/** The networks of the cluster, and the routes and addresses of every node. A default route is no clash. */
export function usedRanges(state: ClusterState): UsedRange[] {
  const out: UsedRange[] = [];
  for (const n of state.networks.values())
    for (const { subnet } of subnetsOf(n)) out.push({ subnet: parseSubnet(subnet), what: `network ${n.name} (${subnet})` });
  for (const [nodeId, facts] of state.facts) {
    const node = state.nodes.get(nodeId);
    if (!node) continue;
    for (const [kind, texts] of [
      ['route', facts.routes],
      ['address', facts.addresses],
    ] as const) {
      for (const text of texts) {
        const subnet = parseLax(text);
        if (subnet && subnet.prefix > 0) out.push({ subnet, what: `${kind} ${text} of node ${node.name}`, isSite: true });
      }
    }
  }
  for (const n of state.nodes.values()) {
    const subnet = parseLax(n.address);
    if (subnet) out.push({ subnet, what: `address ${n.address} of node ${n.name}`, isSite: true });
  }
  return out;
}

export const clashOf = (subnet: Subnet, used: readonly UsedRange[]): UsedRange | undefined =>
  used.find((u) => subnetsOverlap(u.subnet, subnet));

/** @throws SUBNET_CLASH naming the network, or the node and its route */
export function checkSubnet(networkName: string, subnet: string, used: readonly UsedRange[]): void {
  const clash = clashOf(parseSubnet(subnet), used);
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
      const piece = formatCidr({ base, prefix });
      const clash = clashOf(parseSubnet(piece), used);
      if (!clash) return piece;
      // Jump over what is in the way: a /8 route would otherwise cost thousands of steps.
      base = Math.ceil((Math.max(Number(clash.subnet.last), base) + 1) / size) * size;
    }
  }
  throw new WeftError('SUBNET_CLASH', {
    what: `no free subnet of size /${prefix} is left`,
    why: `everything in ${pools.join(', ')} overlaps a network or a node's routes`,
    hint: 'Name a subnet for the network in the file (ipam), or remove stacks that are not needed.',
  });
}

/** Networks with IPv6 get a /64 each of the cluster's own /48 (RFC 4193 §3.1). */
const SUBNET6_PREFIX = 64;
const SUBNETS_IN_48 = 65_536n;

/**
 * The unique local prefix of a cluster: fd and a 40-bit global id.
 * @param chance lower-case hex that nobody else has; hashed, so that its own shape does not show (RFC 4193 §3.2.2)
 */
export function uniqueLocalPrefix(chance: string): string {
  const id = createHash('sha256').update(chance).digest('hex').slice(0, 10);
  return canonicalSubnet(`fd${id.slice(0, 2)}:${id.slice(2, 6)}:${id.slice(6, 10)}::/48`);
}

/**
 * The first free /64 of the cluster's prefix; 0 is left out, so that the prefix itself is never a subnet.
 * @throws SUBNET_CLASH when none is free
 */
export function chooseSubnet6(prefix48: string, used: readonly UsedRange[]): string {
  const { first } = parseSubnet(prefix48, true);
  const six = used.filter((u) => u.subnet.family === 6);
  for (let n = 1n; n < SUBNETS_IN_48; n++) {
    const base = first + (n << BigInt(128 - SUBNET6_PREFIX));
    const piece: Subnet = { family: 6, first: base, last: base + (1n << BigInt(128 - SUBNET6_PREFIX)) - 1n, prefix: SUBNET6_PREFIX };
    if (!clashOf(piece, six)) return formatSubnet(piece);
  }
  throw new WeftError('SUBNET_CLASH', {
    what: 'no free IPv6 subnet is left',
    why: `every /${SUBNET6_PREFIX} of ${prefix48} overlaps a network or a node's routes`,
    hint: 'Name an IPv6 subnet for the network in the file (ipam).',
  });
}
