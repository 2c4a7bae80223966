/** A stack, planned and stored: the calls that `up` and `run` share. */
import { WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import { callUnary } from '#rpc/client.js';
import type { LeftBehind, PlanStep } from '#rpc/gen/weft/v1/api.js';
import { stackFromWire, stackToWire } from '#rpc/wire.js';
import type { Connection } from './connection.js';
import type { Expectation } from './judge-stack.js';

/** Planning waits for nothing but the controller; a large stack takes it a moment. */
const PLAN_TIMEOUT_MS = 30_000;
/** Somebody else changing the cluster between plan and apply is planned anew this often. */
const TRIES = 3;

export interface Planned {
  steps: PlanStep[];
  stack: Stack;
  orphans: string[];
  /** Services that were not asked for, and stay as they are. */
  kept: string[];
  baseGeneration: number;
}

export async function planStack({ api, target }: Connection, stack: Stack, leftBehind: LeftBehind): Promise<Planned> {
  const response = await callUnary(api, 'planStack', { stack: stackToWire(stack), leftBehind }, { target, timeoutMs: PLAN_TIMEOUT_MS });
  const { steps, orphans, kept, baseGeneration } = response;
  return { steps, stack: stackFromWire(response.stack), orphans, kept, baseGeneration };
}

/** Stores the stack, unless it is stored just so. @throws CONFLICT when the cluster never holds still */
export async function applyStack(
  connection: Connection,
  stack: Stack,
  leftBehind: LeftBehind,
): Promise<{ steps: PlanStep[]; expected: Expectation }> {
  const { api, target } = connection;
  for (let attempt = 1; ; attempt++) {
    const planned = await planStack(connection, stack, leftBehind);
    const stale = await tasksToReplace(connection, stack.name, planned.steps);
    try {
      const request = { stack: stackToWire(planned.stack), baseGeneration: planned.baseGeneration, kept: planned.kept };
      const { generation, steps } = await callUnary(api, 'applyStack', request, { target, timeoutMs: PLAN_TIMEOUT_MS });
      return { steps, expected: { generation, stale } };
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'CONFLICT' || attempt === TRIES) throw error;
    }
  }
}

/** The tasks of services that are made anew: they do not count as running ones while they are still there. */
async function tasksToReplace({ api, target }: Connection, stack: string, steps: readonly PlanStep[]): Promise<Set<string>> {
  const services = new Set(steps.filter((s) => s.kind === 'service' && s.action === 'recreate').map((s) => s.name));
  if (services.size === 0) return new Set();
  const { tasks } = await callUnary(api, 'listTasks', { stack }, { target });
  return new Set(tasks.flatMap(({ task }) => (task && services.has(task.service) ? [task.id] : [])));
}
