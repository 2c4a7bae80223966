/**
 * When agents are told what is new: all of them at once, so that what several are told is made once. Changes gather meanwhile;
 * after a pause the first goes nearly at once, and where telling takes long, longer.
 */
import type { Clock } from '#base/clock.js';

/** Changes gather for this long after the last time, in milliseconds. */
const GATHER_MS = 20;
const FIRST_MS = 3;
/** Telling takes half of the time at most, but nobody waits longer than this for it, in milliseconds. */
const MAX_GATHER_MS = 200;

export class Pulse {
  readonly #clock: Clock;
  #next: Promise<void> | undefined;
  #lastAt = -Infinity;
  #tookMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves at the next time, together for all who wait. */
  next(): Promise<void> {
    return (this.#next ??= this.#rest());
  }

  async #rest(): Promise<void> {
    const gatherMs = Math.min(MAX_GATHER_MS, Math.max(GATHER_MS, this.#tookMs * 2));
    await this.#clock.sleep(Math.max(FIRST_MS, gatherMs - (this.#clock.monotonic() - this.#lastAt)));
    this.#next = undefined;
    this.#lastAt = this.#clock.monotonic();
    void this.#measure(this.#lastAt);
  }

  /** All who waited go on before any timer does. */
  async #measure(began: number): Promise<void> {
    await this.#clock.sleep(0);
    this.#tookMs = this.#clock.monotonic() - began;
  }
}
