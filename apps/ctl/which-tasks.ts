/** Which tasks the words of a command mean. */
import { WeftError } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { TaskRow } from '#rpc/gen/weft/v1/api.js';
import type { Connection } from './connection.js';

export const isRunning = (row: TaskRow): boolean =>
  row.task?.desired === 'run' && row.status?.state === 'running' && row.nodeState !== 'down';

/** The running tasks of some services or names, of the whole stack when there is none. @throws NOT_FOUND when one of them has none */
export async function runningTasksOf(connection: Connection, stack: string, who: readonly string[], index?: number): Promise<TaskRow[]> {
  if (who.length > 0) {
    const found = await Promise.all([...new Set(who)].map((one) => runningTasks(connection, stack, one, index)));
    return found.flat();
  }
  const { tasks } = await callUnary(connection.api, 'listTasks', { stack }, { target: connection.target });
  const running = tasks.filter((row) => isRunning(row) && (index === undefined || index === row.task?.slot));
  if (running.length > 0) return running;
  throw new WeftError('NOT_FOUND', { what: `no task of stack ${stack} runs`, hint: 'Look at `ctl ps -a` and `ctl ls`.' });
}

/**
 * The tasks of a service, or the one that is named by its task's name; those of the whole stack when nothing is named.
 * @param index only this replica, counted from 1
 * @throws NOT_FOUND when there is none
 */
export async function tasksMeant({ api, target }: Connection, stack: string, who?: string, index?: number): Promise<TaskRow[]> {
  const { tasks } = await callUnary(api, 'listTasks', { stack }, { target });
  const meant = tasks.filter((row) => who === undefined || row.task?.service === who || row.task?.name === who);
  const chosen = meant.filter((row) => index === undefined || index === 0 || row.task?.slot === index);
  if (chosen.length > 0) return chosen;
  if (meant.length > 0) throw new WeftError('NOT_FOUND', { what: `${who ?? stack} has no task ${index}`, hint: 'Look at `ctl ps`.' });
  const services = [...new Set(tasks.map((row) => row.task?.service))].join(', ');
  throw new WeftError('NOT_FOUND', {
    what: `stack ${stack} has no task${who === undefined ? '' : ` of ${who}`}`,
    why: services ? `it has tasks of ${services}` : 'it has none at all',
  });
}

/** Those of `tasksMeant` that run. @throws NOT_FOUND when there is none */
export async function runningTasks(connection: Connection, stack: string, who: string, index?: number): Promise<TaskRow[]> {
  const chosen = await tasksMeant(connection, stack, who, index);
  const running = chosen.filter(isRunning);
  if (running.length > 0) return running;
  throw new WeftError('NOT_FOUND', {
    what: `no task of ${who} runs`,
    why: chosen.map((row) => `${row.task?.name} is ${row.status?.state ?? 'pending'}`).join(', '),
    hint: 'Look at `ctl ps`; start it with `ctl start`.',
  });
}
