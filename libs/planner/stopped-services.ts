/**
 * Services that a command stopped. Their tasks stop as any others do, but the records stay: each holds its slot and its addresses,
 * and nothing is made in its place, whatever becomes of its node or of the controller. Started again, each slot gets a new task
 * of the same definition, with the same addresses, on the same node where that can take it.
 */
import type { Node } from '#model/node.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { nextKey, type ClusterState } from './cluster-state.js';
import { withoutOrphans } from './dead-nodes.js';
import { isLost } from './serving.js';

export const STOPPED = 'stopped by command';
export const RESTARTED = 'restarted by command';

/** What stopping adds to a plan. */
interface Endings {
  stop: { task: Task; reason: string }[];
  forget: { task: Task; reason: string }[];
}

/** Whether it ended because a command stopped its service. */
export const wasStopped = ({ desired, stopReason }: Task): boolean => desired === 'stop' && stopReason === STOPPED;

const hasEnded = (state: ClusterState, task: Task): boolean =>
  !state.nodes.has(task.nodeId) || (task.desired === 'stop' && state.statuses.get(task.id)?.state === 'stopped');

/** One step of stopping a service: after those that depend on it, where they are being stopped too. */
export function stopService(state: ClusterState, record: StackRecord, service: Service, plan: Endings): void {
  const waits = isHeldByDependents(state, record, service.name);
  for (const task of withoutOrphans(state.tasksOfService(record.spec.name, service.name))) {
    const isNext = state.slots.get(nextKey(task.stack, task.service, task.slot)) === task.id;
    if (hasEnded(state, task)) {
      // It was to take a slot over that somebody has; or nobody will ever hear of it again.
      if (isNext || !state.nodes.has(task.nodeId)) plan.forget.push({ task, reason: task.stopReason ?? 'its node was removed' });
    } else if (task.desired === 'run' && !waits) plan.stop.push({ task, reason: STOPPED });
  }
}

function isHeldByDependents(state: ClusterState, record: StackRecord, name: string): boolean {
  return Object.values(record.spec.services).some(
    (other) =>
      other.dependsOn?.[name] !== undefined &&
      record.stopped?.[other.name] !== undefined &&
      state.tasksOfService(record.spec.name, other.name).some((t) => !t.orphan && !hasEnded(state, t) && !isLost(state, t)),
  );
}

/** How long a task has from its stop signal to SIGKILL, where the command that ends it said so. */
export function graceOf(state: ClusterState, task: Task, reason: string): number | undefined {
  const record = state.stacks.get(task.stack);
  if (reason === STOPPED) return record?.stopped?.[task.service]?.graceMs;
  return reason === RESTARTED ? record?.restarts?.[task.service]?.graceMs : undefined;
}

/** The node that a task was on which a command stopped or restarted, if its successor can be there. */
export function returnsTo(before: Task | undefined, able: readonly Node[]): Node | undefined {
  if (!before || (before.stopReason !== STOPPED && before.stopReason !== RESTARTED)) return undefined;
  return able.find((node) => node.id === before.nodeId);
}

/** What a service that was stopped is doing; undefined for one that was not. */
export function stoppedReason(state: ClusterState, record: StackRecord, name: string): string | undefined {
  if (!record.stopped?.[name] || record.removing) return undefined;
  const left = withoutOrphans(state.tasksOfService(record.spec.name, name)).filter((t) => !hasEnded(state, t) && !isLost(state, t));
  return left.length === 0 ? 'stopped' : `stopping (${left.length} to go)`;
}

/** Whether nothing was said of the stack since a command restarted the service. */
export const wasOnlyRestarted = (record: StackRecord, service: string): boolean =>
  record.restarts?.[service]?.generation === record.generation;
