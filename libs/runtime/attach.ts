/** The main process of a container from outside: its input, the size of its terminal, and the end of its output. */
import type { Writable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import { orUndefined } from './client.js';
import type { ContainerdClient } from './client.js';
import { taskOf } from './containers.js';
import { writeFifo } from './fifo.js';
import { TasksService } from './gen/services/tasks/v1/tasks.js';
import { runtimeFailure } from './runtime-failure.js';
import type { Attachment } from './runtime.js';

const TASK_DEADLINE_MS = 30_000;

/** @throws NOT_FOUND if it was not made, or lost its task */
export async function attachContainer(client: ContainerdClient, id: string): Promise<Attachment> {
  const task = await taskOf(client, id);
  if (!task) throw new WeftError('NOT_FOUND', { what: `the container ${id} is not there`, hint: 'Look at `ctl ps`.' });
  const ids = { containerId: id, execId: '' };
  const stdin = task.stdin === '' ? undefined : inputOf(client, task.stdin, id);
  return {
    ...(stdin ? { stdin } : {}),
    resize: async (columns, rows) =>
      void (await orUndefined(client.call(TasksService.resizePty, { ...ids, width: columns, height: rows }))),
    close: () => void stdin?.destroy(),
  };
}

/** Ended, it ends the input of the process: the shim holds an end of the FIFO, too, and lets go of it then. */
function inputOf(client: ContainerdClient, path: string, containerId: string): Writable {
  const stdin = writeFifo(path, async () => {
    await orUndefined(client.call(TasksService.closeIo, { containerId, execId: '', stdin: true })).catch(() => undefined);
  });
  // Writing to a process that has ended is no failure.
  stdin.on('error', () => undefined);
  return stdin;
}

/** Deleting the runtime task makes the shim copy what is left of its output; the container and its files stay. @throws RUNTIME */
export async function settleContainer(client: ContainerdClient, containerId: string): Promise<void> {
  await orUndefined(client.call(TasksService.delete, { containerId }, { deadlineMs: TASK_DEADLINE_MS })).catch((error: unknown) => {
    throw runtimeFailure(`cannot settle the container ${containerId}`, error);
  });
}
