/** A process elsewhere, as if it ran here: streams, terminal, signals, until it ends. */
import { WeftError } from '#base/errors.js';
import type { Bidi } from '#rpc/client.js';
import type { ExecRequest, ExecResponse, ExecStart } from '#rpc/gen/weft/v1/api.js';
import type { Shell } from './shell.js';
import { writeAll } from './write-all.js';

/** Of the terminal that standard output is. */
export const sizeOf = (shell: Shell) => ({ columns: shell.stdout.columns ?? 80, rows: shell.stdout.rows ?? 24 });

export const cutOff = (): WeftError =>
  new WeftError('UNAVAILABLE', {
    what: 'the command was cut off',
    why: 'the stream ended without its exit code',
    hint: 'Look at `ctl ps`: the task may have been stopped.',
  });

type Stream = Bidi<ExecRequest, ExecResponse>;

export interface Talk {
  /** The caller lets go: the stream is left, and what it is about goes on. */
  left?: AbortSignal;
  /** What of standard input goes on; undefined ends the talk. All of it if left out. */
  filter?: (chunk: Buffer) => Buffer | undefined;
  /** Signals go to the caller alone. */
  keepSignals?: boolean;
}

/**
 * Resolves with the exit code; undefined when the stream ended without, or was left.
 * @throws WeftError when the command cannot be run or its node is lost
 */
export async function converse(shell: Shell, stream: Stream, start: ExecStart, talk: Talk = {}): Promise<number | undefined> {
  const undo: (() => void)[] = [];
  let hasLeft = false;
  const leave = (): void => {
    hasLeft = true;
    stream.cancel();
  };
  // What cannot be sent because the stream has ended is told by its end.
  const send = (message: NonNullable<ExecRequest['message']>): Promise<void> => stream.send({ message }).catch(() => undefined);
  try {
    if (start.tty) undo.push(...attachTerminal(shell, send, start.stdin));
    else if (!talk.keepSignals)
      undo.push(shell.onSignal(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'], (signal) => void send({ $case: 'signal', value: signal })));
    await send({ $case: 'start', value: start });
    talk.left?.addEventListener('abort', leave, { once: true });
    undo.push(() => talk.left?.removeEventListener('abort', leave));
    if (start.stdin) undo.push(feed(shell, send, talk.filter, leave));
    for await (const { message } of stream.messages) {
      if (message?.$case === 'stdout') await writeAll(shell.stdout, message.value);
      else if (message?.$case === 'stderr') await writeAll(shell.stderr, message.value);
      else if (message?.$case === 'exitCode') return message.value & 0xff;
    }
    return undefined;
  } catch (error) {
    if (hasLeft) return undefined;
    throw error;
  } finally {
    for (const step of undo.reverse()) step();
    stream.cancel();
  }
}

/** Raw mode: every key, ctrl-C too, goes to the command. */
function attachTerminal(
  shell: Shell,
  send: (message: NonNullable<ExecRequest['message']>) => Promise<void>,
  input: boolean,
): (() => void)[] {
  const resize = (): void => void send({ $case: 'resize', value: sizeOf(shell) });
  shell.stdout.on('resize', resize);
  const undo = [() => void shell.stdout.off('resize', resize)];
  if (input && shell.stdin.isTTY) {
    shell.setRaw(true);
    undo.push(() => void shell.setRaw(false));
  }
  return undo;
}

/** Passes standard input on, no faster than the command takes it, until the returned function is called. */
function feed(
  shell: Shell,
  send: (message: NonNullable<ExecRequest['message']>) => Promise<void>,
  filter: (chunk: Buffer) => Buffer | undefined = (chunk) => chunk,
  leave: () => void,
): () => void {
  let over = false;
  const onData = (chunk: Buffer | string): void => {
    const value = filter(Buffer.from(chunk));
    if (value === undefined) return leave();
    shell.stdin.pause();
    void send({ $case: 'stdin', value }).then(() => {
      if (!over) shell.stdin.resume();
    });
  };
  const onEnd = (): void => void send({ $case: 'stdinEnd', value: true });
  shell.stdin.on('data', onData).on('end', onEnd).on('error', onEnd);
  return () => {
    over = true;
    shell.stdin.off('data', onData).off('end', onEnd);
    shell.stdin.pause();
  };
}
