/**
 * From wishes to records: gives each new task a node and its addresses, and writes down the transaction. Everything one
 * task needs (its record, its slot, a lease an address, its node's address on the network, its service's VIP) is one
 * unit, so that two leaders cannot give out a slot or an address twice.
 */
import { encode } from '#model/codec.js';
import { keys, ROOT } from '#model/keys.js';
import type { Endpoint } from '#model/network.js';
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import { addressesOf, restingLease } from './allocate.js';
import { attach, bookOf, ensureNodeAddress, ensureVip, grant, isWhole, type Draft } from './attach.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { homeOf, placeFor } from './choose-node.js';
import { isDead, orphanUnit } from './dead-nodes.js';
import { drainOf } from './drain.js';
import { leaveDrained } from './drain-nodes.js';
import { HostPorts } from './host-ports.js';
import { newTask } from './new-task.js';
import type { TaskEdit } from './edit-task.js';
import { markUnit } from './moves.js';
import { nameInterfaces } from './interface-names.js';
import { declaredAddresses } from './network-subnets.js';
import { fitting } from './node-fits.js';
import { networkIdsOf } from './networks-of.js';
import { isGone, stacksOf, type ServicesPlan, type SlotWish } from './reconcile-services.js';
import { oneOffUnits } from './one-offs.js';
import { Spread } from './schedule.js';
import { sharedNamespace, sharesNamespace } from './shared-namespace.js';
import { remember } from './slot-history.js';
import { graceOf } from './stopped-services.js';
import type { Unit } from './transaction.js';
import { updateUnits } from './update-units.js';
import { taskName } from './task-name.js';
import { VolumeHomes } from './volumes.js';
import { hasVips } from './wanted-networks.js';

export interface Placing {
  units: Unit[];
  /** `stack/service` → why a task of it cannot be placed now. */
  waiting: Map<string, string>;
  /** Milliseconds from now: plan again, although nothing changed. */
  againMs?: number;
  /** The same, as milliseconds since the epoch. */
  wakeAt?: number;
  /** Stack → when there is more to do in it, milliseconds since the epoch. */
  wakes: ReadonlyMap<string, number>;
}

/**
 * @param newId ids for new tasks: lower-case hex, never the same twice
 * @param now milliseconds since the epoch
 * @param only the stacks that the plan is of; all if left out
 */
export function placeTasks(state: ClusterState, plan: ServicesPlan, newId: () => string, now: number, only?: ReadonlySet<string>): Placing {
  const draft = newDraft(state, newId, now);
  const placing: Placing = { units: [], waiting: new Map(plan.waiting), againMs: plan.againMs, wakeAt: plan.wakeAt, wakes: plan.wakes };
  placing.units.push(...updateUnits(state, plan, now), ...oneOffUnits(state, plan.oneOffsDone, now));
  for (const { next, holder } of plan.promote) placing.units.push(promoteUnit(draft, next, holder));
  for (const task of plan.abandon) placing.units.push(orphanNext(state, task));
  for (const { task, reason } of plan.stop) placing.units.push(stopUnit(state, task, reason));
  for (const task of plan.stay) placing.units.push(markUnit(state, task, undefined));
  for (const edit of plan.edit) placeEdit(draft, edit, placing);
  for (const { task, reason } of plan.forget) placing.units.push(forgetUnit(draft, task, reason));
  const made = new Set<string>();
  for (const wish of plan.create) {
    const home = homeOf(draft, wish);
    const result = createUnit(draft, wish);
    if (typeof result === 'string') {
      placing.waiting.set(serviceKey(wish.stack, wish.service.name), result);
      // The stopped task is gone all the same: its node should hear so. Where its data is must not be
      // forgotten with it; a text is made of what is on record of its volumes, and stays.
      if (wish.replaces && (home === undefined || typeof home === 'string'))
        placing.units.push(forgetUnit(draft, wish.replaces, goneReason(wish.replaces)));
    } else {
      placing.units.push(result);
      made.add(serviceKey(wish.stack, wish.service.name));
    }
  }
  for (const { task, reason } of leaveDrained(state, { ...plan, made }, only)) placing.units.push(stopUnit(state, task, reason));
  placing.units.push(...missingVips(draft, only));
  return placing;
}

export const newDraft = (state: ClusterState, newId: () => string, now: number): Draft => ({
  state,
  now,
  newId,
  books: new Map(),
  declared: declaredAddresses(state),
  spread: new Spread(state),
  hostPorts: new HostPorts(state),
  volumes: new VolumeHomes(state),
  made: new Map(),
  pending: new Map(),
  refused: new Map(),
});

