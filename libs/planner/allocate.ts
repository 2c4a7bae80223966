/**
 * Addresses of one network, as one plan hands them out. Tasks get the lowest free address of the first subnet that has one,
 * nodes and VIPs the highest; network, gateway, broadcast and auxiliary addresses are nobody's, and what a stack declared as
 * static is its service's alone. A released address rests before another owner may have it; its own owner (the same slot,
 * node or service) takes it back at once.
 *
 * The keys in etcd decide (one an address, created only if absent): this is a plan's view of them.
 */
import { addressToNumber, familyOf, numberToAddress, parseSubnet, subnetHas, type Family } from '#base/ip.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Lease, Network } from '#model/network.js';
import { isChildDriver, siteAddresses } from './child-drivers.js';
import type { ClusterState } from './cluster-state.js';
import { describeHolder } from './holders.js';
import { givable, keptAddresses, showSubnets, subnetsOf } from './network-subnets.js';
import type { Compare, Write } from './transaction.js';

/** How long a released address rests, in milliseconds: neighbours' caches and connection tracking forget it meanwhile. */
export const REST_MS = 30_000;

/** The low half of an IPv6 address repeats the owner's IPv4 one where the subnet has room for it. */
const EMBED_PREFIX = 96;

export interface Grant {
  ipv4: string;
  ipv6?: string;
  compares: Compare[];
  writes: Write[];
}

/** Static addresses. */
export interface Wanted {
  ipv4?: string;
  ipv6?: string;
}

interface Range {
  first: bigint;
  last: bigint;
  /** Nothing below is free for tasks, nothing above for nodes and VIPs. Only good within one plan, where nothing gets free. */
  low: bigint;
  high: bigint;
}

export class AddressBook {
  readonly #state: ClusterState;
  readonly #network: Network;
  readonly #leases: Map<string, Lease>;
  readonly #now: number;
  readonly #declared: ReadonlyMap<string, string>;
  readonly #kept: ReadonlyMap<string, string>;
  readonly #ranges: Record<Family, Range[]>;

  /** @param declared static addresses of the network → `stack/service` that declared it */
  constructor(state: ClusterState, network: Network, now: number, declared: ReadonlyMap<string, string> = new Map()) {
    this.#state = state;
    this.#network = network;
    this.#leases = new Map(state.leases.get(network.id));
    this.#now = now;
    this.#declared = declared;
    this.#kept = isChildDriver(network) ? new Map([...keptAddresses(network), ...siteAddresses(state)]) : keptAddresses(network);
    const ranges = subnetsOf(network).map((s) => ({ family: familyOf(s.subnet), ...givable(s) }));
    const of = (family: Family) =>
      ranges.filter((r) => r.family === family).map(({ first, last }) => ({ first, last, low: first, high: last }));
    this.#ranges = { 4: of(4), 6: of(6) };
  }

  /** Says that a task's address will be free for its slot in this plan. */
  release(address: string, owner: string): void {
    this.#leases.set(address, { kind: 'task', owner, restsUntil: Infinity });
  }

  /**
   * An IPv4 address and, on a network with both families, an IPv6 one.
   * @param restOwner who may have a resting address at once: `stack/service/slot`, a node id, `stack/service`
   * @returns why there is none, naming the network and who holds what was wanted
   */
  take(kind: Lease['kind'], owner: string, restOwner: string, wanted: Wanted = {}): Grant | string {
    const service = kind === 'task' ? restOwner.slice(0, restOwner.lastIndexOf('/')) : '';
    const ipv4 = this.#choose(4, kind, restOwner, wanted.ipv4, service);
    if (ipv4.address === undefined) return ipv4.why;
    const grant: Grant = { ipv4: ipv4.address, compares: [], writes: [] };
    if (this.#network.ipv6) {
      const ipv6 = this.#choose(6, kind, restOwner, wanted.ipv6, service, ipv4.address);
      if (ipv6.address === undefined) return ipv6.why;
      grant.ipv6 = ipv6.address;
      this.#lease(grant, ipv6.address, { kind, owner });
    } else if (wanted.ipv6 !== undefined) return `network ${this.#network.name} has no IPv6 subnet, and ${wanted.ipv6} is asked for`;
    this.#lease(grant, ipv4.address, { kind, owner });
    return grant;
  }

  /** The IPv6 address beside the IPv4 one that a node or a service has already: its network became dual stack. */
  complete(kind: Lease['kind'], owner: string, ipv4: string): Grant | string {
    const ipv6 = this.#choose(6, kind, owner, undefined, '', ipv4);
    if (ipv6.address === undefined) return ipv6.why;
    const grant: Grant = { ipv4, ipv6: ipv6.address, compares: [], writes: [] };
    this.#lease(grant, ipv6.address, { kind, owner });
    return grant;
  }

