/** The Store port on top of a Wire: what is the same for the real etcd and for its twin. */
import type { Clock } from '#base/clock.js';
import { systemClock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { silentLog } from '#base/log.js';
import { campaign } from './campaign.js';
import type { FollowTiming } from './follower.js';
import { Follower } from './follower.js';
import { listAll } from './listing.js';
import { LeaseSession } from './session.js';
import type { Compare, Entry, Feed, Following, Leadership, Listing, Session, Store, TxnResult, Write } from './store.js';
import { MAX_TXN_OPS, MAX_VALUE_BYTES } from './store.js';
import type { Wire } from './wire.js';

export interface WireStoreOptions {
  clock?: Clock;
  log?: Log;
  /** Intervals of `follow`, for tests. */
  timing?: Partial<FollowTiming>;
}

export class WireStore implements Store {
  readonly #wire: Wire;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timing: Partial<FollowTiming>;
  readonly #followers = new Set<Follower>();
  readonly #sessions = new Set<LeaseSession>();
  #closed = false;

  constructor(wire: Wire, options: WireStoreOptions = {}) {
    this.#wire = wire;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.#timing = options.timing ?? {};
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#mustBeOpen();
    const page = await this.#wire.range({ prefix: key, exact: true });
    const found = page.entries[0];
    return found && plain(found);
  }

  async list(prefix: string): Promise<Listing> {
    this.#mustBeOpen();
    const { clusterId, revision, entries } = await listAll(this.#wire, { prefix });
    return { clusterId, revision, entries: entries.map(plain) };
  }

  async txn(compares: Compare[], writes: Write[]): Promise<TxnResult> {
    this.#mustBeOpen();
    checkLimits(compares, writes);
    return this.#wire.txn(compares, writes);
  }

  follow(prefix: string, onFeed: (feed: Feed) => void): Following {
    this.#mustBeOpen();
    const follower = new Follower(this.#wire, prefix, onFeed, { clock: this.#clock, log: this.#log, ...this.#timing });
    this.#followers.add(follower);
    return {
      stop: async () => {
        this.#followers.delete(follower);
        follower.stop();
      },
    };
  }

  async openSession(ttlMs: number): Promise<Session> {
    this.#mustBeOpen();
    const session = await LeaseSession.open(this.#wire, ttlMs, { clock: this.#clock, log: this.#log });
    this.#sessions.add(session);
    session.lost.addEventListener('abort', () => this.#sessions.delete(session), { once: true });
    return session;
  }

  async campaign(electionKey: string, value: string, session: Session, signal?: AbortSignal): Promise<Leadership> {
    this.#mustBeOpen();
    return campaign(
      {
        wire: this.#wire,
        clock: this.#clock,
        log: this.#log,
        follow: (prefix, onFeed) => this.follow(prefix, onFeed),
      },
      { electionKey, value, session, signal },
    );
  }

  async health(): Promise<{ ok: boolean; detail: string; dbSizeBytes?: number; alarms?: string[] }> {
    try {
      this.#mustBeOpen();
      const status = await this.#wire.status();
      // A member that lost its quorum still answers `status`; only a linearizable read shows that the cluster works.
      await this.#wire.range({ prefix: '/', limit: 1, keysOnly: true });
      const { dbSizeBytes, alarms } = status;
      if (alarms.length > 0) return { ok: false, detail: `etcd raised ${alarms.join(', ')}`, dbSizeBytes, alarms };
      if (!status.hasLeader) return { ok: false, detail: 'etcd has no leader', dbSizeBytes, alarms };
      return { ok: true, detail: `etcd ${status.version} answers at revision ${status.revision}`, dbSizeBytes, alarms };
    } catch (error) {
      return { ok: false, detail: messageOf(error) };
    }
  }

  /** Ends follows and sessions. Leases are left to expire: closing a store is no statement about what its sessions stand for. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const follower of this.#followers) follower.stop();
    this.#followers.clear();
    for (const session of [...this.#sessions]) session.abandon('the store was closed');
    await this.#wire.close();
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new WeftError('STORE', { what: 'cannot use the store', why: 'it was closed' });
  }
}

function plain({ key, value, createRevision, modRevision }: Entry): Entry {
  return { key, value, createRevision, modRevision };
}

/** Refused here, so that no request leaves that etcd would refuse, or that would grow a value past what it takes. */
function checkLimits(compares: Compare[], writes: Write[]): void {
  const refuse = (why: string) => new WeftError('STORE', { what: 'cannot run the transaction', why });
  if (compares.length > MAX_TXN_OPS) throw refuse(`${compares.length} comparisons, ${MAX_TXN_OPS} are allowed`);
  if (writes.length > MAX_TXN_OPS) throw refuse(`${writes.length} writes, ${MAX_TXN_OPS} are allowed`);
  for (const write of writes) {
    if (!('put' in write)) continue;
    const size = Buffer.byteLength(write.value);
    if (size > MAX_VALUE_BYTES) throw refuse(`the value of ${write.put} has ${size} bytes, ${MAX_VALUE_BYTES} are allowed`);
  }
}
