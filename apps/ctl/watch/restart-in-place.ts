/** Tasks whose processes are started again in the containers they have: what was copied into these stays. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import { callUnary } from '#rpc/client.js';
import type { TaskRow } from '#rpc/gen/weft/v1/api.js';
import type { Connection } from '../connection.js';

/** From one look to the next, in milliseconds. */
const LOOK_MS = 300;
/** How long tasks may take besides their grace period, in milliseconds. */
const RESTART_MS = 60_000;

/** A task has another process after each of its ends. */
export const processOf = ({ task, status }: TaskRow): string => `${task?.id ?? ''} ${status?.restarts ?? 0}`;

/**
 * All at once, and waits until they have begun again; one that is replaced meanwhile is not waited for.
 * @param rows tasks that run
 * @param graceMs how long they may take to stop
 * @returns those that have begun again, as they are now
 * @throws NOT_FOUND when one has ended meanwhile, TIMEOUT
 */
export async function restartInPlace(
  clock: Clock,
  { api, target }: Connection,
  rows: readonly TaskRow[],
  graceMs: number,
): Promise<TaskRow[]> {
  const [first] = rows;
  if (!first) return [];
  const request = { tasks: rows.flatMap(({ task }) => task?.id ?? []), drainMs: {} };
  await callUnary(api, 'restartTasks', request, { target });
  const before = new Map(rows.map(({ task, status }) => [task?.id, status?.restarts ?? 0]));
  const until = clock.monotonic() + RESTART_MS + graceMs;
  for (;;) {
    const { tasks } = await callUnary(api, 'listTasks', { stack: first.task?.stack ?? '' }, { target });
    const there = tasks.filter(({ task }) => task?.desired === 'run' && before.has(task.id));
    const again = there.filter(({ task, status }) => (status?.restarts ?? 0) > (before.get(task?.id) ?? 0));
    if (again.length === there.length) return again;
    if (clock.monotonic() > until) throw tooLate(there.filter((row) => !again.includes(row)));
    await clock.sleep(LOOK_MS);
  }
}

const tooLate = (rows: readonly TaskRow[]): WeftError =>
  new WeftError('TIMEOUT', {
    what: `${rows.map(({ task }) => task?.name).join(', ')} did not start again in time`,
    why: rows
      .map(({ task, status }) => `${task?.name} is ${status?.state ?? 'pending'}${status?.message ? `: ${status.message}` : ''}`)
      .join('\n'),
    hint: 'Look at `ctl ps` and `ctl logs`.',
  });

/** Services that are restarted when another one is, in this order: those that depend on it with `restart: true`, and on those. Pure. */
export function followersOf({ services }: Pick<Stack, 'services'>, service: string): string[] {
  const found = [service];
  for (const one of found)
    for (const { name, dependsOn } of Object.values(services)) if (dependsOn?.[one]?.restart && !found.includes(name)) found.push(name);
  return found.slice(1);
}
