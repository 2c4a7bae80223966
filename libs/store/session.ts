/**
 * A lease that fences itself. etcd counts a lease's time from when it received the last keep-alive, we count ours from when
 * we *sent* it, and stop a tenth earlier: so our `lost` comes before etcd can give what the lease protects to somebody else,
 * even when etcd, the network or our own requests hang.
 */
import type { Clock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Session } from './store.js';
import type { Wire } from './wire.js';

/** Part of the granted time for which the lease counts as held; the rest covers clock drift and a late timer. */
const HELD_FRACTION = 0.9;
/** Keep-alives a time to live: two may fail before the lease is in danger. */
const BEATS_PER_TTL = 3;
/** After a failed keep-alive, in milliseconds. */
const RETRY_MS = 200;
/** The longest wait for one answer; a part of the time to live where that is short, so that a second try (elsewhere) fits in. */
const ANSWER_MS = 3_000;
const LEAST_ANSWER_MS = 300;

export interface SessionOptions {
  clock: Clock;
  log: Log;
}

export class LeaseSession implements Session {
  readonly leaseId: string;
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #lost = new AbortController();
  #ttlMs: number;
  #heldUntil: number;

  /** @param ttlMs at least what is asked for: etcd grants whole seconds, and has a minimum. @throws STORE, OUTCOME_UNKNOWN */
  static async open(wire: Wire, ttlMs: number, options: SessionOptions): Promise<LeaseSession> {
    const sentAt = options.clock.monotonic();
    const { leaseId, ttlMs: grantedMs } = await wire.grantLease(Math.max(1, Math.ceil(ttlMs / 1000)));
    return new LeaseSession(wire, { leaseId, grantedMs, sentAt }, options);
  }

  private constructor(wire: Wire, grant: { leaseId: string; grantedMs: number; sentAt: number }, options: SessionOptions) {
    this.leaseId = grant.leaseId;
    this.#wire = wire;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#ttlMs = grant.grantedMs;
    this.#heldUntil = grant.sentAt + grant.grantedMs * HELD_FRACTION;
    void this.#watchDeadline();
    void this.#keepAlive();
  }

  /** Checks the deadline itself: a blocked event loop cannot make a passed deadline look held. */
  get lost(): AbortSignal {
    this.#checkDeadline();
    return this.#lost.signal;
  }

  remainingMs(): number {
    if (this.#lost.signal.aborted) return 0;
    return Math.max(0, this.#heldUntil - this.#clock.monotonic());
  }

  async close(): Promise<void> {
    this.abandon('the session was closed');
    try {
      await this.#wire.revokeLease(this.leaseId);
    } catch (error) {
      this.#log.debug({ lease: this.leaseId, error: messageOf(error) }, 'could not revoke a lease; it will expire');
    }
  }

  /** Stops holding without telling etcd: the lease expires by itself. */
  abandon(why: string): void {
    if (this.#lost.signal.aborted) return;
    this.#lost.abort(new WeftError('STORE', { what: 'the session is over', why }));
  }

  #checkDeadline(): void {
    if (this.#clock.monotonic() >= this.#heldUntil) this.#lose('etcd confirmed no keep-alive in time');
  }

  #lose(why: string): void {
    if (this.#lost.signal.aborted) return;
    this.#log.warn({ lease: this.leaseId, why }, 'session lost');
    this.abandon(why);
  }

  async #watchDeadline(): Promise<void> {
    const { signal } = this.#lost;
    while (!signal.aborted) {
      await this.#clock.sleep(Math.max(1, this.#heldUntil - this.#clock.monotonic()), signal).catch(() => undefined);
      this.#checkDeadline();
    }
  }

  async #keepAlive(): Promise<void> {
    const { signal } = this.#lost;
    let pauseMs = this.#ttlMs / BEATS_PER_TTL;
    while (!signal.aborted) {
      await this.#clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      pauseMs = (await this.#beat()) ? this.#ttlMs / BEATS_PER_TTL : RETRY_MS;
    }
  }

  async #beat(): Promise<boolean> {
    const sentAt = this.#clock.monotonic();
    try {
      const ttlMs = await this.#wire.keepAlive(this.leaseId, Math.max(LEAST_ANSWER_MS, Math.min(ANSWER_MS, this.#ttlMs / 4)));
      if (ttlMs <= 0) this.#lose('etcd no longer knows the lease');
      // An answer that arrives after our deadline does not bring the lease back: `lost` has been told already, or is due.
      else if (this.#clock.monotonic() >= this.#heldUntil) this.#checkDeadline();
      else {
        this.#ttlMs = ttlMs;
        this.#heldUntil = Math.max(this.#heldUntil, sentAt + ttlMs * HELD_FRACTION);
      }
      return true;
    } catch (error) {
      this.#log.debug({ lease: this.leaseId, error: messageOf(error) }, 'a keep-alive failed');
      return false;
    }
  }
}
