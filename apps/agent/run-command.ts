/** One command in a container, from beginning to end: for at most so long, and with the end of what it said. */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { ExecRequest, ExecSession, Runtime } from '#runtime/runtime.js';
import { inSeconds } from './plan-tasks.js';

/** How a command ended: with an exit code, or without one because it took too long or could not be run. */
export type CommandResult = { exitCode: number; output: string } | { error: string; output: string };

export interface CommandDeps {
  runtime: Pick<Runtime, 'exec'>;
  clock: Clock;
}

/** Of a command's output, in bytes: Docker keeps as much of a health check's. */
const MAX_OUTPUT_BYTES = 4096;
/** How long a killed command may take to be gone before it is left alone. */
const KILLED_MS = 5_000;

/** Never throws. What runs when the time is over, or at `signal`, is killed. */
export async function runCommand(
  { runtime, clock }: CommandDeps,
  request: Omit<ExecRequest, 'tty'>,
  timeoutMs: number,
  signal: AbortSignal = new AbortController().signal,
): Promise<CommandResult> {
  const late = new AbortController();
  const timeout = clock.sleep(timeoutMs, late.signal).then(
    () => 'late' as const,
    () => 'late' as const,
  );
  let session: ExecSession | undefined;
  const output = new Tail();
  const run = async (): Promise<CommandResult> => {
    session = await runtime.exec({ ...request, tty: false });
    session.stdin.end();
    output.take(session.stdout);
    output.take(session.stderr);
    // It took so long to begin that nobody waits for it any more.
    if (late.signal.aborted) await session.signal('SIGKILL');
    return { exitCode: await session.exited, output: '' };
  };
  const running = run().catch((error: unknown): CommandResult => ({ error: messageOf(error), output: '' }));
  const stop = abortion(signal);
  const first = await Promise.race([running, timeout, stop.happened]);
  late.abort();
  stop.forget();
  if (typeof first !== 'string') return { ...first, output: output.text };
  await kill(session, running, clock);
  return { error: `took longer than ${inSeconds(timeoutMs)}`, output: output.text };
}

async function kill(session: ExecSession | undefined, running: Promise<unknown>, clock: Clock): Promise<void> {
  await session?.signal('SIGKILL').catch(() => undefined);
  const enough = new AbortController();
  await Promise.race([running, clock.sleep(KILLED_MS, enough.signal).catch(() => undefined)]);
  enough.abort();
  // A grandchild may hold the pipes for ever: nobody reads them any more.
  session?.stdout.destroy();
  session?.stderr.destroy();
}

function abortion(signal: AbortSignal): { happened: Promise<'aborted'>; forget: () => void } {
  let forget: () => void = () => undefined;
  const happened = new Promise<'aborted'>((resolve) => {
    const tell = () => resolve('aborted');
    if (signal.aborted) return tell();
    signal.addEventListener('abort', tell, { once: true });
    forget = () => signal.removeEventListener('abort', tell);
  });
  return { happened, forget };
}

/** The last bytes of what a program says. */
class Tail {
  #bytes = Buffer.alloc(0);

  take(stream: NodeJS.ReadableStream): void {
    stream.on('data', (chunk: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-MAX_OUTPUT_BYTES)));
    stream.on('error', () => undefined);
  }

  get text(): string {
    return this.#bytes.toString('utf8');
  }
}
