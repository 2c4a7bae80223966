/** What becomes of tasks that stop on partition (`x-weft: { on-partition: stop }`) where their node is cut off. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Task } from '#model/task.js';
import type { ContactState } from './contact.js';
import { mayRun } from './plan-tasks.js';
import type { TaskRunner } from './task-runner.js';

/** The grace period that the leader reckons with (libs/model node-death.ts). */
export const withOwnGrace = (task: Task): Task => ({ ...task, stopGraceMs: undefined });

/** Between its being made and its start the node may have been cut off. @throws UNAVAILABLE */
export function checkContact({ onPartition }: Task, contact: ContactState): void {
  if (onPartition === 'stop' && contact !== 'heard')
    throw new WeftError('UNAVAILABLE', 'this node is cut off, and the task is not to run on such a node');
}

/**
 * What is just being started may hold its operation up for long, with hooks: it ends as its process does.
 * @param starting tasks that an operation is under way for, and that have a container
 */
export function haltStarting(starting: readonly Task[], contact: ContactState, runner: Pick<TaskRunner, 'halt'>, log: Log): void {
  for (const task of starting) {
    if (mayRun(task, contact) || task.desired === 'stop') continue;
    runner.halt(withOwnGrace(task)).catch((error: unknown) => log.debug({ task: task.name, error: messageOf(error) }, 'nothing to halt'));
  }
}
