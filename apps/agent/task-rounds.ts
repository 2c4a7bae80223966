/**
 * Goes round the tasks' namespaces, a few at a time, and looks at their nft tables: the kernel tells nobody of changes there,
 * and reading everything at once takes too long to be done often. Finding is all it does; who is told looks at everything.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';

/** Once round in so long, if the share allows it. */
const ROUND_MS = 2_000;
/** Looked at side by side: what waits behind them waits as long as one takes. */
const AT_ONCE = 4;
/** Of the time, at most this share: 100 tasks take some three seconds a round. */
const SHARE = 0.1;
/** While something else is under way. */
const BUSY_MS = 100;

export interface TaskRoundsOptions {
  /** Those to go round, in any order; they may be others each time. */
  namespaces: () => readonly string[];
  /** Which of these are not as they should be. */
  glance: (namespaces: readonly string[]) => Promise<readonly string[]>;
  /** While it is, nothing is looked at. */
  isBusy: () => boolean;
  onWrong: (namespaces: readonly string[]) => void;
  clock: Clock;
  log: Log;
}

export class TaskRounds {
  readonly #o: TaskRoundsOptions;
  #timer: NodeJS.Timeout | undefined;
  /** The last that was looked at; the next is the one behind it by name. */
  #last = '';
  #stopped = false;

  constructor(options: TaskRoundsOptions) {
    this.#o = options;
  }

  start(): void {
    this.#in(ROUND_MS);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #in(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#step(), ms);
  }

  async #step(): Promise<void> {
    const { namespaces, glance, isBusy, onWrong, clock, log } = this.#o;
    if (isBusy()) return this.#in(BUSY_MS);
    const all = namespaces();
    const next = nextOf(all, this.#last, AT_ONCE);
    this.#last = next.at(-1) ?? '';
    const began = clock.monotonic();
    try {
      const wrong = next.length === 0 ? [] : await glance(next);
      if (wrong.length > 0 && !this.#stopped) onWrong(wrong);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'could not look at the rules of tasks');
    }
    this.#in(pauseMs(all.length, clock.monotonic() - began));
  }
}

/** Until the next few, when these took so long. */
export const pauseMs = (namespaces: number, tookMs: number): number =>
  Math.max(Math.min(ROUND_MS, (ROUND_MS * AT_ONCE) / Math.max(1, namespaces)), tookMs / SHARE);

/** The `count` behind `last` by name, and from the beginning again; none twice. */
export function nextOf(names: readonly string[], last: string, count: number): string[] {
  const sorted = [...names].sort();
  const at = sorted.findIndex((name) => name > last);
  return (at < 0 ? sorted : [...sorted.slice(at), ...sorted.slice(0, at)]).slice(0, count);
}
