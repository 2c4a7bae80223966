/** The whole tick of the services loop as one pure function, and what a waiting service waits for. */
import type { StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { isBoundToNode, withoutOrphans, type DeadForMs } from './dead-nodes.js';
import { hasEnded, isOneOff } from './one-offs.js';
import { placeTasks, type Placing } from './place-tasks.js';
import { reconcileServices } from './reconcile-services.js';
import { standingOf } from './schedule.js';
import { wantedTasks, whyNowhere } from './service-slots.js';
import { isSatisfied } from './standing-of-task.js';
import { stoppedReason } from './stopped-services.js';
import { localVolumesOf } from './volumes.js';

/**
 * What the services loop would write now. Applied, it changes nothing when computed again.
 * @param only for these stacks
 * @param deadForMs of the nodes; left out, as their records say
 */
export const planServices = (
  state: ClusterState,
  newId: () => string,
  now: number,
  only?: ReadonlySet<string>,
  deadForMs?: DeadForMs,
): Placing => placeTasks(state, reconcileServices(state, now, only, deadForMs), newId, now, only);

/** `stack/service` → why its tasks cannot be placed; any replica of the controller can tell. @param stack of this one only */
export function placementTroubles(state: ClusterState, now: number, stack?: string): Map<string, string> {
  let n = 0;
  const only = stack === undefined ? undefined : new Set([stack]);
  return planServices(state, () => (n++).toString(16).padStart(32, '0'), now, only).waiting;
}

const STATE_WORDS: Record<string, string> = { pending: 'waiting for its node', preparing: 'being prepared', starting: 'starting' };

/**
 * Why a service has not all its tasks as it wants them, in one line; '' when it has.
 * @param troubles of placementTroubles
 */
export function waitingReason(state: ClusterState, record: StackRecord, name: string, troubles: ReadonlyMap<string, string>): string {
  const stopped = stoppedReason(state, record, name);
  if (stopped !== undefined) return stopped;
  const service = record.spec.services[name];
  const wanted = record.removing || !service ? 0 : wantedTasks(state, record.spec.name, service);
  const tasks = withoutOrphans(state.tasksOfService(record.spec.name, name));
  const good = tasks.filter((t) => isSatisfied(state, service ?? {}, t) || (service && isOneOff(service) && hasEnded(state, t)));
  const reasons = new Map<string, number>();
  const note = (reason: string) => reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const trouble = troubles.get(serviceKey(record.spec.name, name));
  if (trouble) note(trouble);
  const nowhere = record.removing || !service ? undefined : whyNowhere(state, record.spec.name, service);
  if (nowhere !== undefined) note(nowhere);
  if (good.length >= wanted && good.length === tasks.length && reasons.size === 0) return '';
  for (const task of tasks) {
    if (!good.includes(task)) note(taskReason(state, task));
  }
  return [...reasons].map(([reason, count]) => (count > 1 ? `${count} × ${reason}` : reason)).join('; ') || 'not placed yet';
}

/** What only its node has, by name where it has one. */
function dataOf(task: Task): string {
  const names = localVolumesOf(task);
  return names.length === 0 ? `the data of ${task.name}` : `volume ${names.join(', ')} of ${task.name}`;
}

/** Why nobody has taken its place yet. */
function downBecause(task: Task): string {
  if (isBoundToNode(task)) return `, and ${dataOf(task)} is there`;
  return task.onPartition === 'stop' ? `: ${task.name} has its time to stop there before it starts elsewhere` : '';
}

function taskReason(state: ClusterState, task: Task): string {
  const node = state.nodes.get(task.nodeId)?.name ?? task.nodeId;
  if (standingOf(state, task.nodeId) === 'down') return `node ${node} is down${downBecause(task)}`;
  if (task.desired === 'stop') return `stopping (${task.stopReason ?? 'told to'})`;
  const status = state.statuses.get(task.id);
  if (status?.state === 'failed' || status?.state === 'restarting') return `${task.name} on ${node}: ${status.message || status.state}`;
  if (status?.health === 'unhealthy') return `${task.name} on ${node} is unhealthy: ${status.message}`;
  if (status?.health === 'starting') return 'not healthy yet';
  if (status?.state === 'running') return 'running';
  return STATE_WORDS[status?.state ?? 'pending'] ?? 'changing';
}
