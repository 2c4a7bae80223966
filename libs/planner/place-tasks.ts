/**
 * From wishes to records: gives each new task a node and its addresses, and writes down the transaction. Everything one
 * task needs (its record, its slot, a lease an address, its node's address on the network, its service's VIP) is one
 * unit, so that two leaders cannot give out a slot or an address twice.
 */
import { createHash } from 'node:crypto';
import { macOfIp } from '#base/address.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Endpoint, Network } from '#model/network.js';
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import { addressesOf, AddressBook, restingLease, type Grant } from './allocate.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { drainOf } from './drain.js';
import { HostPorts } from './host-ports.js';
import { declaredAddresses, type DeclaredAddresses } from './network-subnets.js';
import { networkIdsOf, type ServicesPlan, type SlotWish } from './reconcile-services.js';
import { candidates, Spread } from './schedule.js';
import type { Unit } from './transaction.js';

export interface Placing {
  units: Unit[];
  /** `stack/service` → why a task of it cannot be placed now. */
  waiting: Map<string, string>;
}

/** What one plan keeps in mind while it places task after task. */
interface Draft {
  state: ClusterState;
  now: number;
  newId: () => string;
  books: Map<string, AddressBook>;
  /** Network id → static address → service. */
  declared: DeclaredAddresses;
  spread: Spread;
  hostPorts: HostPorts;
  /** Keys of node addresses and VIPs that earlier units of this plan make. */
  made: Set<string>;
  /** The same of the unit being drafted: it may yet come to nothing. */
  pending: string[];
}

/** A label of DNS and a host name on Linux have at most 63 characters. */
const MAX_NAME = 63;

/** `<stack>-<service>-<slot>`; where that is too long for a host name, cut and told apart by a hash. */
export function taskName(stack: string, service: string, slot: number): string {
  const name = `${stack}-${service}-${slot}`;
  if (name.length <= MAX_NAME) return name;
  const tail = `-${createHash('sha256').update(name).digest('hex').slice(0, 8)}-${slot}`;
  return name.slice(0, MAX_NAME - tail.length) + tail;
}

/**
 * @param newId ids for new tasks: lower-case hex, never the same twice
 * @param now milliseconds since the epoch
 */
export function placeTasks(state: ClusterState, plan: ServicesPlan, newId: () => string, now: number): Placing {
  const draft: Draft = {
    state,
    now,
    newId,
    books: new Map(),
    declared: declaredAddresses(state),
    spread: new Spread(state),
    hostPorts: new HostPorts(state),
    made: new Set(),
    pending: [],
  };
  const placing: Placing = { units: [], waiting: new Map() };
  for (const { task, reason } of plan.stop) placing.units.push(stopUnit(state, task, reason));
  for (const task of plan.edit) placing.units.push(editUnit(state, task));
  for (const { task, reason } of plan.forget) placing.units.push(forgetUnit(draft, task, reason));
  const { ready, explanation } = candidates(state);
  for (const wish of plan.create) {
    const result = ready.length === 0 ? `no node can take it (${explanation})` : createUnit(draft, wish, ready);
    if (typeof result === 'string') {
      placing.waiting.set(serviceKey(wish.stack, wish.service.name), result);
      // The stopped task is gone all the same: its node should hear so.
      if (wish.replaces) placing.units.push(forgetUnit(draft, wish.replaces, goneReason(wish.replaces)));
    } else placing.units.push(result);
  }
  placing.units.push(...missingVips(draft));
  return placing;
}

/** Services that have tasks and no virtual address: it was `endpoint_mode: dnsrr`, or the network without IPv6, when they were made. */
function missingVips(draft: Draft): Unit[] {
  const { state } = draft;
  const units: Unit[] = [];
  for (const record of state.stacks.values()) {
    if (record.removing) continue;
    const stack = record.spec.name;
    const networkIds = networkIdsOf(state, stack);
    for (const service of Object.values(record.spec.services)) {
      for (const networkKey of Object.keys(service.networks)) {
        const network = state.networks.get(networkIds.get(networkKey) ?? '');
        const vip = state.vips.get(network?.id ?? '')?.get(serviceKey(stack, service.name));
        if (!network || (vip && isWhole(network, vip))) continue;
        if (!state.tasksOfService(stack, service.name).some((t) => t.endpoints.some((e) => e.networkId === network.id))) continue;
        const unit: Unit = { what: `give ${stack}/${service.name} a VIP`, compares: [], writes: [] };
        draft.pending = [];
        if (ensureVip(draft, network, { stack, service }, unit) !== undefined || unit.writes.length === 0) continue;
        unit.compares.push({ key: keys.network(network.id), exists: true });
        for (const key of draft.pending) draft.made.add(key);
        units.push(unit);
      }
    }
  }
  return units;
}

