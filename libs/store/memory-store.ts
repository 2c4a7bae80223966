/** The store in memory: one client of a `MemoryEtcd`. Several clients of one server see one truth, as with etcd. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { within } from '#base/timers.js';
import type { Log } from '#base/log.js';
import type { FollowTiming } from './follower.js';
import type { EtcdServer, MemoryWatch } from './memory-etcd.js';
import { MemoryEtcd, NotConnected, Refused } from './memory-etcd.js';
import type { Compare, TxnResult, Write } from './store.js';
import type { RangePage, RangeQuery, WatchHandlers, WatchStream, Wire, WireStatus } from './wire.js';
import { WireStore } from './wire-store.js';

/** As long as the real one waits (etcd-wire.ts). */
const DEADLINE_MS = 3_000;

export interface MemoryStoreOptions {
  log?: Log;
  /** The client's own clock; the server's by default. */
  clock?: Clock;
  /** Intervals of `follow`, for tests. */
  timing?: Partial<FollowTiming>;
}

/**
 * `new MemoryStore()` is a store of its own; `new MemoryStore(server)` a client of `server`, whose clock it uses. With a clock
 * that only tests move, everything it does is determined by the order of the calls.
 */
export class MemoryStore<S extends EtcdServer = MemoryEtcd> extends WireStore {
  readonly server: S;

  constructor(server: S = new MemoryEtcd() as EtcdServer as S, options: MemoryStoreOptions = {}) {
    super(new MemoryWire(server, options.clock ?? server.clock), { clock: server.clock, ...options });
    this.server = server;
  }
}

class MemoryWire implements Wire {
  readonly #server: EtcdServer;
  readonly #clock: Clock;
  readonly #watches = new Set<MemoryWatch>();

  constructor(server: EtcdServer, clock: Clock) {
    this.#server = server;
    this.#clock = clock;
  }

  range(query: RangeQuery): Promise<RangePage> {
    return this.#call('cannot read from the store', 'STORE', () => this.#server.range(query));
  }

  txn(compares: Compare[], writes: Write[]): Promise<TxnResult> {
    return this.#call('cannot write to the store', 'OUTCOME_UNKNOWN', () => this.#server.txn(compares, writes));
  }

  watch(query: { prefix: string; fromRevision: number }, handlers: WatchHandlers): WatchStream {
    const watch: MemoryWatch = { prefix: query.prefix, handlers, closed: false };
    this.#watches.add(watch);
    const failed = (error: Error) => {
      if (watch.closed) return;
      watch.closed = true;
      handlers.onEnd({ compacted: false, message: error.message });
    };
    this.#server.call(() => watch.closed || this.#server.watch(query.fromRevision, watch)).catch(failed);
    return {
      // No answer is what a dead stream gives; the watch itself is told by its own end.
      requestProgress: () => void this.#server.call(() => this.#server.progress(watch)).catch(() => undefined),
      cancel: () => {
        this.#watches.delete(watch);
        this.#server.unwatch(watch);
      },
    };
  }

  grantLease(ttlSeconds: number): Promise<{ leaseId: string; ttlMs: number }> {
    return this.#call('cannot open a session', 'STORE', () => this.#server.grantLease(ttlSeconds));
  }

  keepAlive(leaseId: string, deadlineMs: number): Promise<number> {
    return this.#call('cannot keep a session alive', 'STORE', () => this.#server.keepAlive(leaseId), deadlineMs);
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#call('cannot revoke a lease', 'OUTCOME_UNKNOWN', () => this.#server.revokeLease(leaseId));
  }

  status(): Promise<WireStatus> {
    return this.#call('the store does not tell its state', 'STORE', () => this.#server.status());
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) this.#server.unwatch(watch);
    this.#watches.clear();
  }

  /** One request with a deadline. `whenLost`: the code when the answer is missing, as opposed to a refusal. */
  async #call<T>(what: string, whenLost: 'STORE' | 'OUTCOME_UNKNOWN', operation: () => T, deadlineMs = DEADLINE_MS): Promise<T> {
    const late = () => new WeftError(whenLost, { what, why: `no answer within ${deadlineMs} ms` });
    try {
      return await within(this.#clock, deadlineMs, this.#server.call(operation), late);
    } catch (error) {
      if (error instanceof WeftError) throw error;
      const surelyNot = error instanceof NotConnected || error instanceof Refused;
      throw new WeftError(surelyNot ? 'STORE' : whenLost, { what, why: (error as Error).message, cause: error });
    }
  }
}
