/** Which slots a service has: 1 … replicas; or, for a global one, the index of every node that fits. */
import type { Node } from '#model/node.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { mismatchOf } from './node-filters.js';

export const isGlobal = ({ mode }: Pick<Service, 'mode'>): boolean => mode === 'global' || mode === 'global-job';

/** Why a global service has no task on a node; undefined when it has. A paused or dead one keeps what it has. */
function absenceOn(state: ClusterState, node: Node, service: Service): string | undefined {
  if (node.availability === 'drain') return `node ${node.name} is drained`;
  const mismatch = mismatchOf(state, node, service);
  return mismatch === undefined ? undefined : `node ${node.name} does not fit: ${mismatch}`;
}

/** Nodes that have a task of a global service, or are to get one. */
export const nodesOfGlobal = (state: ClusterState, service: Service): Node[] =>
  [...state.nodes.values()].filter((node) => state.nodeStates.has(node.id) && absenceOn(state, node, service) === undefined);

export function slotsOf(state: ClusterState, service: Service): number[] {
  if (isGlobal(service)) return nodesOfGlobal(state, service).map((n) => n.index);
  return Array.from({ length: service.replicas }, (_, i) => i + 1);
}

/** How many tasks a service wants. */
export const wantedTasks = (state: ClusterState, service: Service): number =>
  isGlobal(service) ? nodesOfGlobal(state, service).length : service.replicas;

/** The node that a slot of a global service stands for. */
export const nodeOfSlot = (state: ClusterState, slot: number): Node | undefined => state.nodeOfIndex(slot);

/** Why a service does not want the slot of this task; undefined when it does. */
export function unwantedSlot(state: ClusterState, service: Service, task: Task): string | undefined {
  if (!isGlobal(service)) return task.slot > service.replicas ? `scaled down to ${service.replicas}` : undefined;
  const node = nodeOfSlot(state, task.slot);
  if (!node || node.id !== task.nodeId) return 'it is not on the node of its slot';
  return absenceOn(state, node, service);
}
