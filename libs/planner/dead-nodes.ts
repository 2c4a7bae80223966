/**
 * Tasks of nodes that are declared dead. Their slots go to new tasks elsewhere, with new addresses; the old records stay as
 * *orphans* of the node, and hold their addresses, until the node comes back and confirms that they are gone, or is removed.
 * That a process still runs there cannot be ruled out: what only that node has (its volumes and directories) is not imitated.
 */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { goesOnForMs } from '#model/node-death.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { isGlobal } from '#model/service-mode.js';
import type { Unit } from './transaction.js';
import { isLocalMount } from './volumes.js';

export const isDead = (state: ClusterState, nodeId: string): boolean =>
  state.nodes.has(nodeId) && state.nodeStates.get(nodeId)?.state === 'down';

/** Whether its data is on its node and nowhere else: named volumes, directories of the host. */
export const isBoundToNode = ({ container }: Pick<Task, 'container'>): boolean => container.mounts.some(isLocalMount);

/** For how long a node has been dead, in milliseconds. */
export type DeadForMs = (nodeId: string) => number;

/**
 * How long until another task may have its slot, in milliseconds, not above 0 if it may now: its node is dead, it has not done its
 * work, and needs nothing that is only there. One that stops where it is cut off has the time that this takes. undefined: never, as
 * things are.
 */
export function abandonedInMs(state: ClusterState, service: Pick<Service, 'mode'>, task: Task, deadForMs: DeadForMs): number | undefined {
  if (!isDead(state, task.nodeId) || isGlobal(service) || isBoundToNode(task)) return undefined;
  if (state.statuses.get(task.id)?.state === 'complete') return undefined;
  return task.onPartition === 'stop' ? goesOnForMs(task) - deadForMs(task.nodeId) : 0;
}

/** Tasks that left a node in the lurch are told apart from those that count. */
export const withoutOrphans = (tasks: readonly Task[]): Task[] => tasks.filter((t) => !t.orphan);

/** Makes an orphan of a task; only while its node is still dead. Goes into the transaction that gives its slot to another. */
export function orphanUnit(state: ClusterState, task: Task): Pick<Unit, 'compares' | 'writes'> {
  const key = keys.task(task.id);
  const dead = keys.nodeState(task.nodeId);
  const node = state.nodes.get(task.nodeId)?.name ?? task.nodeId;
  const orphan: Task = {
    ...task,
    desired: 'stop',
    stopReason: `node ${node} was declared dead, and it was replaced`,
    drainMs: 0,
    orphan: true,
  };
  return {
    compares: [
      { key, modRevision: state.revisionOf(key) },
      { key: dead, modRevision: state.revisionOf(dead) },
      { key: keys.nodeSession(task.nodeId), exists: false },
    ],
    writes: [{ put: key, value: encode(orphan) }],
  };
}
