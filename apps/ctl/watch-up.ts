/** Follows a stack until it is up, shows how it comes up, and says what failed when it does not. */
import { WeftError } from '#base/errors.js';
import { readStream } from '#rpc/client.js';
import type { StackState } from '#rpc/gen/weft/v1/api.js';
import type { Connection } from './connection.js';
import {
  isJob,
  openReasons,
  runningIn,
  runningSummary,
  StackJudge,
  troubleOf,
  withoutOneOffs,
  type Expectation,
  type Verdict,
} from './judge-stack.js';
import { liveLines, type LiveLines } from './live-lines.js';
import { updateWords } from './render/updates.js';
import type { Shell } from './shell.js';

/** Before a broken watch is opened again, here or at another controller, in milliseconds: one that goes must not fail an `up`. */
const REOPEN_MS = 500;

/**
 * Resolves with the state in which the stack is up.
 * @param see looks at every state before it is judged
 * @throws DEPLOY_FAILED, TIMEOUT
 */
export async function watchUntilUp(
  shell: Shell,
  connection: Connection,
  stack: string,
  expected: Expectation,
  timeoutMs: number,
  see: (state: StackState) => void = () => undefined,
): Promise<StackState> {
  const judge = new StackJudge(expected);
  const lines = liveLines(shell.stderr);
  try {
    return await follow(shell, connection, stack, timeoutMs, judge, (state) => {
      see(state);
      show(lines, state, expected.stale);
    });
  } finally {
    lines.finish();
  }
}

async function follow(
  shell: Shell,
  connection: Connection,
  stack: string,
  timeoutMs: number,
  judge: StackJudge,
  onState: (state: StackState) => void,
): Promise<StackState> {
  const { clock } = shell;
  const began = clock.monotonic();
  const done = new AbortController();
  let latest: StackState | undefined;
  // The stream feeds the latest state; the loop looks at it at every change, and when a verdict asked to be asked again.
  const feed = feedOf(shell, connection, stack, done.signal, (state) => (latest = withoutOneOffs(state)));
  try {
    for (;;) {
      if (latest) onState(latest);
      const verdict: Verdict = latest ? judge.judge(latest, clock.monotonic()) : { kind: 'wait' };
      if (latest && verdict.kind === 'up') return latest;
      if (verdict.kind === 'failed') throw failed(stack, latest, verdict.reasons);
      // A rollout over many tasks takes its time: only time in which nothing gets better counts.
      const leftMs = Math.max(began, judge.betterAt) + timeoutMs - clock.monotonic();
      if (leftMs <= 0) throw tooLate(stack, latest, timeoutMs);
      const askAgainMs = verdict.kind === 'wait' ? verdict.askAgainMs : undefined;
      await feed.changed(Math.min(leftMs, askAgainMs ?? leftMs));
    }
  } finally {
    done.abort();
    await feed.ended;
  }
}

export interface Feed {
  /** Resolves at the next state, or after `ms`. @throws what the stream ended with for good */
  changed(ms: number): Promise<void>;
  ended: Promise<void>;
}

/** States of a stack as they come, over the loss of a controller, until `signal`. */
export function feedOf(shell: Shell, connection: Connection, stack: string, signal: AbortSignal, take: (state: StackState) => void): Feed {
  let wake: () => void = () => undefined;
  let fresh = false;
  let failure: unknown;
  const ring = (): void => {
    fresh = true;
    wake();
  };
  const read = async (): Promise<void> => {
    for (let now = connection; !signal.aborted;) {
      try {
        for await (const state of readStream(now.api.watchStack({ name: stack }), signal, now.target)) {
          take(state);
          ring();
        }
      } catch (error) {
        if (!isPassing(error)) {
          failure = error;
          return ring();
        }
      }
      await shell.clock.sleep(REOPEN_MS, signal).catch(() => undefined);
      now = await connection.again().catch(() => now);
    }
  };
  return {
    ended: read(),
    async changed(ms) {
      if (!fresh) {
        const timer = new AbortController();
        const rung = new Promise<void>((resolve) => (wake = resolve));
        await Promise.race([rung, shell.clock.sleep(ms, timer.signal).catch(() => undefined)]);
        timer.abort();
      }
      fresh = false;
      if (failure !== undefined) throw failure;
    },
  };
}

const isPassing = (error: unknown): boolean =>
  error instanceof WeftError && ['UNAVAILABLE', 'NOT_LEADER', 'STORE', 'TIMEOUT'].includes(error.code);

/** Counts what is as it shall be: tasks that are to be replaced do not count. */
function show(lines: LiveLines, state: StackState, stale: ReadonlySet<string>): void {
  const fresh = state.tasks.filter((row) => !stale.has(row.task?.id ?? ''));
  for (const service of state.services) {
    const running = runningIn(service, fresh);
    const isOpen = running < service.wanted || service.wanted === 0;
    const waiting = isOpen && service.waiting ? `: ${service.waiting}` : '';
    const what = isJob(service) ? 'complete' : 'running';
    const update = service.update === '' ? '' : ` (${updateWords(service.update)})`;
    const text = `${running >= service.wanted ? '✔' : '…'} ${service.name} ${running}/${service.wanted} ${what}${update}`;
    // Where lines cannot be redrawn only the count is worth one; troubles have their own below.
    lines.set(service.name, text + waiting, text);
  }
  for (const row of state.tasks) {
    const trouble = troubleOf(row);
    const key = `task ${row.task?.name ?? ''}`;
    if (trouble) lines.set(key, `✘ ${trouble}`);
    else lines.drop(key);
  }
}

const RUNS_ON = 'What runs was left running.';

export function failed(stack: string, state: StackState | undefined, reasons: readonly string[]): WeftError {
  const running = state ? `running now: ${runningSummary(state)}` : '';
  return new WeftError('DEPLOY_FAILED', {
    what: `stack ${stack} did not come up`,
    why: [...reasons, running].filter((line) => line !== '').join('\n'),
    hint: `${RUNS_ON} Look at \`ctl ps -p ${stack}\` and \`ctl logs -p ${stack}\`; run \`ctl up\` again when it is mended, or \`ctl down -p ${stack}\`.`,
  });
}

function tooLate(stack: string, state: StackState | undefined, timeoutMs: number): WeftError {
  return new WeftError('DEPLOY_FAILED', {
    what: `stack ${stack} is not up, and nothing has got better for ${Math.round(timeoutMs / 1000)} s`,
    why: state ? [...openReasons(state), `running now: ${runningSummary(state)}`].join('\n') : 'the controller told nothing of it',
    hint: `${RUNS_ON} It may still come up: look at \`ctl ps -p ${stack}\`; give more time with --timeout.`,
  });
}
