/** Waiting for the end of a process, over restarts of containerd: the shim keeps the process, and the exit code, meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { ContainerdClient } from './client.js';
import { isNotFound, statusOf } from './client.js';
import { TasksService } from './gen/services/tasks/v1/tasks.js';

const RETRY_MS = 200;

/** The exit code; undefined if there is no such process (any more), or `signal` called the wait off. @throws RUNTIME */
export async function waitForExit(
  client: ContainerdClient,
  ids: { containerId: string; execId: string },
  signal?: AbortSignal,
): Promise<number | undefined> {
  for (;;) {
    try {
      return (await client.call(TasksService.wait, ids, { deadlineMs: Infinity, signal })).exitStatus;
    } catch (error) {
      if (isNotFound(error) || signal?.aborted) return undefined;
      if (statusOf(error) !== status.UNAVAILABLE) throw error;
      await sleep(RETRY_MS);
    }
  }
}
