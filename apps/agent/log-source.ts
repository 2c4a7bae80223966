/** What the log keeper is told of a task's container. Pure. */
import type { Task } from '#model/task.js';
import type { OpenRequest } from '#logs/keeper-protocol.js';
import type { Layout } from './layout.js';

/** The pipes of a task's container: a terminal has one output, and input is there only where it shall stay open. */
export function stdioOf(task: Task, layout: Pick<Layout, 'stdio'>): { stdin?: string; stdout: string; stderr: string } {
  const { stdin, ...out } = layout.stdio(task.id);
  return task.container.stdinOpen ? { stdin, ...out } : out;
}

export function logSource(task: Task, layout: Pick<Layout, 'stdio' | 'logFile'>): OpenRequest {
  const { stderr, ...stdio } = stdioOf(task, layout);
  const { none, maxBytes, maxFiles } = task.container.logging ?? {};
  return {
    container: task.id,
    ...stdio,
    ...(task.container.tty ? {} : { stderr }),
    file: layout.logFile(task.id),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(maxFiles === undefined ? {} : { maxFiles }),
    ...(none ? { discard: true } : {}),
  };
}
