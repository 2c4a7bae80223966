/** What a command has around it: streams, environment, directory. Handed in, so that commands run in tests as they do in a terminal. */
import { spawnSync } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { systemClock, type Clock } from '#base/clock.js';

export interface Output extends Writable {
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

export interface Input extends Readable {
  isTTY?: boolean;
}

export interface Shell {
  stdin: Input;
  /** Data only. */
  stdout: Output;
  /** Progress, warnings, errors. */
  stderr: Output;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  clock: Clock;
  /** For a command that ends with another program's exit code. */
  setExitCode(code: number): void;
  /** Raw: keys come one by one and unseen, output goes out as it is. Only on a terminal. */
  setRaw(on: boolean): void;
  /** Runs `handler` at each of these signals until the returned function is called. */
  onSignal(signals: readonly NodeJS.Signals[], handler: (signal: NodeJS.Signals) => void): () => void;
}

export function processShell(setExitCode: (code: number) => void): Shell {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    setExitCode,
    setRaw,
    onSignal(signals, handler) {
      for (const signal of signals) process.on(signal, handler);
      return () => {
        for (const signal of signals) process.removeListener(signal, handler);
      };
    },
  };
}

function setRaw(on: boolean): void {
  process.stdin.setRawMode(on);
  // Node's raw mode still turns LF into CR LF, which the terminal in the container has done already: an editor's screen
  // would come out of order. Off again, Node puts back what was there before.
  if (on) spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

export const say = (shell: Shell, line: string): void => void shell.stderr.write(`${line}\n`);
export const print = (shell: Shell, text: string): void => void shell.stdout.write(text.endsWith('\n') || text === '' ? text : `${text}\n`);

/** Whether colours may be used on a stream (https://no-color.org). */
export const coloured = (shell: Shell, output: Output): boolean =>
  output.isTTY === true && !shell.env['NO_COLOR'] && shell.env['TERM'] !== 'dumb';