const goneReason = (task: Task): string => task.stopReason ?? 'its node was removed';

function stopUnit(state: ClusterState, task: Task, reason: string): Unit {
  const key = keys.task(task.id);
  const stopped: Task = { ...task, desired: 'stop', stopReason: reason, drainMs: drainOf(state, task) };
  return {
    what: `stop ${task.name}`,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ put: key, value: encode(stopped) }],
  };
}

function editUnit(state: ClusterState, task: Task): Unit {
  const key = keys.task(task.id);
  return {
    what: `edit ${task.name}`,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ put: key, value: encode(task) }],
  };
}

const slotOf = (task: Task): string => slotKey(task.stack, task.service, task.slot);

/** Deletes a task's records and leaves the recorded reason for its node. `keep` are addresses that its successor takes over. */
function departure(
  state: ClusterState,
  task: Task,
  reason: string,
  now: number,
  keep: ReadonlySet<string>,
): Pick<Unit, 'compares' | 'writes'> {
  const key = keys.task(task.id);
  const unit: Pick<Unit, 'compares' | 'writes'> = {
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ delete: key }, { delete: keys.taskStatus(task.id) }],
  };
  for (const e of task.endpoints) {
    for (const address of addressesOf(e)) {
      const leaseKey = keys.lease(e.networkId, address);
      if (keep.has(leaseKey) || state.leases.get(e.networkId)?.get(address)?.owner !== task.id) continue;
      unit.compares.push({ key: leaseKey, modRevision: state.revisionOf(leaseKey) });
      unit.writes.push(restingLease(e.networkId, address, 'task', slotOf(task), now));
    }
  }
  if (state.nodes.has(task.nodeId)) {
    unit.writes.push({
      put: keys.tombstone(task.nodeId, task.id),
      value: encode({ taskId: task.id, nodeId: task.nodeId, reason, at: now }),
    });
  }
  return unit;
}

function forgetUnit(draft: Draft, task: Task, reason: string): Unit {
  const { state } = draft;
  const unit: Unit = { what: `forget ${task.name}`, ...departure(state, task, reason, draft.now, new Set()) };
  draft.spread.add(task.nodeId, task.stack, task.service, -1);
  if (state.slots.get(slotOf(task)) === task.id) {
    const key = keys.slot(task.stack, task.service, task.slot);
    unit.compares.push({ key, modRevision: state.revisionOf(key) });
    unit.writes.push({ delete: key });
  }
  return unit;
}

function bookOf(draft: Draft, network: Network): AddressBook {
  let book = draft.books.get(network.id);
  if (!book) draft.books.set(network.id, (book = new AddressBook(draft.state, network, draft.now, draft.declared.get(network.id))));
  return book;
}

/** @returns the unit, or why there is none */
function createUnit(draft: Draft, wish: SlotWish, ready: readonly Node[]): Unit | string {
  const { state } = draft;
  const old = wish.replaces;
  if (old) {
    draft.spread.add(old.nodeId, old.stack, old.service, -1);
    for (const e of old.endpoints) {
      const network = state.networks.get(e.networkId);
      for (const address of addressesOf(e))
        if (network && state.leases.get(e.networkId)?.get(address)?.owner === old.id) bookOf(draft, network).release(address, slotOf(old));
    }
  }
  const free = draft.hostPorts.allow(ready, wish.service, old?.id);
  const node = chooseNode(draft, wish, free);
  if (!node) {
    if (old) draft.spread.add(old.nodeId, old.stack, old.service);
    return free.length === 0 ? 'every node that could take it has another task on its host port' : 'no node can take it';
  }
  const unit: Unit = {
    what: `create ${taskName(wish.stack, wish.service.name, wish.slot)} on ${node.name}`,
    compares: [{ key: keys.node(node.id), exists: true }],
    writes: [],
  };
  const id = draft.newId();
  draft.pending = [];
  const endpoints = attach(draft, wish, node, id, unit);
  if (typeof endpoints === 'string') {
    if (old) draft.spread.add(old.nodeId, old.stack, old.service);
    return endpoints;
  }
  const task = newTask(wish, node, id, endpoints, draft.now);
  const slot = keys.slot(task.stack, task.service, task.slot);
  unit.compares.push({ key: slot, modRevision: state.revisionOf(slot) });
  unit.writes.push({ put: slot, value: id }, { put: keys.task(id), value: encode(task) });
  if (old) {
    const end = departure(
      state,
      old,
      goneReason(old),
      draft.now,
      new Set(endpoints.flatMap((e) => addressesOf(e).map((a) => keys.lease(e.networkId, a)))),
    );
    unit.compares.push(...end.compares);
    unit.writes.push(...end.writes);
  }
  draft.spread.add(node.id, task.stack, task.service);
  draft.hostPorts.add(node.id, task.id, task.ports);
  for (const key of draft.pending) draft.made.add(key);
  return unit;
}

