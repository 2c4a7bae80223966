/**
 * The one place that runs commands. Arguments are arrays, there is no shell, and an error says what ran, how it ended and
 * what it said.
 */
import { execa } from 'execa';
import { WeftError } from '#base/errors.js';

export interface RunOptions {
  /** Written to standard input, which is then closed. */
  input?: string;
  /** Milliseconds until the command is killed. */
  timeoutMs?: number;
  /** Exit codes besides 0 that are no error. */
  accept?: readonly number[];
}

export interface RunResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

export type Run = (argv: readonly string[], options?: RunOptions) => Promise<RunResult>;

const DEFAULT_TIMEOUT_MS = 20_000;
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
/** Of what a command said, in an error's text. */
const MAX_WHY_CHARS = 500;

/** Runs `argv` to its end. @throws COMMAND_FAILED with argv, exit and stderr */
export const run: Run = async (argv, options = {}) => {
  const [file, ...args] = argv;
  if (file === undefined) throw new WeftError('COMMAND_FAILED', 'there is no command to run');
  const result = await execa(file, args, {
    input: options.input ?? '',
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
    stripFinalNewline: false,
    reject: false,
    // Errors are matched and shown in English, whatever the host speaks.
    env: { LC_ALL: 'C' },
  });
  const { stdout, stderr, exitCode } = result;
  if (exitCode !== undefined && !result.timedOut && (exitCode === 0 || options.accept?.includes(exitCode)))
    return { stdout, stderr, exitCode };
  throw failure(
    argv,
    result.timedOut ? 'took too long and was stopped' : `ended with ${exitCode ?? result.signal ?? result.code}`,
    stderr || result.message,
  );
};

function failure(argv: readonly string[], end: string, said: string | undefined): WeftError {
  const hint = said?.includes('ENOENT') ? `Install the package that has "${argv[0]}".` : undefined;
  const why = `${end}: ${(said ?? '').trim().slice(0, MAX_WHY_CHARS)}`;
  return new WeftError('COMMAND_FAILED', { what: `"${argv.join(' ').slice(0, 200)}" failed`, why, ...(hint ? { hint } : {}) });
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
