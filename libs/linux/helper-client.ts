/**
 * Runs commands through a small process of their own. `spawn` copies the page tables of the caller and stops its loop for
 * as long: milliseconds in a process of 150 MB, and the pages it then writes are copied one by one. The helper is small, so
 * a command costs what it should. It ends with its owner: its standard input ends.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import type { HelperAnswer, HelperRequest, Monitor, SessionRequest } from './helper-protocol.js';
import { Lines } from './helper-protocol.js';
import type { KernelEvent } from './kernel-events.js';
import type { Sessions } from './sessions.js';
import type { Run, RunResult } from './runner.js';
import type { Standby } from './standby.js';

type Child = ChildProcessByStdio<Writable, Readable, null>;

interface Waiting {
  what: string;
  /** Of a monitor. */
  onEvent?: (event: KernelEvent) => void;
  resolve: (answer: HelperAnswer) => void;
  reject: (error: WeftError) => void;
}

/** Little memory, few threads: it only waits and passes on. */
export const NODE_FLAGS = ['--max-semi-space-size=1', '--v8-pool-size=1'];
const ENVIRONMENT = { ...process.env, UV_THREADPOOL_SIZE: '1', MALLOC_ARENA_MAX: '1' };

export class CommandHelper {
  readonly #argv: readonly string[];
  readonly #waiting = new Map<number, Waiting>();
  #child: Child | undefined;
  #next = 1;

  /** @param argv arguments to node: a program that calls `serveCommands`, and what is for its own arguments */
  constructor(argv: readonly string[]) {
    this.#argv = argv;
  }

  /** As `run` of runner.ts. A helper that has died is started again by the next command. @throws COMMAND_FAILED */
  readonly run: Run = (argv, options = {}) => this.#ask({ id: this.#next++, argv, options }).then(resultOf);

  /** As NftSessions, and with the helper they end. */
  readonly sessions: Sessions = {
    tell: async (argv, line) => (await this.#say(argv, { do: 'tell', line }))?.told === true,
    flowsOf: async (argv, words) => (await this.#say(argv, { do: 'flowsOf', words }))?.words ?? [...words],
    end: async (argv) => void (await this.#say(argv, { do: 'end' })),
  };

  /** As StandbyCommands; `run` takes what waits. */
  readonly standby: Standby = {
    // Nobody waits for it. What cannot be started is said by the `run` that needs it.
    prepare: (argv) => void this.#ask({ id: this.#next++, argv, options: {}, standby: 'prepare' }).catch(() => undefined),
    drop: async (argv) => void (await this.#ask({ id: this.#next++, argv, options: {}, standby: 'drop' })),
  };

  /** Follows what others do to our objects. Resolves or rejects when the monitor ended, which it does not by itself. */
  async watch(monitor: Monitor, onEvent: (event: KernelEvent) => void): Promise<void> {
    await this.#ask({ id: this.#next++, argv: [], options: {}, watch: monitor }, onEvent);
  }

  async #say(argv: readonly string[], session: SessionRequest): Promise<HelperAnswer['session']> {
    return (await this.#ask({ id: this.#next++, argv, options: {}, session })).session;
  }

  #ask(request: HelperRequest, onEvent?: (event: KernelEvent) => void): Promise<HelperAnswer> {
    const child = (this.#child ??= this.#start());
    const what = request.watch ? `${request.watch} monitor` : request.argv.join(' ').slice(0, 200);
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { what, resolve, reject, ...(onEvent ? { onEvent } : {}) });
      child.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }

  stop(): void {
    this.#child?.stdin.end();
  }

  #start(): Child {
    const child = spawn(process.execPath, [...NODE_FLAGS, ...this.#argv], { stdio: ['pipe', 'pipe', 'inherit'], env: ENVIRONMENT });
    const lines = new Lines();
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      for (const line of lines.take(chunk)) this.#answered(JSON.parse(line) as HelperAnswer);
    });
    let why = 'the process that runs commands has ended';
    child.once('error', (error) => (why = error.message));
    // A write to one that has just died fails here; its end is told by `close`.
    child.stdin.on('error', () => undefined);
    child.once('close', () => this.#ended(child, why));
    return child;
  }

  #answered(answer: HelperAnswer): void {
    const { id, event, failure } = answer;
    const waiting = this.#waiting.get(id);
    if (event) return waiting?.onEvent?.(event);
    this.#waiting.delete(id);
    if (failure) waiting?.reject(new WeftError('COMMAND_FAILED', failure));
    else waiting?.resolve(answer);
  }

  #ended(child: Child, why: string): void {
    if (this.#child === child) this.#child = undefined;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { what, reject } of all) reject(new WeftError('COMMAND_FAILED', { what: `"${what}" was not finished`, why }));
  }
}

function resultOf({ result }: HelperAnswer): RunResult {
  if (!result) throw new WeftError('INTERNAL', 'the process that runs commands answered nothing');
  return result;
}