/** Volumes live on a node: a service that has one stays where its data is. */
function chooseNode(draft: Draft, wish: SlotWish, ready: readonly Node[]): Node | undefined {
  const before = wish.replaces && wish.service.container.mounts.some((m) => m.type !== 'tmpfs') ? wish.replaces.nodeId : undefined;
  return ready.find((n) => n.id === before) ?? draft.spread.choose(ready, wish.stack, wish.service.name);
}

function newTask(wish: SlotWish, node: Node, id: string, endpoints: Endpoint[], now: number): Task {
  return {
    id,
    stack: wish.stack,
    service: wish.service.name,
    slot: wish.slot,
    nodeId: node.id,
    name: taskName(wish.stack, wish.service.name, wish.slot),
    specHash: wish.specHash,
    container: wish.service.container,
    ports: wish.service.ports,
    endpoints,
    ...(wish.service.restart === undefined ? {} : { restart: wish.service.restart }),
    desired: 'run',
    createdAt: now,
  };
}

/** Addresses for the task, and where they are the first there, for its node and its service. */
function attach(draft: Draft, wish: SlotWish, node: Node, taskId: string, unit: Unit): Endpoint[] | string {
  const endpoints: Endpoint[] = [];
  for (const [networkKey, attachment] of Object.entries(wish.service.networks)) {
    const network = draft.state.networks.get(wish.networkIds.get(networkKey) ?? '');
    if (!network) return `network ${networkKey} is not there`;
    unit.compares.push({ key: keys.network(network.id), exists: true });
    const book = bookOf(draft, network);
    const address = book.take('task', taskId, slotKey(wish.stack, wish.service.name, wish.slot), attachment);
    if (typeof address === 'string') return address;
    const why = ensureNodeAddress(draft, network, node, unit) ?? ensureVip(draft, network, wish, unit);
    if (why !== undefined) return why;
    grant(unit, address);
    const { ipv4, ipv6 } = address;
    const mac = attachment.mac ?? macOfIp(ipv4);
    endpoints.push({ networkId: network.id, ipv4, ...(ipv6 === undefined ? {} : { ipv6 }), mac, aliases: attachment.aliases });
  }
  return endpoints;
}

function grant(unit: Unit, address: Grant): void {
  unit.compares.push(...address.compares);
  unit.writes.push(...address.writes);
}

/** Whether a record has an address of each family of its network. */
const isWhole = (network: Network, record: Addresses): boolean => network.ipv6 === undefined || record.ipv6 !== undefined;

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
  if (draft.made.has(key) || (current && isWhole(network, current))) {
    unit.compares.push({ key, exists: true });
    return undefined;
  }
  const book = bookOf(draft, network);
  const address = current ? book.complete(kind, owner, current.ipv4) : book.take(kind, owner, owner);
  if (typeof address === 'string') return address;
  grant(unit, address);
  const { ipv4, ipv6 } = address;
  unit.compares.push({ key, modRevision: draft.state.revisionOf(key) });
  unit.writes.push({ put: key, value: encode(record({ ipv4, ipv6 })) });
  draft.pending.push(key);
  return undefined;
}

function ensureNodeAddress(draft: Draft, network: Network, node: Node, unit: Unit): string | undefined {
  return ensureRecord(draft, unit, network, {
    key: keys.nodeAddress(network.id, node.id),
    kind: 'node',
    owner: node.id,
    current: draft.state.nodeAddresses.get(network.id)?.get(node.id),
    record: (addresses) => ({ networkId: network.id, nodeId: node.id, ...addresses }),
  });
}

function ensureVip(draft: Draft, network: Network, wish: Pick<SlotWish, 'stack' | 'service'>, unit: Unit): string | undefined {
  if (wish.service.endpointMode === 'dnsrr') return undefined;
  const owner = serviceKey(wish.stack, wish.service.name);
  return ensureRecord(draft, unit, network, {
    key: keys.vip(network.id, wish.stack, wish.service.name),
    kind: 'vip',
    owner,
    current: draft.state.vips.get(network.id)?.get(owner),
    record: (addresses) => ({ networkId: network.id, stack: wish.stack, service: wish.service.name, ...addresses }),
  });
}
