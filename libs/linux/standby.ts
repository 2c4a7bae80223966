/**
 * Commands that are started before they are needed, and wait for their standard input. What they do costs a fraction of what their start
 * costs, and one that is started anew each time remembers nothing: a process of `ip` that stays would know devices by numbers they had.
 */
import type { Run, StartedCommand } from './runner.js';
import { run, startCommand } from './runner.js';

/** Whoever has some: the command helper. */
export interface Standby {
  /** Has a process of `argv`, which must read its input before it does anything, wait for the next `run` of the same words. */
  prepare(argv: readonly string[]): void;
  /** Ends the one that waits, if there is one: it would keep its namespace alive. */
  drop(argv: readonly string[]): Promise<void>;
}

/** One that was not needed for so long ends. */
const IDLE_MS = 300_000;

interface Waiting {
  command: StartedCommand;
  timer: NodeJS.Timeout;
}

export class StandbyCommands implements Standby {
  readonly #waiting = new Map<string, Waiting>();

  prepare(argv: readonly string[]): void {
    const key = keyOf(argv);
    if (this.#waiting.has(key)) return;
    const command = startCommand(argv);
    const timer = setTimeout(() => void this.drop(argv), IDLE_MS).unref();
    const waiting = { command, timer };
    this.#waiting.set(key, waiting);
    void command.ended.then(() => {
      clearTimeout(timer);
      // What died while it waited is no help to anybody.
      if (this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    });
  }

  /** By the one that waits, if there is one. */
  readonly run: Run = (argv, options = {}) => this.#take(argv)?.finish(options) ?? run(argv, options);

  async drop(argv: readonly string[]): Promise<void> {
    // Without a word of input it has nothing to do, whatever it says to that.
    await this.#take(argv)
      ?.finish({})
      .catch(() => undefined);
  }

  stop(): void {
    for (const key of this.#waiting.keys()) void this.drop(argvOf(key));
  }

  #take(argv: readonly string[]): StartedCommand | undefined {
    const key = keyOf(argv);
    const waiting = this.#waiting.get(key);
    if (!waiting) return undefined;
    this.#waiting.delete(key);
    clearTimeout(waiting.timer);
    return waiting.command;
  }
}

const keyOf = (argv: readonly string[]): string => argv.join('\0');
const argvOf = (key: string): string[] => key.split('\0');
