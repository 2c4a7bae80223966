/** The restart call of the node service: tasks that are started again in the containers they have. */
import { WeftError } from '#base/errors.js';
import type { RestartTasksRequest, RestartTasksResponse } from '#rpc/gen/weft/v1/operations.js';
import type { RestartAsked } from '../plan-tasks.js';
import { runningTask, type TaskCallDeps } from './running-task.js';

export interface RestartCallDeps extends TaskCallDeps {
  /** Resolves once it will come about. @throws CONFLICT */
  restart: (taskId: string, asked: RestartAsked) => Promise<void>;
  /** undefined for a task this node does not know. */
  taskName: (taskId: string) => string | undefined;
}

/** @throws NOT_FOUND if one of them does not run, before any is restarted; CONFLICT, BAD_VALUE */
export async function restartTasks(deps: RestartCallDeps, { tasks, graceMs, drainMs }: RestartTasksRequest): Promise<RestartTasksResponse> {
  const times = [...(graceMs === undefined ? [] : [graceMs]), ...Object.values(drainMs)];
  if (times.some((ms) => !Number.isSafeInteger(ms) || ms < 0)) throw new WeftError('BAD_VALUE', 'a time is not negative');
  const ids = tasks.map((task) => runningTask(deps, task));
  for (const id of ids) {
    await deps.restart(id, { drainMs: drainMs[id] ?? 0, ...(graceMs === undefined ? {} : { graceMs }) });
    deps.log.info({ task: deps.taskName(id) ?? id }, 'a restart was asked for');
  }
  return { tasks: ids.map((id) => deps.taskName(id) ?? id) };
}
