/** Lines of ours in a container's log: written into the pipe that the log keeper reads, as the container's own are. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Task } from '#model/task.js';
import type { Layout } from './layout.js';

/** What is written at once and is no longer than this comes whole, whoever else writes (pipe(7), PIPE_BUF). */
const PIPE_BUF_BYTES = 4096;

/**
 * Never waits and never throws: a pipe that nobody reads, or that is full, takes nothing more. Into standard error where the
 * container has one: standard output may be somebody's data.
 * @param mark stands before each line, in brackets
 */
export function sayInLog(layout: Pick<Layout, 'stdio'>, log: Log, task: Task, mark: string, text: string): void {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return;
  const { stdout, stderr } = layout.stdio(task.id);
  let pipe: number | undefined;
  try {
    pipe = openSync(task.container.tty ? stdout : stderr, constants.O_WRONLY | constants.O_NONBLOCK);
    for (const line of lines) {
      const bytes = Buffer.from(`[${mark}] ${line.trimEnd()}`).subarray(0, PIPE_BUF_BYTES - 1);
      writeSync(pipe, Buffer.concat([bytes, Buffer.from('\n')]));
    }
  } catch (error) {
    log.debug({ task: task.name, id: task.id, error: messageOf(error) }, `what ${mark} printed is not in the log`);
  } finally {
    if (pipe !== undefined) closeSync(pipe);
  }
}