  #lease(grant: Grant, address: string, lease: Lease): void {
    this.#leases.set(address, lease);
    const key = keys.lease(this.#network.id, address);
    grant.compares.push({ key, modRevision: this.#state.revisionOf(key) });
    grant.writes.push({ put: key, value: encode(lease) });
  }

  #choose(
    family: Family,
    kind: Lease['kind'],
    restOwner: string,
    wanted: string | undefined,
    service: string,
    ipv4?: string,
  ): { address: string } | { address: undefined; why: string } {
    const { name } = this.#network;
    if (wanted !== undefined) {
      const why = this.#whyNot(wanted, kind, restOwner, service);
      return why === undefined ? { address: wanted } : { address: undefined, why: `network ${name}: ${wanted} cannot be given, ${why}` };
    }
    const address =
      this.#ownResting(family, kind, restOwner) ??
      (ipv4 === undefined ? undefined : this.#embedded(ipv4)) ??
      (kind === 'task' ? this.#lowest(family) : this.#highest(family));
    if (address !== undefined) return { address };
    return {
      address: undefined,
      why: `network ${name} (${showSubnets(this.#network, family)}) has no free address; ${this.#usage(family)}`,
    };
  }

  /** Who has them all: `11 held by tasks, 3 by nodes, 1 by services; 2 rest`. */
  #usage(family: Family): string {
    const count = { task: 0, node: 0, vip: 0, resting: 0 };
    for (const [address, lease] of this.#leases)
      if (familyOf(address) === family) count[lease.restsUntil === undefined ? lease.kind : 'resting']++;
    return `${count.task} are held by tasks, ${count.node} by nodes, ${count.vip} by services, ${count.resting} rest`;
  }

  /** Why a static address cannot be had; undefined when it can. */
  #whyNot(address: string, kind: Lease['kind'], restOwner: string, service: string): string | undefined {
    const home = subnetsOf(this.#network).find((s) => subnetHas(parseSubnet(s.subnet), address));
    if (!home) return `it is in none of its subnets (${showSubnets(this.#network, familyOf(address))})`;
    const kept = this.#kept.get(address);
    if (kept !== undefined) return `it is ${kept}`;
    const declared = this.#declared.get(address);
    if (declared !== undefined && declared !== service) return `service ${declared} declares it as its own`;
    const lease = this.#leases.get(address);
    if (!lease) return undefined;
    if (lease.restsUntil === undefined) return `${describeHolder(this.#state, lease)} holds it`;
    // Its own virtual address is reached by no neighbour's cache: nodes translate it.
    const own = (lease.kind === kind && lease.owner === restOwner) || (lease.kind === 'vip' && lease.owner === service);
    return own || lease.restsUntil <= this.#now ? undefined : `it rests since ${lease.owner} released it`;
  }

  #ownResting(family: Family, kind: Lease['kind'], restOwner: string): string | undefined {
    for (const [address, lease] of this.#leases) {
      if (lease.restsUntil === undefined || lease.kind !== kind || lease.owner !== restOwner || familyOf(address) !== family) continue;
      if (this.#givable(family, addressToNumber(address), address)) return address;
    }
    return undefined;
  }

  /** The IPv6 address whose last four bytes are the IPv4 one: people recognise it. */
  #embedded(ipv4: string): string | undefined {
    const subnet = parseSubnet(this.#network.ipv6?.subnet ?? '::/128');
    if (subnet.prefix > EMBED_PREFIX) return undefined;
    const n = subnet.first + addressToNumber(ipv4);
    return this.#free(6, n) ? numberToAddress(6, n) : undefined;
  }

  /** Whether anybody may be given it at all. */
  #givable(family: Family, n: bigint, address: string): boolean {
    return this.#ranges[family].some((r) => n >= r.first && n <= r.last) && !this.#kept.has(address) && !this.#declared.has(address);
  }

  #free(family: Family, n: bigint): boolean {
    const address = numberToAddress(family, n);
    if (!this.#givable(family, n, address)) return false;
    const lease = this.#leases.get(address);
    return !lease || (lease.restsUntil !== undefined && lease.restsUntil <= this.#now);
  }

  #lowest(family: Family): string | undefined {
    for (const range of this.#ranges[family]) {
      while (range.low <= range.last && !this.#free(family, range.low)) range.low++;
      if (range.low <= range.last) return numberToAddress(family, range.low);
    }
    return undefined;
  }

  #highest(family: Family): string | undefined {
    for (const range of this.#ranges[family]) {
      while (range.high >= range.first && !this.#free(family, range.high)) range.high--;
      if (range.high >= range.first) return numberToAddress(family, range.high);
    }
    return undefined;
  }
}

/** The lease of an address that nobody has any more, for now. */
export const restingLease = (networkId: string, address: string, kind: Lease['kind'], owner: string, now: number): Write => ({
  put: keys.lease(networkId, address),
  value: encode({ kind, owner, restsUntil: now + REST_MS }),
});

/** The addresses of an endpoint, a node or a VIP: one, or one of each family. */
export const addressesOf = (item: { ipv4: string; ipv6?: string }): string[] => [
  item.ipv4,
  ...(item.ipv6 === undefined ? [] : [item.ipv6]),
];
