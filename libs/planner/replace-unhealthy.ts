/**
 * When a task that is unhealthy is replaced: the first time at once (its check has failed several times already), then ever
 * later, so that a check that can never succeed does not churn. While it waits it serves nobody, and may recover.
 */
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';

const FIRST_DELAY_MS = 10_000;
const MAX_DELAY_MS = 300_000;
/** After so long without another, the row is broken. */
const FORGET_MS = 900_000;

export const UNHEALTHY = 'unhealthy';

/** Milliseconds since the epoch; undefined: not at all. */
export function replaceUnhealthyAt(state: ClusterState, task: Task): number | undefined {
  const status = state.statuses.get(task.id);
  if (status?.state !== 'running' || status.health !== 'unhealthy' || task.restart?.condition === 'none') return undefined;
  const row = unhealthyInARow(state, task, status.at);
  return row === 0 ? status.at : status.at + Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (row - 1));
}

/** Tasks before this one, of the same make, that went because they were unhealthy. @param now milliseconds since the epoch */
export function unhealthyInARow(state: ClusterState, task: Task, now: number): number {
  const last = state.endedOf(task.stack, task.service, task.slot).at(-1);
  return last && last.specHash === task.specHash && now - last.endedAt < FORGET_MS ? last.unhealthyInARow : 0;
}
