/**
 * When to look for drift: on a timer, and at once when the kernel tells of a change that was not ours. Our own changes are
 * told of too: what comes while we work, or just after, counts only if it tells of the loss of something that should be
 * there. So our own changes cause no look, and a foreign one is seen while we are busy, too.
 */
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { isLossOf, type KernelEvent } from '#linux/kernel-events.js';
import type { KernelState } from '#overlay/kernel-state.js';

/** Without news, so often: for what the kernel does not tell of (sysctls; nft in tasks' namespaces has its own rounds, task-rounds.ts). */
const REPAIR_MS = 4_000;
/** While much changes, looking for drift waits for a moment without changes; but not for long. */
const QUIET_MS = 1_500;
const REPAIR_LATEST_MS = 15_000;
const AGAIN_MS = 200;
/** Looking for drift takes time that grows with the tasks: of the time between, at most this share. */
const REPAIR_SHARE = 0.05;
const REPAIR_MOST_MS = 30_000;
/** Changes come in groups: a bridge that goes takes its rows along, in as many messages. */
const GATHER_MS = 100;
/** The kernel tells of some of our own changes (carrier, state of a port) this much later. */
const SETTLE_MS = 1_500;
/** Somebody who changes things all the time gets this share of our time, and not all of it. */
const NEWS_SHARE = 0.25;
const NEWS_MOST_MS = 2_500;

export interface RepairTimerOptions {
  /** Begins `work`; false: something else is under way. */
  begin: (work: () => Promise<void>) => boolean;
  repair: () => Promise<void>;
  /** The last change of our own: when it ended (monotonic), or now while one is under way. */
  changedAt: () => number;
  desired: () => KernelState | undefined;
  /** News of the kernel; left out where it tells none. */
  events?: ((onEvent: (event: KernelEvent) => void) => Stop) | undefined;
  clock: Clock;
}

export class RepairTimer {
  readonly #o: RepairTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopEvents: Stop | undefined;
  #isUrgent = false;
  #lookedAt = -Infinity;
  #lookTookMs = 0;
  #stopped = false;

  constructor(options: RepairTimerOptions) {
    this.#o = options;
  }

  start(): void {
    this.#in(REPAIR_MS);
    this.#stopEvents = this.#o.events?.((event) => this.#heard(event));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#stopEvents?.();
  }

  #heard(event: KernelEvent): void {
    if (this.#isUrgent || this.#stopped) return;
    const { clock, changedAt, desired } = this.#o;
    const isMaybeOurs = !event.isForeign && clock.monotonic() - changedAt() < SETTLE_MS;
    // What need not be there is nobody's loss: learnt neighbours of the node come and go.
    const counts = !isMaybeOurs && !(event.isLoss && event.isNode && !event.isForeign);
    if (counts || isLossOf(event, desired())) this.soon();
  }

  /** Something is known to be wrong: looks as soon as its share of the time allows. */
  soon(): void {
    if (this.#isUrgent || this.#stopped) return;
    const { clock } = this.#o;
    this.#isUrgent = true;
    const restMs = Math.min(NEWS_MOST_MS, this.#lookTookMs / NEWS_SHARE);
    this.#in(Math.max(GATHER_MS, this.#lookedAt + restMs - clock.monotonic()));
  }

  /** @param dueAt since when a look has been due, if it was put off */
  #in(ms: number, dueAt?: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      const { clock, changedAt, begin } = this.#o;
      const now = clock.monotonic();
      const due = dueAt ?? now;
      const quietMs = now - changedAt();
      const isPutOff = !this.#isUrgent && quietMs < QUIET_MS && now - due < REPAIR_LATEST_MS - REPAIR_MS;
      if (isPutOff || !begin(() => this.#look(now))) this.#in(this.#isUrgent ? AGAIN_MS : Math.max(QUIET_MS - quietMs, AGAIN_MS), due);
    }, ms);
  }

  async #look(began: number): Promise<void> {
    // From here on news is of what this look may not see any more.
    this.#isUrgent = false;
    await this.#o.repair();
    this.#lookedAt = this.#o.clock.monotonic();
    this.#lookTookMs = this.#lookedAt - began;
    // News that came meanwhile has set the timer already.
    if (!this.#isUrgent) this.#in(Math.min(REPAIR_MOST_MS, Math.max(REPAIR_MS, this.#lookTookMs / REPAIR_SHARE)));
  }
}
