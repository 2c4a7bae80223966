/**
 * Services into tasks: what the stacks want in each slot, against the tasks there are. Says what to create, stop and
 * forget; where and with which address is placed later (place-tasks.ts).
 *
 * A task that must change is stopped first, then replaced in its slot; or, where the update starts first, gets a successor
 * beside it, in a key of its own (`…/next`), that takes the slot over once it is up. Which ones and when: rollout.ts.
 */
import { keys } from '#model/keys.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { UpdateRecord } from '#model/update.js';
import { nextKey, serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { isInTheWay } from './address-holders.js';
import { abandonedInMs, type DeadForMs } from './dead-nodes.js';
import { mayStop, unmetDependency } from './dependencies.js';
import { isDrained } from './drain.js';
import { declaredAddresses, type DeclaredAddresses } from './network-subnets.js';
import { networkIdsOf } from './networks-of.js';
import { editOf, type TaskEdit } from './edit-task.js';
import { goesAt, hadItsTask, isOneOff } from './one-offs.js';
import { REBALANCED, standingOfMove } from './moves.js';
import { replaceUnhealthyAt, UNHEALTHY } from './replace-unhealthy.js';
import { rollOut, type Slots } from './rollout.js';
import { sharedNamespace, sharesNamespace } from './shared-namespace.js';
import { slotsOf, unwantedSlot } from './service-slots.js';
import { RESTARTED, stopService, wasOnlyRestarted, wasStopped } from './stopped-services.js';
import { specHash } from './spec-hash.js';
import { isUp } from './standing-of-task.js';
import { wantedEndpoints, type WantedEndpoint } from './wanted-networks.js';

export interface SlotWish {
  stack: string;
  service: Service;
  slot: number;
  specHash: string;
  /** The networks its task is to be on, in the order of interfaces. */
  endpoints: readonly WantedEndpoint[];
  /** The stopped task that this one replaces: deleted in the same transaction. */
  replaces?: Task;
  /** The task on a dead node whose slot this one gets: it becomes an orphan of that node in the same transaction. */
  abandons?: Task;
  /** The task that goes on until the new one is up. */
  beside?: Task;
}

export interface ServicesPlan {
  create: SlotWish[];
  /** Tasks that take their slots over from those that hold them, which stop. */
  promote: { next: Task; holder: Task | undefined }[];
  /** Tasks that were to take a slot over, and whose node died. */
  abandon: Task[];
  updates: { stack: string; service: string; record: UpdateRecord | null }[];
  rollBacks: { stack: string; service: string; reason: string }[];
  /** One-offs that go from the record of their stack. */
  oneOffsDone: { stack: string; service: string }[];
  /** `stack/service` → what its tasks wait for. */
  waiting: Map<string, string>;
  /** Milliseconds since the epoch: plan again then, though nothing may have changed. */
  wakeAt?: number;
  /** The same by stack, with what `againMs` says. */
  wakes: Map<string, number>;
  stop: { task: Task; reason: string }[];
  /** Marked tasks that do not move after all. */
  stay: Task[];
  /** Tasks whose record is edited in place: their ports, links, aliases or networks changed. */
  edit: TaskEdit[];
  /** Milliseconds from now: there is more to do then, although nothing changes. */
  againMs?: number;
  /** Tasks whose record goes: they have stopped, or their node was removed. */
  forget: { task: Task; reason: string }[];
}

/** Stacks, and those that are gone and have tasks yet. @param only of these */
export function stacksOf(state: ClusterState, only?: ReadonlySet<string>): string[] {
  const names = [...state.stacks.keys()];
  for (const name of state.stacksWithTasks()) if (!state.stacks.has(name)) names.push(name);
  return only ? names.filter((name) => only.has(name)) : names;
}

/**
 * @param now milliseconds since the epoch
 * @param only of these stacks; nothing is known to have changed for the others
 * @param deadForMs of the nodes; left out, as their records say, which may be of another clock
 */
export function reconcileServices(
  state: ClusterState,
  now: number,
  only?: ReadonlySet<string>,
  deadForMs: DeadForMs = (nodeId) => now - (state.nodeStates.get(nodeId)?.since ?? now),
): ServicesPlan {
  const plan: ServicesPlan = {
    create: [],
    promote: [],
    abandon: [],
    stop: [],
    edit: [],
    stay: [],
    forget: [],
    updates: [],
    rollBacks: [],
    oneOffsDone: [],
    waiting: new Map(),
    wakes: new Map(),
  };
  const declared = declaredAddresses(state);
  const stacks = stacksOf(state, only);
  for (const name of stacks) {
    const record = state.stacks.get(name);
    if (!record || record.removing) continue;
    const networkIds = networkIdsOf(state, record.spec.name);
    const before = { wakeAt: plan.wakeAt, againMs: plan.againMs };
    [plan.wakeAt, plan.againMs] = [undefined, undefined];
    for (const service of Object.values(record.spec.services))
      reconcileService({ state, record, stack: record.spec.name, networkIds, declared, plan, now, deadForMs }, service);
    noteWake(plan, name, before, now);
  }
  for (const task of stacks.flatMap((name) => state.tasksOfStack(name))) {
    const reason = unwantedReason(state, task);
    if (reason !== undefined) endTask(state, task, reason, plan);
  }
  // One thing at a time in one record.
  const touched = new Set([...plan.stop, ...plan.edit].map(({ task }) => task.id));
  plan.stay = plan.stay.filter((task) => !touched.has(task.id));
  return plan;
}

/** When this stack has more to do, and with it the first of all. */
function noteWake(plan: ServicesPlan, stack: string, others: Pick<ServicesPlan, 'wakeAt' | 'againMs'>, now: number): void {
  const at = Math.min(plan.wakeAt ?? Infinity, now + (plan.againMs ?? Infinity));
  if (at < Infinity) plan.wakes.set(stack, at);
  plan.wakeAt = earlier(plan.wakeAt, others.wakeAt);
  plan.againMs = earlier(plan.againMs, others.againMs);
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** Why no service wants this task's slot any more. */
function unwantedReason(state: ClusterState, task: Task): string | undefined {
  if (task.orphan) return 'another task has its slot';
  const record = state.stacks.get(task.stack);
  // A stack that is there but cannot be read keeps its tasks.
  if (!record) return state.revisionOf(keys.stack(task.stack)) > 0 ? undefined : 'the stack is gone';
  if (record.removing) return isGone(state, task) || mayStop(state, record, task.service) ? 'the stack is being removed' : undefined;
  const service = record.spec.services[task.service];
  if (!service) return 'the service was removed';
  const unwanted = unwantedSlot(state, service, task);
  if (unwanted !== undefined) return unwanted;
  const holders = [slotKey, nextKey].map((key) => state.slots.get(key(task.stack, task.service, task.slot)));
  return holders.includes(task.id) ? undefined : 'another task has its slot';
}

export const isGone = (state: ClusterState, task: Task): boolean =>
  !state.nodes.has(task.nodeId) || (task.desired === 'stop' && state.statuses.get(task.id)?.state === 'stopped');

const goneReason = (state: ClusterState, task: Task): string =>
  state.nodes.has(task.nodeId) ? (task.stopReason ?? 'stopped') : 'its node was removed';

function endTask(state: ClusterState, task: Task, reason: string, plan: ServicesPlan): void {
  if (isGone(state, task)) plan.forget.push({ task, reason: goneReason(state, task) });
  else if (task.desired === 'run') plan.stop.push({ task, reason });
}

/** What the slots of one stack are reconciled with. */
interface Scope {
  state: ClusterState;
  record: StackRecord;
  stack: string;
  /** Network key → id. */
  networkIds: ReadonlyMap<string, string>;
  declared: DeclaredAddresses;
  plan: ServicesPlan;
  now: number;
  deadForMs: DeadForMs;
}

function reconcileService(scope: Scope, service: Service): void {
  const { state, record, stack, plan, now } = scope;
  if (record.stopped?.[service.name]) return stopService(state, record, service, plan);
  if (endOneOff(scope, service)) return;
  const hash = specHash(service, record.spec.services, record.restarts);
  const slots: Slots = { outdated: [], current: [], moving: 0 };
  const waits = unmetDependency(state, record, service);
  const wishes = new Map<number, SlotWish>();
  for (const slot of slotsOf(state, stack, service)) {
    const endpoints = wantedEndpoints(state, stack, service, slot, scope.networkIds);
    // A network that is not there (yet): its task could only be made wrong.
    if (typeof endpoints === 'string') {
      plan.waiting.set(serviceKey(stack, service.name), `waits: ${endpoints}`);
      continue;
    }
    const wish: SlotWish = { stack, service, slot, specHash: hash, endpoints };
    wishes.set(slot, wish);
    sortSlot(scope, wish, slots, waits);
  }
  replaceUnhealthy(state, slots.current, plan, now);
  editCurrent(scope, slots.current, wishes);
  // What it depends on comes first, also where both change.
  if (waits !== undefined && slots.outdated.length > 0) plan.waiting.set(serviceKey(stack, service.name), waits);
  const outdated = waits === undefined ? slots.outdated : slots.outdated.filter((t) => !isUp(state, t));
  const step = rollOut({ state, stack, service, target: hash, slots: { ...slots, outdated }, now });
  const reason = wasOnlyRestarted(record, service.name) ? RESTARTED : CHANGED;
  for (const task of step.stop) plan.stop.push({ task, reason: state.moves.has(task.id) && task.specHash === hash ? REBALANCED : reason });
  for (const task of step.surge) {
    const wish = wishes.get(task.slot);
    if (wish) plan.create.push({ ...wish, beside: task });
  }
  if (step.record !== undefined) plan.updates.push({ stack, service: service.name, record: step.record });
  if (step.rollBack !== undefined) plan.rollBacks.push({ stack, service: service.name, reason: step.rollBack });
  wake(plan, step.wakeAt);
}

/** Whether the one-off goes now; when it goes later, that is noted. */
function endOneOff({ state, stack, plan, now }: Scope, service: Service): boolean {
  const at = goesAt(state, stack, service);
  if (at !== undefined && at <= now) return plan.oneOffsDone.push({ stack, service: service.name }) > 0;
  wake(plan, at);
  return false;
}

/** It runs once: what becomes of it, nothing comes in its place. */
function sortOneOff({ state, plan }: Scope, holder: Task | undefined, slots: Slots): void {
  if (!holder) return;
  if (isGone(state, holder)) plan.forget.push({ task: holder, reason: goneReason(state, holder) });
  else if (holder.desired === 'run') slots.current.push(holder);
}

const CHANGED = 'the service changed';

function wake(plan: ServicesPlan, at: number | undefined): void {
  if (at !== undefined) plan.wakeAt = Math.min(plan.wakeAt ?? Infinity, at);
}

/** What is to be done about one slot whatever the update; what the update may have to do with goes into `slots`. */
function sortSlot(scope: Scope, wish: SlotWish, slots: Slots, waits: string | undefined): void {
  const { state, plan, declared } = scope;
  const { stack, service, slot, specHash: hash } = wish;
  const id = state.slots.get(slotKey(stack, service.name, slot));
  const nextId = state.slots.get(nextKey(stack, service.name, slot));
  const holder = state.tasks.get(id ?? '');
  // An unreadable task still holds its slot.
  if (id !== undefined && !holder) return;
  if (isOneOff(service) && hadItsTask(state, stack, service)) return sortOneOff(scope, holder, slots);
  // Of a service that has become global, on another node than its slot now stands for: it ends first, as unwanted.
  if (holder && unwantedSlot(state, service, holder) !== undefined) return void slots.moving++;
  if (nextId !== undefined) {
    slots.moving++;
    const next = state.tasks.get(nextId);
    if (next) sortNext(scope, wish, holder, next, slots);
    return;
  }
  if (!holder || isGone(state, holder) || isAbandoned(scope, service, holder)) {
    slots.moving++;
    if (holder && !isGone(state, holder)) plan.create.push({ ...wish, abandons: holder });
    else if (holder && (waits === undefined || !(wasStopped(holder) || isInTheWay(declared, wish.endpoints, holder))))
      plan.create.push({ ...wish, replaces: holder });
    else if (waits === undefined) plan.create.push(wish);
    else {
      plan.waiting.set(serviceKey(stack, service.name), waits);
      // What it waits for may be who waits for the address that it holds.
      if (holder && isInTheWay(declared, wish.endpoints, holder)) plan.forget.push({ task: holder, reason: goneReason(state, holder) });
    }
  } else if (holder.desired === 'stop') slots.moving++;
  else if (isInTheWay(declared, wish.endpoints, holder)) {
    plan.stop.push({ task: holder, reason: 'another service of its stack is given its address' });
    slots.moving++;
  } else if (lostItsNamespace(scope, holder, service)) {
    plan.stop.push({ task: holder, reason: 'the task whose network it shares goes' });
    slots.moving++;
  } else if (holder.specHash !== hash) slots.outdated.push(holder);
  else if (state.moves.has(holder.id)) sortMoving(scope, wish, holder, slots);
  else slots.current.push(holder);
}

/** A task that a command sends elsewhere is replaced as one that is outdated, while the move can be made. */
function sortMoving({ state, plan }: Scope, wish: SlotWish, holder: Task, slots: Slots): void {
  const move = standingOfMove(state, holder, wish);
  (move.is === 'goes' ? slots.outdated : slots.current).push(holder);
  if (move.is === 'off') return void plan.stay.push(holder);
  // Looked at again without being told: it depends on what other stacks do.
  const why = move.is === 'waits' ? ` when there is room (${move.why})` : '';
  plan.waiting.set(
    serviceKey(wish.stack, wish.service.name),
    `moves to node ${state.nodes.get(state.moves.get(holder.id) ?? '')?.name ?? ''}${why}`,
  );
}

/** Whether its slot may go to another task now; when it may later, that is when to plan again. */
function isAbandoned({ state, plan, now, deadForMs }: Scope, service: Service, task: Task): boolean {
  const inMs = abandonedInMs(state, service, task, deadForMs);
  if (inMs !== undefined && inMs > 0) wake(plan, now + inMs);
  return inMs !== undefined && inMs <= 0;
}

/** A task that starts beside the one whose slot it is to have: takes over once it is up. */
function sortNext(scope: Scope, { service, specHash: hash }: SlotWish, holder: Task | undefined, next: Task, slots: Slots): void {
  const { state, plan } = scope;
  const isAlone = !holder || isGone(state, holder) || isAbandoned(scope, service, holder);
  if (isGone(state, next)) plan.forget.push({ task: next, reason: goneReason(state, next) });
  else if (isAbandoned(scope, service, next)) plan.abandon.push(next);
  else if (next.desired === 'stop') return;
  else if (next.specHash !== hash && !isAlone) plan.stop.push({ task: next, reason: CHANGED });
  else if (isAlone || isUp(state, next)) plan.promote.push({ next, holder });
  else slots.current.push(next);
}

function editCurrent(scope: Scope, tasks: readonly Task[], wishes: ReadonlyMap<number, SlotWish>): void {
  const stopping = new Set(scope.plan.stop.map(({ task }) => task.id));
  for (const task of tasks) {
    const wish = wishes.get(task.slot);
    if (wish && !stopping.has(task.id)) edit(scope, task, wish.service, wish.endpoints);
  }
}

function replaceUnhealthy(state: ClusterState, tasks: readonly Task[], plan: ServicesPlan, now: number): void {
  for (const task of tasks) {
    const at = replaceUnhealthyAt(state, task);
    if (at === undefined || state.slots.get(slotKey(task.stack, task.service, task.slot)) !== task.id) continue;
    if (at > now) wake(plan, at);
    else plan.stop.push({ task, reason: `${UNHEALTHY}: ${state.statuses.get(task.id)?.message ?? ''}`.slice(0, 300) });
  }
}

/** Its namespace goes with the task that owns it: it follows to that one's successor. */
function lostItsNamespace({ state, stack }: Scope, task: Task, service: Service): boolean {
  if (!sharesNamespace(service) || task.shares === undefined) return false;
  const shared = sharedNamespace(state, stack, service, task.slot);
  if (typeof shared === 'string') return state.tasks.get(task.shares)?.desired !== 'run';
  return shared.ownerId !== task.shares;
}

function edit({ state, plan, now }: Scope, task: Task, service: Service, endpoints: readonly WantedEndpoint[]): void {
  const { edit, againMs } = editOf(task, service, endpoints, isDrained(state, task), now);
  const isWhole = task.endpoints.every((e) => state.networks.get(e.networkId)?.ipv6 === undefined || e.ipv6 !== undefined);
  if (edit) plan.edit.push(edit);
  else if (!isWhole) plan.edit.push({ task, service, endpoints: task.endpoints, gone: [], isChanged: false, come: [] });
  if (againMs !== undefined) plan.againMs = Math.min(plan.againMs ?? Infinity, againMs);
}
