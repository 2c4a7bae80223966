/** A simulated process: its clock stops with it. Frozen, it catches up when it is thawed; dead, nothing of it happens any more. */
import type { Clock } from '#base/clock.js';
import type { Timeline } from './timeline.js';

const EPOCH = 1_700_000_000_000;

export class SimProcess implements Clock {
  readonly name: string;
  readonly #timeline: Timeline;
  readonly #backlog: (() => void)[] = [];
  readonly #onDeath: (() => void)[] = [];
  #state: 'up' | 'frozen' | 'dead' = 'up';

  constructor(name: string, timeline: Timeline) {
    this.name = name;
    this.#timeline = timeline;
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen';
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  now = (): number => EPOCH + this.#timeline.now;
  monotonic = (): number => this.#timeline.now;

  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = () => {
        planned.act = undefined;
        reject(signal?.reason as Error);
      };
      const wake = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      // As timers of Node do: whole milliseconds, and at least one.
      const planned = this.#timeline.after(ms <= 0 && !signal ? 0 : Math.max(1, Math.floor(ms)), () => this.do(wake));
      signal?.addEventListener('abort', onAbort, { once: true });
    });

  timer = (ms: number, act: () => void): (() => void) => {
    const planned = this.#timeline.after(Math.max(1, Math.floor(ms)), () => this.do(() => isOff || act()));
    let isOff = false;
    return () => {
      isOff = true;
      planned.act = undefined;
    };
  };

  /** Something happens to it: now, when it is thawed, or never. */
  do(act: () => void): void {
    if (this.#state === 'up') act();
    else if (this.#state === 'frozen') this.#backlog.push(act);
  }

  /** SIGSTOP. */
  freeze(): void {
    if (this.#state === 'up') this.#state = 'frozen';
  }

  /** SIGCONT: what came meanwhile is seen in order. */
  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'up';
    for (const act of this.#backlog.splice(0)) this.#timeline.after(0, () => this.do(act));
  }

  /** kill -9. */
  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#backlog.length = 0;
    for (const tell of this.#onDeath.splice(0)) tell();
  }

  /** What its kernel does for it when it is gone: connections are closed. */
  onDeath(tell: () => void): void {
    this.#onDeath.push(tell);
  }
}
