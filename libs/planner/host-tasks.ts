/** Tasks in the network of their node (`network_mode: host`), as the networks of their stack see them. */
import type { Network } from '#model/network.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';

export function hostTasksOf(state: ClusterState, network: Network): Task[] {
  const services = Object.values(state.stacks.get(network.stack)?.spec.services ?? {});
  return services.filter((s) => s.networkMode?.kind === 'host').flatMap((s) => state.tasksOfService(network.stack, s.name));
}

/** The node's underlay address; on an internal network, from where that is out of reach, the node's address on it, if it has one. */
export function hostAddress(state: ClusterState, network: Network, task: Task): string | undefined {
  if (!network.internal) return state.nodes.get(task.nodeId)?.address;
  return state.nodeAddresses.get(network.id)?.get(task.nodeId)?.ipv4;
}