/** Services that have tasks and no virtual address: it was `endpoint_mode: dnsrr`, or the network without IPv6, when they were made. */
function missingVips(draft: Draft, only: ReadonlySet<string> | undefined): Unit[] {
  const { state } = draft;
  const units: Unit[] = [];
  for (const stack of stacksOf(state, only)) {
    const record = state.stacks.get(stack);
    if (!record || record.removing) continue;
    const networkIds = networkIdsOf(state, stack);
    for (const service of Object.values(record.spec.services)) {
      for (const networkKey of Object.keys(service.networks)) {
        const network = state.networks.get(networkIds.get(networkKey) ?? '');
        const vip = state.vips.get(network?.id ?? '')?.get(serviceKey(stack, service.name));
        if (!network || !hasVips(network) || (vip && isWhole(network, vip))) continue;
        if (!state.tasksOfService(stack, service.name).some((t) => t.endpoints.some((e) => e.networkId === network.id))) continue;
        const unit: Unit = { what: `give ${stack}/${service.name} a VIP`, compares: [], writes: [] };
        draft.pending = new Map();
        if (ensureVip(draft, network, { stack, service }, unit) !== undefined || unit.writes.length === 0) continue;
        unit.compares.push({ key: keys.network(network.id), exists: true });
        for (const [key, addresses] of draft.pending) draft.made.set(key, addresses);
        units.push(unit);
      }
    }
  }
  return units;
}

const goneReason = (task: Task): string => task.stopReason ?? 'its node was removed';

function stopUnit(state: ClusterState, task: Task, reason: string): Unit {
  const key = keys.task(task.id);
  const stopGraceMs = graceOf(state, task, reason);
  const drained = { desired: 'stop' as const, stopReason: reason, drainMs: drainOf(state, task) };
  const stopped: Task = { ...task, ...drained, ...(stopGraceMs === undefined ? {} : { stopGraceMs }) };
  return {
    what: `stop ${task.name}`,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ put: key, value: encode(stopped) }],
  };
}

function placeEdit(draft: Draft, edit: TaskEdit, placing: Placing): void {
  const unit = editUnit(draft, edit);
  if (typeof unit !== 'string') return void placing.units.push(unit);
  placing.waiting.set(serviceKey(edit.task.stack, edit.task.service), unit);
  // What could not come is no reason for the rest to wait.
  const rest = edit.isChanged ? editUnit(draft, { ...edit, come: [] }) : unit;
  if (typeof rest !== 'string') placing.units.push(rest);
}

/** The new record, and the leases of the endpoints that come and of those that have gone. */
function editUnit(draft: Draft, edit: TaskEdit): Unit | string {
  const { state } = draft;
  const { task, service, gone, come } = edit;
  const node = state.nodes.get(task.nodeId);
  if (!node) return 'its node was removed';
  const key = keys.task(task.id);
  const unit: Unit = { what: `edit ${task.name}`, compares: [{ key, modRevision: state.revisionOf(key) }], writes: [] };
  draft.pending = new Map();
  const lacking = fitting(state, [node], come);
  if (typeof lacking === 'string') return lacking;
  const staying = edit.endpoints.map((e) => complete(draft, { task, node }, e, unit));
  if (!edit.isChanged && come.length === 0 && unit.writes.length === 0) return `network of ${task.name} has no IPv6 address left`;
  const made = attach(draft, { ...task, service }, come, { node, taskId: task.id }, unit);
  if (typeof made === 'string') return made;
  const named = nameInterfaces(
    made.map((endpoint, i) => ({ endpoint, wanted: come[i]?.attachment.interfaceName })),
    staying.map((e) => e.interfaceName),
  );
  for (const e of gone) releaseEndpoint(draft, task, e, unit);
  const next: Task = { ...task, ports: service.ports, links: service.links, endpoints: [...staying, ...named] };
  unit.writes.push({ put: key, value: encode(next) });
  for (const [key, addresses] of draft.pending) draft.made.set(key, addresses);
  return unit;
}

/** With an address of the family that its network got since. Where there is none to give, the endpoint stays as it is. */
function complete(draft: Draft, { task, node }: { task: Task; node: Node }, e: Endpoint, unit: Unit): Endpoint {
  const network = draft.state.networks.get(e.networkId);
  if (!network || e.leavingSince !== undefined || isWhole(network, e)) return e;
  const address = bookOf(draft, network).complete('task', task.id, e.ipv4);
  if (typeof address === 'string' || ensureNodeAddress(draft, network, node, unit) !== undefined) return e;
  grant(unit, address);
  return { ...e, ipv6: address.ipv6 };
}

function releaseEndpoint({ state, now }: Draft, task: Task, e: Endpoint, unit: Unit): void {
  for (const address of addressesOf(e)) {
    const leaseKey = keys.lease(e.networkId, address);
    if (state.leases.get(e.networkId)?.get(address)?.owner !== task.id) continue;
    unit.compares.push({ key: leaseKey, modRevision: state.revisionOf(leaseKey) });
    unit.writes.push(restingLease(e.networkId, address, 'task', slotOf(task), now));
  }
}

