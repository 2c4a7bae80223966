/** A clock whose sleeps do not end while it is paused: holds a client back until the test has done something behind its back. */
import type { Clock } from '#base/clock.js';
import { systemClock } from '#base/clock.js';

export class PausableClock implements Clock {
  #resumed = Promise.resolve();
  #resume: () => void = () => undefined;

  now(): number {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await systemClock.sleep(ms, signal);
    await this.#resumed;
    signal?.throwIfAborted();
  }

  pause(): void {
    this.#resumed = new Promise((resolve) => (this.#resume = resolve));
  }

  resume(): void {
    this.#resume();
  }
}
