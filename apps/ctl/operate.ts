/** One change of running services by command (scale, stop, start, restart): said to the controller, shown, and waited for. */
import { WeftError } from '#base/errors.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { PlanStep, StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';
import type { OperateStackRequest } from '#rpc/gen/weft/v1/operations.js';
import type { Connection } from './connection.js';
import { liveLines } from './live-lines.js';
import { changesNothing, planText } from './render/plan.js';
import { count } from './render/quantity.js';
import { coloured, say, type Shell } from './shell.js';
import { watchUntilUp } from './watch-up.js';

export type Operation = NonNullable<OperateStackRequest['operation']>;

/** How long nothing may get better before it counts as failed, in seconds. */
export const OPERATE_TIMEOUT_S = 120;

interface Said {
  generation: number;
  /** Services that change. */
  services: string[];
  /** Tasks that they had before. */
  before: TaskRow[];
}

/** @returns undefined when there was nothing to change. @throws NOT_FOUND, BAD_VALUE, NO_NODES */
async function sayIt(shell: Shell, { api, target }: Connection, name: string, operation: Operation): Promise<Said | undefined> {
  const { tasks } = await callUnary(api, 'listTasks', { stack: name }, { target });
  const { generation, steps } = await callUnary(api, 'operateStack', { name, operation }, { target });
  if (changesNothing(steps)) {
    for (const step of steps) say(shell, `${step.name}: ${step.details.join('; ')}`);
    return undefined;
  }
  shell.stderr.write(planText(steps, coloured(shell, shell.stderr)));
  const services = steps.filter((s: PlanStep) => s.action !== 'keep').map((s) => s.name);
  return { generation, services, before: tasks.filter((row) => services.includes(row.task?.service ?? '')) };
}

/** Until all of the stack is as it shall be. @param isAnew the tasks that were there are to be replaced */
export async function operateUntilUp(
  shell: Shell,
  connection: Connection,
  name: string,
  operation: Operation,
  { isAnew = false, detach = false, timeoutS = OPERATE_TIMEOUT_S }: { isAnew?: boolean; detach?: boolean; timeoutS?: number } = {},
): Promise<void> {
  const said = await sayIt(shell, connection, name, operation);
  if (!said || detach) return;
  const stale = new Set(isAnew ? said.before.flatMap((row) => row.task?.id ?? []) : []);
  await watchUntilUp(shell, connection, name, { generation: said.generation, stale }, timeoutS * 1000);
}

/** Until no process of the services runs. @throws TIMEOUT */
export async function operateUntilStopped(
  shell: Shell,
  connection: Connection,
  name: string,
  operation: Operation,
  timeoutS = OPERATE_TIMEOUT_S,
): Promise<void> {
  const said = await sayIt(shell, connection, name, operation);
  if (!said) return;
  const lines = liveLines(shell.stderr);
  const tooLate = AbortSignal.timeout(timeoutS * 1000);
  let left: TaskRow[] = [];
  try {
    for await (const state of readStream(connection.api.watchStack({ name }), tooLate, connection.target)) {
      if (!state.exists) return;
      if (state.generation < said.generation) continue;
      left = said.services.flatMap((service) => {
        const rows = stillThere(state, service);
        lines.set(service, rows.length === 0 ? `✔ ${service} is stopped` : `… ${service}: ${count(rows.length, 'task')} to stop`);
        return rows;
      });
      if (left.length === 0) return;
    }
  } finally {
    lines.finish();
  }
  throw new WeftError('TIMEOUT', {
    what: `${name} is not stopped after ${timeoutS} s`,
    why: left.map((row) => `${row.task?.name} on ${row.nodeName} is ${row.status?.state ?? 'pending'}`).join('\n'),
    hint: 'It is being stopped: look at `ctl ps -a`. A program that does not end is killed when its grace is over.',
  });
}

/** A dead node's tasks cannot be waited for. */
const stillThere = (state: StackState, service: string): TaskRow[] =>
  state.tasks.filter((row) => row.task?.service === service && row.status?.state !== 'stopped' && row.nodeState !== 'down');
