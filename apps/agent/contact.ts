/**
 * Whether controllers hear this node. Its own word for it is what a controller has confirmed to have read: what the node hears
 * proves nothing, a way may be cut in one direction only. Times are taken when a heartbeat was sent, so that the node
 * never thinks itself heard for longer than its controllers do (libs/model node-death.ts).
 */
import type { Clock } from '#base/clock.js';
import { after } from '#base/timers.js';

/** unknown: this agent has just started, and was not heard yet. */
export type ContactState = 'heard' | 'unknown' | 'cut off';

export interface ContactOptions {
  /** How long without being heard makes it cut off, in milliseconds. */
  cutOffAfterMs: () => number;
  clock: Clock;
}

export class Contact {
  readonly #o: ContactOptions;
  readonly #listeners = new Set<() => void>();
  readonly #startedAt: number;
  /** When what was heard last had been sent, monotonic milliseconds. */
  #heardAt: number | undefined;
  #last: ContactState = 'unknown';
  #offTimer: () => void = () => undefined;

  constructor(options: ContactOptions) {
    this.#o = options;
    this.#startedAt = options.clock.monotonic();
    this.#wait();
  }

  get state(): ContactState {
    if (this.#leftMs() <= 0) return 'cut off';
    return this.#heardAt === undefined ? 'unknown' : 'heard';
  }

  /** A controller has read what was sent then. @param sentAt monotonic milliseconds */
  confirmed(sentAt: number): void {
    this.#heardAt = Math.max(this.#heardAt ?? -Infinity, sentAt);
    this.#look();
  }

  /** @returns what ends it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  stop(): void {
    this.#offTimer();
    this.#listeners.clear();
  }

  #leftMs(): number {
    const { clock, cutOffAfterMs } = this.#o;
    return (this.#heardAt ?? this.#startedAt) + cutOffAfterMs() - clock.monotonic();
  }

  #look(): void {
    const { state } = this;
    const before = this.#last;
    this.#last = state;
    if (before === 'cut off' && state !== 'cut off') this.#wait();
    if (state !== before) for (const listener of [...this.#listeners]) listener();
  }

  /** One timer at a time, however often it is heard. */
  #wait(): void {
    this.#offTimer = after(this.#o.clock, Math.max(1, Math.ceil(this.#leftMs())), () => {
      if (this.state === 'cut off') this.#look();
      else this.#wait();
    });
  }
}
