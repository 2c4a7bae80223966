/**
 * How long a task drains: told to stop, it leaves names, virtual addresses and publications at once, everywhere, and gets its
 * signal only when this time is over. Connections that were made before go on until the program ends them.
 */
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { servesIn } from './serving.js';

/** Far above the time in which all nodes hear of a change (p99 150 ms); little to wait for. */
export const DEFAULT_DRAIN_MS = 500;

/** Milliseconds; 0 for a task that nobody was sent to, and when its whole stack goes. */
export function drainOf(state: ClusterState, task: Task): number {
  const record = state.stacks.get(task.stack);
  if (!record || record.removing || task.endpoints.length === 0 || !servesIn(state, task)) return 0;
  return record.spec.services[task.service]?.drainMs ?? DEFAULT_DRAIN_MS;
}
