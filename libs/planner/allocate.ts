/**
 * Addresses of one network, as one plan hands them out. Tasks get the lowest free address, nodes and VIPs the highest;
 * the network, gateway and broadcast addresses are nobody's. A released address rests before another owner may have it;
 * its own owner (the same slot, node or service) takes it back at once.
 *
 * The keys in etcd decide (one an address, created only if absent): this is a plan's view of them.
 */
import { cidrLast, ipToNumber, numberToIp, parseCidr } from '#base/address.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Lease, Network } from '#model/network.js';
import type { ClusterState } from './cluster-state.js';
import type { Compare, Write } from './transaction.js';

/** How long a released address rests, in milliseconds: neighbours' caches and connection tracking forget it meanwhile. */
export const REST_MS = 30_000;

export interface Grant {
  ipv4: string;
  compare: Compare;
  write: Write;
}

export class AddressBook {
  readonly #network: Network;
  readonly #leases: Map<string, Lease>;
  readonly #now: number;
  readonly #revisionOf: (key: string) => number;
  /** Addresses below have no free one for tasks; addresses above none for nodes and VIPs. Only good within one plan, where nothing gets free. */
  #low: number;
  #high: number;

  constructor(state: ClusterState, network: Network, now: number) {
    this.#network = network;
    this.#leases = new Map(state.leases.get(network.id));
    this.#now = now;
    this.#revisionOf = state.revisionOf;
    const subnet = parseCidr(network.subnet);
    this.#low = subnet.base + 1;
    this.#high = cidrLast(subnet) - 1;
  }

  /** Says that a task's address will be free for its slot in this plan. */
  release(ipv4: string, owner: string): void {
    this.#leases.set(ipv4, { kind: 'task', owner, restsUntil: Infinity });
  }

  /**
   * @param restOwner who may have a resting address at once: `stack/service/slot`, a node id, `stack/service`
   * @returns undefined when the network has no free address
   */
  take(kind: Lease['kind'], owner: string, restOwner: string): Grant | undefined {
    const ipv4 = this.#ownResting(kind, restOwner) ?? (kind === 'task' ? this.#lowest() : this.#highest());
    if (ipv4 === undefined) return undefined;
    this.#leases.set(ipv4, { kind, owner });
    const key = keys.lease(this.#network.id, ipv4);
    return { ipv4, compare: { key, modRevision: this.#revisionOf(key) }, write: { put: key, value: encode({ kind, owner }) } };
  }

  #ownResting(kind: Lease['kind'], restOwner: string): string | undefined {
    for (const [ipv4, lease] of this.#leases) {
      if (lease.restsUntil !== undefined && lease.kind === kind && lease.owner === restOwner) return ipv4;
    }
    return undefined;
  }

  #free(n: number): boolean {
    const ipv4 = numberToIp(n);
    if (ipv4 === this.#network.gateway) return false;
    const lease = this.#leases.get(ipv4);
    return !lease || (lease.restsUntil !== undefined && lease.restsUntil <= this.#now);
  }

  #lowest(): string | undefined {
    while (this.#low <= this.#high && !this.#free(this.#low)) this.#low++;
    return this.#low <= this.#high ? numberToIp(this.#low) : undefined;
  }

  #highest(): string | undefined {
    while (this.#high >= this.#low && !this.#free(this.#high)) this.#high--;
    return this.#high >= this.#low ? numberToIp(this.#high) : undefined;
  }
}

/** Addresses that owners can have: all but network, gateway and broadcast. */
export const usableAddresses = (subnet: string): number => {
  const cidr = parseCidr(subnet);
  return Math.max(0, cidrLast(cidr) - cidr.base + 1 - 3);
};

/** The gateway of a subnet: its first address. */
export const gatewayOf = (subnet: string): string => numberToIp(parseCidr(subnet).base + 1);

/** The lease of an address that nobody has any more, for now. */
export const restingLease = (networkId: string, ipv4: string, kind: Lease['kind'], owner: string, now: number): Write => ({
  put: keys.lease(networkId, ipv4),
  value: encode({ kind, owner, restsUntil: now + REST_MS }),
});

export const compareIps = (a: string, b: string): number => ipToNumber(a) - ipToNumber(b);
