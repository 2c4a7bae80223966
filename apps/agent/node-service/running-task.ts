/** The container of a task that a call of the node service is about. */
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { ContainerInfo } from '#runtime/runtime.js';
import { NAME_LABEL } from '../plan-tasks.js';

export interface TaskCallDeps {
  nodeName: string;
  container: (taskId: string) => ContainerInfo | undefined;
  log: Log;
}

/** @returns the id of its container. @throws NOT_FOUND unless it runs */
export function runningTask({ nodeName, container }: TaskCallDeps, taskId: string): string {
  const found = container(taskId);
  if (found?.state === 'running') return found.id;
  throw new WeftError('NOT_FOUND', {
    what: `${found?.labels[NAME_LABEL] ?? `task ${taskId.slice(0, 64)}`} does not run`,
    why: found ? 'its container is there, and its process is not' : `node ${nodeName} has no container for it`,
    hint: 'See with `ctl ps` why it does not run.',
  });
}
