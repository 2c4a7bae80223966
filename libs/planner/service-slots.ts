/** Which slots a service has: 1 … replicas; or, for a global one, the index of every node that fits. */
import type { Node } from '#model/node.js';
import { isGlobal, isJob } from '#model/service-mode.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { slotKey, type ClusterState } from './cluster-state.js';
import { mismatchOf, sift } from './node-filters.js';
import { refusalOf, standingOf } from './schedule.js';
import { isComplete } from './standing-of-task.js';

/** Why a global service has no task on a node; undefined when it has. A paused or dead one keeps what it has. */
function absenceOn(state: ClusterState, node: Node, service: Service): string | undefined {
  if (node.availability === 'drain') return `node ${node.name} is drained`;
  const mismatch = mismatchOf(state, node, service);
  return mismatch === undefined ? undefined : `node ${node.name} does not fit: ${mismatch}`;
}

/** The task that has the slot of a node, and goes on or has done its work. */
function taskOn(state: ClusterState, stack: string, service: Service, node: Node): Task | undefined {
  const task = state.tasks.get(state.slots.get(slotKey(stack, service.name, node.index)) ?? '');
  return task?.desired === 'run' && task.nodeId === node.id ? task : undefined;
}

/** A job that has ended well on a node asks nothing more of it: its record stays, so that it is not run there again. */
const isDone = (state: ClusterState, service: Service, task: Task | undefined): boolean =>
  isJob(service) && task !== undefined && isComplete(state, task);

/** Nodes that have a task of a global service, or are to get one. */
const nodesOfGlobal = (state: ClusterState, stack: string, service: Service): Node[] =>
  [...state.nodes.values()].filter(
    (node) =>
      state.nodeStates.has(node.id) &&
      (absenceOn(state, node, service) === undefined || isDone(state, service, taskOn(state, stack, service, node))),
  );

export function slotsOf(state: ClusterState, stack: string, service: Service): number[] {
  if (isGlobal(service)) return nodesOfGlobal(state, stack, service).map((n) => n.index);
  return Array.from({ length: service.replicas }, (_, i) => i + 1);
}

/**
 * The slots that have to be filled for a service to be as it is wanted. Of a global one, nobody waits for nodes that are dead, or
 * that are paused and have no task of it: those get theirs when they are back.
 */
export function expectedSlots(state: ClusterState, stack: string, service: Service): number[] {
  if (!isGlobal(service)) return slotsOf(state, stack, service);
  const isExpected = (node: Node): boolean =>
    (standingOf(state, node.id) === 'ready' && node.availability !== 'pause') || taskOn(state, stack, service, node) !== undefined;
  return nodesOfGlobal(state, stack, service)
    .filter((node) => standingOf(state, node.id) !== 'down' && isExpected(node))
    .map((node) => node.index);
}

/** Why a global service has to be nowhere at all: `on no node (3 nodes: 1 drained, 2 not node.labels.disk == ssd)`. */
export function whyNowhere(state: ClusterState, stack: string, service: Service): string | undefined {
  if (!isGlobal(service) || expectedSlots(state, stack, service).length > 0) return undefined;
  const { explanation } = sift(state.nodes.values(), (node) => refusalOf(state, node) ?? mismatchOf(state, node, service));
  return `on no node (${explanation})`;
}

/** How many tasks a service wants. */
export const wantedTasks = (state: ClusterState, stack: string, service: Service): number =>
  isGlobal(service) ? expectedSlots(state, stack, service).length : service.replicas;

/** The node that a slot of a global service stands for. */
export const nodeOfSlot = (state: ClusterState, slot: number): Node | undefined => state.nodeOfIndex(slot);

/** Why a service does not want the slot of this task; undefined when it does. */
export function unwantedSlot(state: ClusterState, service: Service, task: Task): string | undefined {
  if (!isGlobal(service)) return task.slot > service.replicas ? `scaled down to ${service.replicas}` : undefined;
  const node = nodeOfSlot(state, task.slot);
  if (!node || node.id !== task.nodeId) return 'it is not on the node of its slot';
  return isDone(state, service, task) ? undefined : absenceOn(state, node, service);
}
