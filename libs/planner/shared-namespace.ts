/** Modes `service` and `container`: which task's namespace a slot's task lives in. Always on the same node. */
import type { Service } from '#model/stack.js';
import { namespaceOwner, type Task } from '#model/task.js';
import { slotKey, type ClusterState } from './cluster-state.js';

/** The owner of the namespace, and the task by which it was found: the same, unless that one shares, too. */
export interface SharedNamespace {
  ownerId: string;
  nodeId: string;
}

export const sharesNamespace = ({ networkMode }: Pick<Service, 'networkMode'>): boolean =>
  networkMode?.kind === 'service' || networkMode?.kind === 'container';

/** @returns why there is no such namespace now */
export function sharedNamespace(state: ClusterState, stack: string, service: Service, slot: number): SharedNamespace | string {
  const task = meant(state, stack, service, slot);
  if (typeof task === 'string') return task;
  if (task.desired === 'stop') return `it waits for the successor of ${task.name}, whose network it shares`;
  const ownerId = namespaceOwner(task);
  if (ownerId === undefined) return `${task.name} lives in the network of its node: say \`network_mode: host\` here too`;
  return { ownerId, nodeId: task.nodeId };
}

function meant(state: ClusterState, stack: string, { networkMode }: Service, slot: number): Task | string {
  if (networkMode?.kind === 'service') {
    const task = state.tasks.get(state.slots.get(slotKey(stack, networkMode.service, slot)) ?? '');
    return task ?? `it waits for slot ${slot} of ${networkMode.service}, whose network it shares`;
  }
  const name = networkMode?.kind === 'container' ? networkMode.container : '';
  for (const task of state.tasks.values()) if (task.name === name) return task;
  return `there is no container ${name}, whose network it shares`;
}
