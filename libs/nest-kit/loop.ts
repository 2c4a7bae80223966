/**
 * A loop: watch → mark → tick. Whoever sees a change marks the loop; the loop then ticks once, after a moment in which more
 * marks may come. Its start is a tick, so nothing depends on having seen every mark. A tick that throws is logged and tried
 * again with backoff; the loop ends only with its signal.
 */
import { backoffMs } from '#base/backoff.js';
import { systemClock, type Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { pause } from '#base/timers.js';

export interface LoopOptions {
  name: string;
  log: Log;
  /** Does the whole of what there is to do. Returns the milliseconds after which it wants to run again unmarked, if any. */
  tick(signal: AbortSignal): Promise<number | undefined | void>;
  /** How long to gather marks before a tick, in milliseconds. */
  debounceMs?: number;
  /** A tick at least this often, in milliseconds: what was missed is found. */
  everyMs?: number;
  clock?: Clock;
}

const DEFAULT_DEBOUNCE_MS = 5;
const DEFAULT_EVERY_MS = 30_000;
const RETRY = { initialMs: 100, maxMs: 5_000 };

export class Loop {
  readonly #options: LoopOptions;
  readonly #clock: Clock;
  #marked = false;
  #wake: (() => void) | undefined;
  #failures = 0;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Something changed: tick soon. */
  mark(): void {
    this.#marked = true;
    this.#wake?.();
  }

  /** Ticks until `signal` aborts; then resolves once the tick under way has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = DEFAULT_EVERY_MS, debounceMs = DEFAULT_DEBOUNCE_MS } = this.#options;
    while (!signal.aborted) {
      this.#marked = false;
      const wanted = await this.#tick(signal);
      if (this.#failures > 0) {
        // Marks do not shorten a backoff.
        await this.#pause(backoffMs(this.#failures - 1, RETRY), signal, true);
        continue;
      }
      await this.#pause(Math.min(wanted ?? everyMs, everyMs), signal, false);
      if (this.#marked) await this.#pause(debounceMs, signal, true);
    }
  }

  async #tick(signal: AbortSignal): Promise<number | undefined> {
    try {
      const wanted = await this.#options.tick(signal);
      this.#failures = 0;
      return wanted ?? undefined;
    } catch (error) {
      if (!signal.aborted) {
        this.#failures++;
        this.#options.log.warn({ loop: this.#options.name, error: messageOf(error), failures: this.#failures }, 'a tick failed');
      }
      return undefined;
    }
  }

  /** Waits; a mark ends it unless `deaf`. Never rejects. */
  async #pause(ms: number, signal: AbortSignal, deaf: boolean): Promise<void> {
    if (signal.aborted || (this.#marked && !deaf)) return;
    const { over, end } = pause(this.#clock, ms, signal);
    if (!deaf) this.#wake = end;
    await over;
    this.#wake = undefined;
  }
}
