/**
 * The one place that runs commands. Arguments are arrays, there is no shell, and an error says what ran, how it ended and
 * what it said. Node's own `spawn` and no library: a plan may run a hundred commands, and each costs milliseconds as it is.
 */
import { spawn } from 'node:child_process';
import { WeftError } from '#base/errors.js';

export interface RunOptions {
  /** Written to standard input, which is then closed. */
  input?: string;
  /** A word in `input` that stands for the id of the process itself. */
  ownId?: string;
  /** Milliseconds until the command is killed; two seconds later it is waited for no more. */
  timeoutMs?: number;
  /** Exit codes besides 0 that are no error. */
  accept?: readonly number[];
  /** Told the process id as soon as there is one. */
  onStart?: (pid: number) => void;
}

export interface RunResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

export type Run = (argv: readonly string[], options?: RunOptions) => Promise<RunResult>;

const DEFAULT_TIMEOUT_MS = 20_000;
/** What is killed is gone at once, unless the kernel itself waits for somebody (a server of files), or a child of it has its pipes. */
const KILLED_WITHIN_MS = 2_000;
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
/** Of what a command said, in an error's text. */
const MAX_WHY_CHARS = 500;
/** Errors are matched and shown in English, whatever the host speaks. Copied once: reading the environment is slow. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

/** Runs `argv` to its end. @throws COMMAND_FAILED with argv, exit and stderr */
export const run: Run = (argv, options = {}) => {
  const command = startCommand(argv);
  if (command.pid !== undefined) options.onStart?.(command.pid);
  return command.finish(options);
};

/** A command that was started and reads what it is to do from standard input. */
export interface StartedCommand {
  /** undefined: there is no such file to run. */
  pid: number | undefined;
  /** Gives it its input, and resolves at its end; once. @throws COMMAND_FAILED as `run` */
  finish(options: Pick<RunOptions, 'input' | 'ownId' | 'timeoutMs' | 'accept'>): Promise<RunResult>;
  /** Resolves at its end, however it came. */
  ended: Promise<unknown>;
}

interface Ending {
  /** undefined: it did not exit by itself, and `how` says what happened. */
  exitCode?: number;
  how?: string;
  stdout: string;
  stderr: string;
}

/** Starts `argv`, which does nothing before it is told by `finish`, if it reads its input first. */
export function startCommand(argv: readonly string[]): StartedCommand {
  const [file, ...args] = argv;
  if (file === undefined) throw new WeftError('COMMAND_FAILED', 'there is no command to run');
  const child = spawn(file, args, { stdio: 'pipe', env: ENVIRONMENT });
  let how: string | undefined;
  let leave: NodeJS.Timeout | undefined;
  let giveUp = (): void => undefined;
  const stop = (why: string) => {
    how ??= why;
    child.kill('SIGKILL');
    leave ??= setTimeout(() => giveUp(), KILLED_WITHIN_MS);
  };
  const stdout = gather(child.stdout, stop);
  const stderr = gather(child.stderr, stop);
  const ended = new Promise<Ending>((resolve) => {
    giveUp = () => {
      for (const stream of child.stdio) stream?.destroy();
      child.unref();
      resolve({ how: how ?? '', stdout: stdout(), stderr: stderr() });
    };
    // Without a file to run there is this event, and `close` after it.
    child.once('error', (error) => (how ??= error.message));
    child.once('close', (code, signal) => {
      clearTimeout(leave);
      const said = { stdout: stdout(), stderr: stderr() };
      if (how !== undefined || code === null) resolve({ how: how ?? `ended with ${signal ?? 'no exit code'}`, ...said });
      else resolve({ exitCode: code, ...said });
    });
  });
  // A command that ends without reading its input says by its exit code whether that was right.
  child.stdin.once('error', () => undefined);
  return {
    pid: child.pid,
    ended,
    async finish({ input = '', ownId, timeoutMs = DEFAULT_TIMEOUT_MS, accept = [] }) {
      const timer = setTimeout(() => stop('took too long and was stopped'), timeoutMs);
      child.stdin.end(ownId === undefined ? input : input.replaceAll(ownId, String(child.pid)));
      const ending = await ended;
      clearTimeout(timer);
      return resultOf(argv, ending, accept);
    },
  };
}

function resultOf(argv: readonly string[], ended: Ending, accept: readonly number[]): RunResult {
  const { exitCode, stdout, stderr } = ended;
  if (exitCode !== undefined && (exitCode === 0 || accept.includes(exitCode))) return { stdout, stderr, exitCode };
  const how = ended.how ?? `ended with ${exitCode}`;
  const hint = /ENOENT/.test(how) ? `Install the package that has "${argv[0]}".` : undefined;
  const why = `${how}: ${stderr.trim().slice(0, MAX_WHY_CHARS)}`;
  throw new WeftError('COMMAND_FAILED', { what: `"${argv.join(' ').slice(0, 200)}" failed`, why, ...(hint ? { hint } : {}) });
}

/** Collects a stream's text; the result gives what came. */
function gather(stream: NodeJS.ReadableStream, stop: (why: string) => void): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_OUTPUT_BYTES) stop('said too much and was stopped');
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** Maps `items` with at most `limit` under way. */
export async function mapLimit<T, R>(items: readonly T[], limit: number, fn: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await fn(items[i] as T);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}
