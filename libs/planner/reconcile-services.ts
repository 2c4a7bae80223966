/**
 * Services into tasks: what the stacks want in each slot, against the tasks there are. Says what to create, stop and
 * forget; where and with which address is placed later (place-tasks.ts).
 *
 * A task that must change is stopped first, then replaced in its slot, one running slot of a service at a time. A slot
 * that has a task, whatever its state, never gets a second one.
 */
import { keys } from '#model/keys.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { addressesOf } from './allocate.js';
import { isAbandoned } from './dead-nodes.js';
import { leaveDrained } from './drain-nodes.js';
import { declaredAddresses, type DeclaredAddresses } from './network-subnets.js';
import { editOf, type TaskEdit } from './edit-task.js';
import { sharedNamespace, sharesNamespace } from './shared-namespace.js';
import { specHash } from './spec-hash.js';
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
}

export interface ServicesPlan {
  create: SlotWish[];
  stop: { task: Task; reason: string }[];
  /** Tasks whose record is edited in place: their ports, links, aliases or networks changed. */
  edit: TaskEdit[];
  /** Milliseconds from now: there is more to do then, although nothing changes. */
  againMs?: number;
  /** Tasks whose record goes: they have stopped, or their node was removed. */
  forget: { task: Task; reason: string }[];
}

/** Ids of the networks a stack's services speak of by key; undefined while one of them is not there. */
export function networkIdsOf(state: ClusterState, stackName: string): Map<string, string> {
  const ids = new Map<string, string>();
  for (const [key, wish] of Object.entries(state.stacks.get(stackName)?.spec.networks ?? {})) {
    const id = state.networkNames.get(wish.name);
    const network = state.networks.get(id ?? '');
    if (network && (wish.external || network.stack === stackName)) ids.set(key, network.id);
  }
  return ids;
}

/** @param now milliseconds since the epoch */
export function reconcileServices(state: ClusterState, now: number): ServicesPlan {
  const plan: ServicesPlan = { create: [], stop: [], edit: [], forget: [] };
  const declared = declaredAddresses(state);
  for (const record of state.stacks.values()) {
    if (record.removing) continue;
    const networkIds = networkIdsOf(state, record.spec.name);
    for (const service of Object.values(record.spec.services))
      reconcileService({ state, stack: record.spec.name, networkIds, declared, plan, now }, service);
  }
  for (const task of state.tasks.values()) {
    const reason = unwantedReason(state, task);
    if (reason !== undefined) endTask(state, task, reason, plan);
  }
  leaveDrained(state, plan);
  return plan;
}

/** Why no service wants this task's slot any more. */
function unwantedReason(state: ClusterState, task: Task): string | undefined {
  if (task.orphan) return 'another task has its slot';
  const record = state.stacks.get(task.stack);
  // A stack that is there but cannot be read keeps its tasks.
  if (!record) return state.revisionOf(keys.stack(task.stack)) > 0 ? undefined : 'the stack is gone';
  if (record.removing) return 'the stack is being removed';
  const service = record.spec.services[task.service];
  if (!service) return 'the service was removed';
  if (task.slot > service.replicas) return `scaled down to ${service.replicas}`;
  return undefined;
}

const isGone = (state: ClusterState, task: Task): boolean =>
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
  stack: string;
  /** Network key → id. */
  networkIds: ReadonlyMap<string, string>;
  declared: DeclaredAddresses;
  plan: ServicesPlan;
  now: number;
}

function reconcileService(scope: Scope, service: Service): void {
  const { state, stack, plan } = scope;
  const hash = specHash(service);
  const outdated: Task[] = [];
  let settled = true;
  for (let slot = 1; slot <= service.replicas; slot++) {
    const endpoints = wantedEndpoints(state, stack, service, slot, scope.networkIds);
    // A network that is not there (yet): its task could only be made wrong.
    if (typeof endpoints === 'string') continue;
    const wish: SlotWish = { stack, service, slot, specHash: hash, endpoints };
    const id = state.slots.get(slotKey(stack, service.name, slot));
    if (id === undefined) {
      plan.create.push(wish);
      settled = false;
      continue;
    }
    const task = state.tasks.get(id);
    // An unreadable task still holds its slot.
    if (!task) continue;
    if (isGone(state, task)) {
      plan.create.push({ ...wish, replaces: task });
      settled = false;
    } else if (isAbandoned(state, service, task)) {
      plan.create.push({ ...wish, abandons: task });
      settled = false;
    } else if (task.desired === 'stop') settled = false;
    else if (lostItsNamespace(scope, task, service)) {
      plan.stop.push({ task, reason: 'the task whose network it shares goes' });
      settled = false;
    } else if (task.specHash !== hash || trespasses(task, scope.declared)) outdated.push(task);
    else {
      edit(scope, task, service, endpoints);
      if (state.statuses.get(task.id)?.state !== 'running') settled = false;
    }
  }
  for (const task of pickOutdated(state, outdated, settled)) plan.stop.push({ task, reason: 'the service changed' });
}

/** Its namespace goes with the task that owns it: it follows to that one's successor. */
function lostItsNamespace({ state, stack }: Scope, task: Task, service: Service): boolean {
  if (!sharesNamespace(service) || task.shares === undefined) return false;
  const shared = sharedNamespace(state, stack, service, task.slot);
  if (typeof shared === 'string') return state.tasks.get(task.shares)?.desired !== 'run';
  return shared.ownerId !== task.shares;
}

function edit({ state, plan, now }: Scope, task: Task, service: Service, endpoints: readonly WantedEndpoint[]): void {
  const { edit, againMs } = editOf(task, service, endpoints, now);
  const isWhole = task.endpoints.every((e) => state.networks.get(e.networkId)?.ipv6 === undefined || e.ipv6 !== undefined);
  if (edit) plan.edit.push(edit);
  else if (!isWhole) plan.edit.push({ task, service, endpoints: task.endpoints, gone: [], isChanged: false, come: [] });
  if (againMs !== undefined) plan.againMs = Math.min(plan.againMs ?? Infinity, againMs);
}

/** Whether it got an address by chance that another service declared as its own since: it moves to another. */
const trespasses = (task: Task, declared: DeclaredAddresses): boolean =>
  task.endpoints.some((e) =>
    addressesOf(e).some((address) => {
      const owner = declared.get(e.networkId)?.get(address);
      return owner !== undefined && owner !== serviceKey(task.stack, task.service);
    }),
  );

/** Tasks that do not run can be replaced at once; of those that run, one, and only when every other slot is as it should be. */
function pickOutdated(state: ClusterState, outdated: readonly Task[], settled: boolean): Task[] {
  const runs = (t: Task) => state.statuses.get(t.id)?.state === 'running';
  const broken = outdated.filter((t) => !runs(t));
  if (broken.length > 0 || !settled) return broken;
  return outdated.slice(0, 1);
}
