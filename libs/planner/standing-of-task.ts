/** How a task does, in the few words that deciding needs. */
import { isJob } from '#model/service-mode.js';
import type { Service } from '#model/stack.js';
import { RESTARTED_BY_COMMAND, type Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { isLost, servesIn } from './serving.js';

export const isComplete = (state: ClusterState, task: Task): boolean =>
  task.desired === 'run' && state.statuses.get(task.id)?.state === 'complete';

/** As it should be: it runs and is healthy, or it ended well and its restart policy leaves it so. */
export const isUp = (state: ClusterState, task: Task): boolean => servesIn(state, task) || isComplete(state, task);

/** As its service wants it. */
export const isSatisfied = (state: ClusterState, service: Pick<Service, 'mode'>, task: Task): boolean =>
  isJob(service) ? isComplete(state, task) : isUp(state, task);

/** Something went wrong with it: it ended, could not be made, or is unhealthy. That somebody has it started again says nothing of it. */
export function isFailing(state: ClusterState, task: Task): boolean {
  const status = state.statuses.get(task.id);
  if (!status || isLost(state, task)) return false;
  if (status.state === 'restarting' && status.message !== RESTARTED_BY_COMMAND) return true;
  return status.state === 'failed' || status.restarts > (status.restartsAsked ?? 0) || status.health === 'unhealthy';
}
