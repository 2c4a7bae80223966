/** Who holds an address, in words: short ones for lists, and those by which a person finds the holder. */
import type { Lease } from '#model/network.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { isDead } from './dead-nodes.js';
import { wasStopped } from './stopped-services.js';

/** Who holds a lease, as a person calls it: `task shop-web-1`, `node n2`, `service shop/web`. */
export function holderOf(state: ClusterState, lease: Lease): string {
  if (lease.kind === 'node') return `node ${state.nodes.get(lease.owner)?.name ?? lease.owner}`;
  if (lease.kind === 'vip') return `service ${lease.owner}`;
  return `task ${state.tasks.get(lease.owner)?.name ?? lease.owner}`;
}

/** The same with all that is needed to find it: `task shop-web-1 (service shop/web, node n2)`. */
export function describeHolder(state: ClusterState, lease: Lease): string {
  if (lease.kind === 'node') return `${holderOf(state, lease)} (as its own address)`;
  if (lease.kind === 'vip') return `${holderOf(state, lease)} (as its virtual address)`;
  const task = state.tasks.get(lease.owner);
  return task ? describeTask(state, task) : holderOf(state, lease);
}

export function describeTask(state: ClusterState, task: Task): string {
  const node = state.nodes.get(task.nodeId)?.name ?? task.nodeId;
  const where = wasStopped(task) ? `stopped on node ${node}` : `node ${node}${isDead(state, task.nodeId) ? ', which is down' : ''}`;
  return `task ${task.name} (service ${task.stack}/${task.service}, ${where})`;
}
