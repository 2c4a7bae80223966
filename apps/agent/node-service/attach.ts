/** The attach call of the node service: the process of a task itself, wired to the stream. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Task } from '#model/task.js';
import type { ExecRequest, ExecResponse, ExecStart } from '#rpc/gen/weft/v1/api.js';
import type { Attachment, Runtime } from '#runtime/runtime.js';
import type { Caller, Callers, Ending } from '../callers.js';
import type { LogTaps } from '../log-keeper/ensure.js';
import { passOn, type Process } from './exec.js';
import { runningTask, type TaskCallDeps } from './running-task.js';

export interface AttachCallDeps extends TaskCallDeps {
  runtime: Pick<Runtime, 'attach' | 'kill'>;
  callers: Pick<Callers, 'enter'>;
  tap: LogTaps['tap'];
  /** Undefined while this node was not told of it. */
  task: (taskId: string) => Task | undefined;
}

/**
 * What the process prints from now on, and its exit code when it ends; a task that awaits its caller begins now.
 * @throws BAD_VALUE; NOT_FOUND for a task that does not run and will not; whatever it could not be started for
 */
export async function* attachToTask(
  deps: AttachCallDeps,
  requests: AsyncIterable<ExecRequest>,
  signal: AbortSignal,
): AsyncGenerator<ExecResponse> {
  const input = requests[Symbol.asyncIterator]();
  const first = (await input.next()).value as ExecRequest | undefined;
  if (first?.message?.$case !== 'start') throw new WeftError('BAD_VALUE', 'an attach begins with the task that is meant');
  const start = first.message.value;
  const caller = deps.callers.enter(start.task, isThere(deps, start.task));
  const onAbort = (): void => caller.leave();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const ending = await Promise.race([caller.opened, caller.ended, aborted(signal)]);
    if (ending) throw notStarted(ending);
    yield* converse(deps, start, caller, input);
  } finally {
    signal.removeEventListener('abort', onAbort);
    caller.leave();
  }
}

/** Whether its container runs; false while it is on its way. @throws NOT_FOUND when it is not */
function isThere(deps: AttachCallDeps, taskId: string): boolean {
  const state = deps.container(taskId)?.state;
  if (state === 'running') return true;
  const task = deps.task(taskId);
  if (state === 'stopped' || (task && !task.awaitsCaller)) runningTask(deps, taskId);
  return false;
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const onAbort = (): void => reject(new WeftError('UNAVAILABLE', 'the caller has gone'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });

/** The code says whether it was the command that could not be run. */
const notStarted = (ending: Ending): WeftError =>
  new WeftError('failure' in ending ? ending.code : 'RUNTIME', {
    what: 'it could not be started',
    why: 'failure' in ending ? ending.failure : 'it was stopped before',
  });

async function* converse(
  deps: AttachCallDeps,
  start: ExecStart,
  caller: Caller,
  input: AsyncIterator<ExecRequest>,
): AsyncGenerator<ExecResponse> {
  const tap = await deps.tap(start.task);
  let attachment: Attachment | undefined;
  try {
    attachment = await deps.runtime.attach(start.task);
    if (start.columns > 0 && start.rows > 0) await attachment.resize(start.columns, start.rows);
    // All of its output has come by the time that its end is told.
    const ended = caller.ended.then((ending) => tap.flush().then(() => (tap.close(), ending)));
    ended.catch(() => undefined);
    caller.begin();
    deps.log.info({ task: start.task }, 'somebody is attached to a container');
    void feed(deps, start, attachment, input, ended).catch((error: unknown) =>
      deps.log.debug({ error: messageOf(error) }, 'the input of an attach ended'),
    );
    for await (const { stream, data } of tap.chunks) yield { message: { $case: stream, value: data } };
    yield { message: { $case: 'exitCode', value: exitCodeOf(await Promise.race([ended, cutOff()])) } };
  } finally {
    attachment?.close();
    tap.close();
  }
}

function exitCodeOf(ending: Ending): number {
  if ('failure' in ending) throw notStarted(ending);
  if (ending.exitCode === undefined) throw new WeftError('RUNTIME', 'its exit code is not known: its container is gone');
  return ending.exitCode;
}

/** How long after the end of its output the end of the process may be told, in milliseconds. */
const TOLD_MS = 2_000;

async function cutOff(): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, TOLD_MS).unref());
  throw new WeftError('UNAVAILABLE', {
    what: 'its output cannot be followed any more',
    why: 'the log keeper of its node was started again',
    hint: 'It runs on: see `ctl ps` and `ctl logs`, or attach again with `ctl attach`.',
  });
}

/** Between tries to signal a container that is about to start, in milliseconds. */
const SOON_MS = 20;

/** A caller may have had enough before the process has begun: that is not lost. @throws NOT_FOUND when it has ended, BAD_VALUE, RUNTIME */
export async function signalWhenItRuns(
  { runtime }: Pick<AttachCallDeps, 'runtime'>,
  taskId: string,
  name: string,
  exited: Promise<unknown>,
): Promise<void> {
  let isOver = false;
  const over = (): void => void (isOver = true);
  exited.then(over, over);
  for (;;) {
    try {
      return await runtime.kill(taskId, name);
    } catch (error) {
      if (isOver || !(error instanceof WeftError && error.code === 'NOT_FOUND')) throw error;
      await new Promise((resolve) => setTimeout(resolve, SOON_MS).unref());
    }
  }
}

/** What the caller sends, into the process. */
async function feed(
  deps: AttachCallDeps,
  start: ExecStart,
  { stdin, resize }: Attachment,
  input: AsyncIterator<ExecRequest>,
  exited: Promise<unknown>,
): Promise<void> {
  const process: Process = { stdin, resize, signal: (name) => signalWhenItRuns(deps, start.task, name, exited), exited };
  try {
    for (let next = await input.next(); !next.done; next = await input.next())
      await passOn(process, start.stdin, next.value).catch((error: unknown) =>
        deps.log.debug({ task: start.task, error: messageOf(error) }, 'something that a caller sent was of no use'),
      );
  } finally {
    // As with Docker: what reads a pipe of its caller sees the end of it; what has a terminal goes on without.
    if (start.stdin && !start.tty && deps.task(start.task)?.awaitsCaller) stdin?.end();
  }
}
