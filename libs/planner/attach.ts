/** Addresses for the endpoints of tasks, and where they are the first there, for their node and service: written into a task's unit. */
import { macOfIp } from '#base/address.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Endpoint, Network } from '#model/network.js';
import type { Node } from '#model/node.js';
import { AddressBook, type Grant } from './allocate.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import type { VolumeHomes } from './volumes.js';
import { describeTask } from './holders.js';
import type { HostPorts } from './host-ports.js';
import type { DeclaredAddresses } from './network-subnets.js';
import type { SlotWish } from './reconcile-services.js';
import type { Spread } from './schedule.js';
import type { Unit } from './transaction.js';
import { isChildDriver } from './child-drivers.js';
import { hasVips, type WantedEndpoint } from './wanted-networks.js';

/** What one plan keeps in mind while it places task after task. */
export interface Draft {
  state: ClusterState;
  now: number;
  newId: () => string;
  books: Map<string, AddressBook>;
  /** Network id → static address → service. */
  declared: DeclaredAddresses;
  spread: Spread;
  hostPorts: HostPorts;
  volumes: VolumeHomes;
  /** Keys of node addresses and VIPs that earlier units of this plan make. */
  made: Map<string, Addresses>;
  /** The same of the unit being drafted: it may yet come to nothing. */
  pending: Map<string, Addresses>;
  /** `stack/service` → why no node can take another task of it. */
  refused: Map<string, string>;
}

export function bookOf(draft: Draft, network: Network): AddressBook {
  let book = draft.books.get(network.id);
  if (!book) draft.books.set(network.id, (book = new AddressBook(draft.state, network, draft.now, draft.declared.get(network.id))));
  return book;
}

type Owner = Pick<SlotWish, 'stack' | 'service' | 'slot'>;

/** @returns the endpoints in the order of `wanted`, or why one cannot be had */
export function attach(
  draft: Draft,
  wish: Owner,
  wanted: readonly WantedEndpoint[],
  place: { node: Node; taskId: string },
  unit: Unit,
): Endpoint[] | string {
  const endpoints: Endpoint[] = [];
  for (const one of wanted) {
    const endpoint = attachOne(draft, wish, one, place, unit);
    if (typeof endpoint === 'string') return endpoint;
    endpoints.push(endpoint);
  }
  return endpoints;
}

function attachOne(
  draft: Draft,
  wish: Owner,
  { network, attachment }: WantedEndpoint,
  { node, taskId }: { node: Node; taskId: string },
  unit: Unit,
): Endpoint | string {
  unit.compares.push({ key: keys.network(network.id), exists: true });
  const holder = attachment.mac === undefined ? undefined : holderOfMac(draft.state, network, attachment.mac, wish);
  if (holder !== undefined) return `network ${network.name}: the MAC ${attachment.mac ?? ''} cannot be given, ${holder} has it`;
  const address = bookOf(draft, network).take('task', taskId, slotKey(wish.stack, wish.service.name, wish.slot), attachment);
  if (typeof address === 'string') return address;
  const why = ensureNodeAddress(draft, network, node, unit) ?? ensureVip(draft, network, wish, unit);
  if (why !== undefined) return why;
  grant(unit, address);
  const { ipv4, ipv6 } = address;
  const { aliases, gwPriority, priority } = attachment;
  return {
    networkId: network.id,
    ipv4,
    ...(ipv6 === undefined ? {} : { ipv6 }),
    mac: attachment.mac ?? macOfIp(ipv4),
    aliases,
    ...(gwPriority === undefined ? {} : { gwPriority }),
    ...(priority === undefined ? {} : { priority }),
  };
}

/** Whose interface has a MAC on a network, that is not of the same service. */
function holderOfMac(state: ClusterState, network: Network, mac: string, { stack, service }: Owner): string | undefined {
  const holder = state
    .tasksOfNetwork(network.id)
    .find(
      (t) => !(t.stack === stack && t.service === service.name) && t.endpoints.some((e) => e.networkId === network.id && e.mac === mac),
    );
  return holder && describeTask(state, holder);
}

export function grant(unit: Unit, address: Grant): void {
  unit.compares.push(...address.compares);
  unit.writes.push(...address.writes);
}

/** Whether a record has an address of each family of its network. */
export const isWhole = (network: Network, record: Addresses): boolean => network.ipv6 === undefined || record.ipv6 !== undefined;

interface Addresses {
  ipv4: string;
  ipv6?: string;
}

/** The record of a node or a service on a network, that tasks there need. */
interface Needed {
  key: string;
  kind: 'node' | 'vip';
  owner: string;
  current: Addresses | undefined;
  record: (addresses: Addresses) => unknown;
}

/** The record is there and whole, or this unit makes it so. @returns why there is no address for it */
function ensureRecord(draft: Draft, unit: Unit, network: Network, { key, kind, owner, current, record }: Needed): string | undefined {
  const whole = draft.made.get(key) ?? (current && isWhole(network, current) ? current : undefined);
  if (whole) {
    unit.compares.push({ key, exists: true });
    // Made without IPv6 meanwhile, it would be there and not be enough.
    if (whole.ipv6 !== undefined) unit.compares.push({ key: keys.lease(network.id, whole.ipv6), exists: true });
    return undefined;
  }
  const book = bookOf(draft, network);
  const address = current ? book.complete(kind, owner, current.ipv4) : book.take(kind, owner, owner);
  if (typeof address === 'string') return address;
  grant(unit, address);
  const { ipv4, ipv6 } = address;
  unit.compares.push({ key, modRevision: draft.state.revisionOf(key) });
  unit.writes.push({ put: key, value: encode(record({ ipv4, ipv6 })) });
  draft.pending.set(key, { ipv4, ...(ipv6 === undefined ? {} : { ipv6 }) });
  return undefined;
}

export function ensureNodeAddress(draft: Draft, network: Network, node: Node, unit: Unit): string | undefined {
  if (isChildDriver(network)) return undefined;
  return ensureRecord(draft, unit, network, {
    key: keys.nodeAddress(network.id, node.id),
    kind: 'node',
    owner: node.id,
    current: draft.state.nodeAddresses.get(network.id)?.get(node.id),
    record: (addresses) => ({ networkId: network.id, nodeId: node.id, ...addresses }),
  });
}

export function ensureVip(draft: Draft, network: Network, wish: Pick<SlotWish, 'stack' | 'service'>, unit: Unit): string | undefined {
  if (wish.service.endpointMode === 'dnsrr' || !hasVips(network)) return undefined;
  const owner = serviceKey(wish.stack, wish.service.name);
  return ensureRecord(draft, unit, network, {
    key: keys.vip(network.id, wish.stack, wish.service.name),
    kind: 'vip',
    owner,
    current: draft.state.vips.get(network.id)?.get(owner),
    record: (addresses) => ({ networkId: network.id, stack: wish.stack, service: wish.service.name, ...addresses }),
  });
}
