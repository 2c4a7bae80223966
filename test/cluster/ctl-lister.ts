/** Lists through a `ctl` that stays (staying-ctl.mjs): for tests that ask until something is so. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

const PROGRAM = join(process.cwd(), 'test', 'cluster', 'staying-ctl.mjs');
/** What a listing may take on a busy machine. */
const MOST_MS = 90_000;

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

interface Waiting {
  resolve: (outcome: Outcome) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export class CtlLister {
  readonly #where: { cwd: string; env: NodeJS.ProcessEnv };
  readonly #waiting = new Map<number, Waiting>();
  #child: ChildProcess | undefined;
  #asked = 0;

  constructor(where: { cwd: string; env: NodeJS.ProcessEnv }) {
    this.#where = where;
  }

  /** As `ctl ARGS` would end. */
  run(args: readonly string[]): Promise<Outcome> {
    const child = (this.#child ??= this.#start());
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`ctl ${args.join(' ')} did not end within ${MOST_MS} ms`));
      }, MOST_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      child.send({ id, args });
    });
  }

  stop(): void {
    this.#child?.disconnect();
    this.#child = undefined;
  }

  #start(): ChildProcess {
    const child = fork(PROGRAM, [], { ...this.#where, execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    child.on('message', ({ id, ...outcome }: Outcome & { id: number }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      clearTimeout(waiting?.timer);
      waiting?.resolve(outcome);
    });
    child.once('exit', (code, signal) => {
      if (this.#child === child) this.#child = undefined;
      for (const [id, { reject, timer }] of this.#waiting) {
        this.#waiting.delete(id);
        clearTimeout(timer);
        reject(new Error(`the ctl that lists ended (${code ?? signal})`));
      }
    });
    return child;
  }
}
