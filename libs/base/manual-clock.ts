/** A clock that only its owner moves, for tests in which time is part of the input. */
import type { Clock } from './clock.js';

interface Sleeper {
  at: number;
  wake: () => void;
}

export class ManualClock implements Clock {
  #elapsedMs = 0;
  readonly #startMs: number;
  readonly #sleepers = new Set<Sleeper>();

  /** @param startMs what `now()` says at first, in milliseconds since the epoch. */
  constructor(startMs = 1_700_000_000_000) {
    this.#startMs = startMs;
  }

  now(): number {
    return this.#startMs + this.#elapsedMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const sleeper: Sleeper = { at: this.#elapsedMs + ms, wake: () => (signal?.removeEventListener('abort', onAbort), resolve()) };
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  /** Moves time on, waking sleepers in order of their time; what each starts has run before the next one wakes. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsedMs + ms;
    await settle();
    for (;;) {
      const due = [...this.#sleepers].filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#sleepers.delete(due);
      this.#elapsedMs = Math.max(this.#elapsedMs, due.at);
      due.wake();
      await settle();
    }
    this.#elapsedMs = end;
  }
}

/** Lets every promise that can resolve without time resolve: a macrotask runs only when no microtask is left. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
