/** Processes of the fake runtime: what they do is known beforehand. */
import { PassThrough, Readable, Writable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import type { FakeProgram } from './fake-programs.js';
import type { ContainerInfo, ExecSession } from './runtime.js';
import { signalNumber } from './signals.js';

export const SIGKILL = 9;
const FIRST_PID = 4_000_000;
let lastPid = FIRST_PID;

/** A main process: what it does is known beforehand. */
export class FakeProcess {
  readonly #program: FakeProgram;
  readonly #onExit: (exitCode: number, at: number) => void;
  readonly #pid = ++lastPid;
  readonly exited: Promise<number>;
  #resolve: (code: number) => void = () => undefined;
  #state: 'created' | 'running' | 'stopped' = 'created';
  #timer: NodeJS.Timeout | undefined;
  #end: { exitCode: number; exitedAt: number } | undefined;

  /** @param hasInput its input is open: what reads it waits for its end */
  constructor(program: FakeProgram, onExit: (exitCode: number, at: number) => void, hasInput = false) {
    this.#program = hasInput && program.echoesInput ? { ...program, runsMs: Infinity } : program;
    this.#onExit = onExit;
    this.exited = new Promise((resolve) => (this.#resolve = resolve));
  }

  info(): Pick<ContainerInfo, 'state' | 'pid' | 'exitCode' | 'exitedAt'> {
    return this.#end ? { state: 'stopped', ...this.#end } : { state: this.#state, pid: this.#pid };
  }

  start(): number {
    if (this.#state !== 'created') throw new WeftError('RUNTIME', { what: 'cannot start the container', why: `it is ${this.#state}` });
    this.#state = 'running';
    const { runsMs, exitCode } = this.#program;
    if (runsMs !== Infinity) this.#timer = setTimeout(() => this.end(exitCode), runsMs);
    return this.#pid;
  }

  end(exitCode: number): void {
    if (this.#end) return;
    clearTimeout(this.#timer);
    this.#state = 'stopped';
    this.#end = { exitCode, exitedAt: Date.now() };
    this.#resolve(exitCode);
    this.#onExit(exitCode, this.#end.exitedAt);
  }

  /** Ended, it ends a program that reads its input. */
  input(): Writable {
    return new Writable({
      write: (_chunk, _encoding, done) => done(),
      final: (done) => {
        if (this.#program.echoesInput) this.end(0);
        done();
      },
    });
  }

  signal(signal: number): void {
    const handled = this.#program.onSignal[signal];
    if (signal === SIGKILL) this.end(128 + SIGKILL);
    else if (handled !== undefined) this.end(handled);
  }

  async stop(signal: number, graceMs: number): Promise<number> {
    if (this.#end) return this.#end.exitCode;
    const handled = this.#program.onSignal[signal];
    if (this.#state === 'running' && signal !== SIGKILL) {
      if (handled !== undefined) this.end(handled);
      else {
        let timer: NodeJS.Timeout | undefined;
        await Promise.race([this.exited, new Promise((resolve) => (timer = setTimeout(resolve, graceMs)))]);
        clearTimeout(timer);
      }
    }
    this.end(128 + SIGKILL);
    return this.exited;
  }
}

/** A process added to a container. */
export function fakeSession(program: FakeProgram): ExecSession {
  const stdout = new PassThrough();
  let finish: (code: number) => void = () => undefined;
  const exited = new Promise<number>((resolve) => (finish = resolve));
  let timer: NodeJS.Timeout | undefined;
  const end = (code: number) => {
    clearTimeout(timer);
    stdout.end();
    finish(code);
  };
  if (program.stdout) stdout.write(program.stdout);
  const stdin = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (program.echoesInput) stdout.write(chunk);
      done();
    },
    final: (done) => {
      if (program.echoesInput) end(0);
      done();
    },
  });
  if (!program.echoesInput && program.runsMs !== Infinity) timer = setTimeout(() => end(program.exitCode), program.runsMs);
  return {
    stdin,
    stdout,
    stderr: Readable.from([]),
    resize: () => Promise.resolve(),
    signal: (name) => Promise.resolve(end(128 + signalNumber(name))),
    exited,
  };
}
