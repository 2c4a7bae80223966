/** `post_start` and `pre_stop`: commands of the service that are run in its container, one after another. */
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Hook } from '#model/container-keys.js';
import type { Task } from '#model/task.js';
import { runCommand, type CommandDeps, type CommandResult } from './run-command.js';

/** Hooks after the start hold the task back, so they end some time. */
const POST_START_TIMEOUT_MS = 600_000;
const MAX_SAID = 300;

export type HookKind = 'post_start' | 'pre_stop';

type Hooks = CommandDeps & {
  log: Log;
  /** Puts what a hook printed where people look: the log of its container. */
  say: (task: Task, kind: HookKind, text: string) => void;
};

/** The first that fails ends the row. @throws DEPLOY_FAILED */
export async function runPostStart(deps: Hooks, task: Task): Promise<void> {
  for (const hook of task.container.postStart ?? []) {
    const result = await runHook(deps, task, 'post_start', hook, POST_START_TIMEOUT_MS);
    const fault = faultOf(result);
    if (fault === undefined) continue;
    throw new WeftError('DEPLOY_FAILED', { what: `the post_start hook ${shown(hook)} ${fault}`, hint: 'Run it by hand with `ctl exec`.' });
  }
}

/** What fails is told in the agent's log, and stops nothing. All of them together may take the stop's grace period. */
export async function runPreStop(deps: Hooks, task: Task): Promise<void> {
  const { preStop = [], stopGraceMs } = task.container;
  const until = deps.clock.monotonic() + stopGraceMs;
  for (const hook of preStop) {
    const leftMs = until - deps.clock.monotonic();
    const fault = leftMs > 0 ? faultOf(await runHook(deps, task, 'pre_stop', hook, leftMs)) : 'was left out: the grace period is over';
    if (fault !== undefined) deps.log.warn({ task: task.name, id: task.id }, `the pre_stop hook ${shown(hook)} ${fault}`);
  }
}

async function runHook(deps: Hooks, task: Task, kind: HookKind, hook: Hook, timeoutMs: number): Promise<CommandResult> {
  const { command, user, privileged, workingDir, environment } = hook;
  const request = { containerId: task.id, argv: command, user, privileged, workingDir, env: environment };
  const result = await runCommand(deps, request, timeoutMs);
  deps.say(task, kind, result.output);
  return result;
}

/** undefined for one that ended well. */
function faultOf(result: CommandResult): string | undefined {
  if ('exitCode' in result && result.exitCode === 0) return undefined;
  const how = 'error' in result ? result.error : `exited with code ${result.exitCode}`;
  const said = result.output.replace(/\s+/g, ' ').trim().slice(-MAX_SAID);
  return said === '' ? how : `${how}: ${said}`;
}

const shown = ({ command }: Hook): string => JSON.stringify(command.join(' ').slice(0, 64));