/** The task that was started beside it gets its slot; it stops. */
function promoteUnit(draft: Draft, next: Task, holder: Task | undefined): Unit {
  const { state } = draft;
  const slot = keys.slot(next.stack, next.service, next.slot);
  const beside = keys.slotNext(next.stack, next.service, next.slot);
  const unit: Unit = {
    what: `${next.name} takes over`,
    compares: [
      { key: slot, modRevision: state.revisionOf(slot) },
      { key: beside, modRevision: state.revisionOf(beside) },
      { key: keys.task(next.id), exists: true },
    ],
    writes: [{ put: slot, value: next.id }, { delete: beside }],
  };
  if (!holder) return unit;
  const end = endOfHolder(draft, holder);
  unit.compares.push(...end.compares);
  unit.writes.push(...end.writes);
  return unit;
}

function endOfHolder({ state, now }: Draft, holder: Task): Pick<Unit, 'compares' | 'writes'> {
  if (isGone(state, holder)) return departure(state, holder, goneReason(holder), now, new Set());
  if (isDead(state, holder.nodeId)) return orphanUnit(state, holder);
  return holder.desired === 'run' ? stopUnit(state, holder, 'replaced by a new one that is up') : { compares: [], writes: [] };
}

/** It was to take a slot over, and its node died. */
function orphanNext(state: ClusterState, task: Task): Unit {
  const key = keys.slotNext(task.stack, task.service, task.slot);
  const { compares, writes } = orphanUnit(state, task);
  return {
    what: `give ${task.name} up`,
    compares: [...compares, { key, modRevision: state.revisionOf(key) }],
    writes: [...writes, { delete: key }],
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
    writes: [{ delete: key }, { delete: keys.taskStatus(task.id) }, ...remember(state, task, reason, now)],
  };
  if (state.moves.has(task.id)) unit.writes.push({ delete: keys.move(task.id) });
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

const SLOTS = `${ROOT}slots/`;

function forgetUnit(draft: Draft, task: Task, reason: string): Unit {
  const { state } = draft;
  const unit: Unit = { what: `forget ${task.name}`, ...departure(state, task, reason, draft.now, new Set()) };
  leaveNode(draft, task);
  for (const key of [keys.slot, keys.slotNext].map((keyOf) => keyOf(task.stack, task.service, task.slot))) {
    if (state.slots.get(key.slice(SLOTS.length)) !== task.id) continue;
    unit.compares.push({ key, modRevision: state.revisionOf(key) });
    unit.writes.push({ delete: key });
  }
  return unit;
}

/** Counts a task as gone from its node; with `sign` 1, as there. */
function leaveNode({ spread }: Draft, task: Task, sign: 1 | -1 = -1): void {
  spread.add(task.nodeId, task.stack, task.service, sign);
  spread.reserve(task.nodeId, task.reservations, sign);
}

/** @returns the unit, or why there is none */
function createUnit(draft: Draft, wish: SlotWish): Unit | string {
  const { state } = draft;
  const old = wish.replaces;
  if (old) {
    leaveNode(draft, old);
    for (const e of old.endpoints) {
      const network = state.networks.get(e.networkId);
      for (const address of addressesOf(e))
        if (network && state.leases.get(e.networkId)?.get(address)?.owner === old.id) bookOf(draft, network).release(address, slotOf(old));
    }
  }
  const shared = sharesNamespace(wish.service) ? sharedNamespace(state, wish.stack, wish.service, wish.slot) : undefined;
  const node = typeof shared === 'string' ? shared : placeFor(draft, wish, shared);
  if (typeof node === 'string') {
    if (old) leaveNode(draft, old, 1);
    return node;
  }
  const unit: Unit = {
    what: `create ${taskName(wish.stack, wish.service, wish.slot)} on ${node.name}`,
    // Drained meanwhile, it would have to leave again.
    compares: [{ key: keys.node(node.id), modRevision: state.revisionOf(keys.node(node.id)) }],
    writes: [],
  };
  const id = draft.newId();
  draft.pending = new Map();
  const endpoints = attach(draft, wish, wish.endpoints, { node, taskId: id }, unit);
  if (typeof endpoints === 'string') {
    if (old) leaveNode(draft, old, 1);
    return endpoints;
  }
  const named = nameInterfaces(endpoints.map((endpoint, i) => ({ endpoint, wanted: wish.endpoints[i]?.attachment.interfaceName })));
  const task = newTask(wish, node, { id, endpoints: named, shares: typeof shared === 'object' ? shared.ownerId : undefined }, draft.now);
  const slot = keys.slot(task.stack, task.service, task.slot);
  const next = keys.slotNext(task.stack, task.service, task.slot);
  unit.compares.push({ key: slot, modRevision: state.revisionOf(slot) }, { key: next, modRevision: state.revisionOf(next) });
  unit.writes.push({ put: wish.beside ? next : slot, value: id }, { put: keys.task(id), value: encode(task) });
  if (wish.abandons) {
    const end = orphanUnit(state, wish.abandons);
    unit.compares.push(...end.compares);
    unit.writes.push(...end.writes);
  }
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
  draft.volumes.claim(task, wish.service, state.stacks.get(wish.stack), draft.now, unit);
  leaveNode(draft, task, 1);
  draft.hostPorts.add(node.id, task.id, task.ports);
  for (const [key, addresses] of draft.pending) draft.made.set(key, addresses);
  return unit;
}
