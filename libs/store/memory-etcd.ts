/**
 * An etcd in memory: keys, revisions, history, leases and watches as etcd keeps them, and the faults that real ones have.
 * It does what etcd does even where that is unpleasant: a frozen server applies a write after its client gave up, a restart
 * renews every lease, an emptied one starts again at revision 1 under another cluster id.
 */
import type { Clock } from '#base/clock.js';
import { systemClock } from '#base/clock.js';
import type { Compare, Entry, TxnResult, Write } from './store.js';
import type { RangePage, RangeQuery, WatchHandlers, WireEntry, WireEvent, WireStatus } from './wire.js';
import { HistoryLost } from './wire.js';

interface Lease {
  ttlMs: number;
  expiresAt: number;
  timer: AbortController;
}

interface Commit {
  revision: number;
  events: WireEvent[];
}

export interface MemoryWatch {
  prefix: string;
  handlers: WatchHandlers;
  closed: boolean;
}

/** What etcd refuses; nothing was written. */
export class Refused extends Error {}
/** The server is down: the request was never sent. */
export class NotConnected extends Error {}
/** The connection broke while the request waited: whether it was applied is not known. */
export class ConnectionBroken extends Error {}

export interface MemoryEtcdOptions {
  clock?: Clock;
  /** The least time to live that is granted, in seconds. */
  minTtlSeconds?: number;
  /** Hears of every commit as it is made, before any watch does: for whoever checks what is written. */
  onCommit?: (revision: number, events: readonly WireEvent[]) => void;
}

/** What one client needs of the server: another way to it may lie between (delays, losses). */
export type EtcdServer = Pick<
  MemoryEtcd,
  'clock' | 'call' | 'range' | 'txn' | 'watch' | 'unwatch' | 'progress' | 'grantLease' | 'keepAlive' | 'revokeLease' | 'status'
>;

let made = 0;

export class MemoryEtcd {
  readonly clock: Clock;
  readonly #minTtlSeconds: number;
  readonly #onCommit: MemoryEtcdOptions['onCommit'];
  #mode: 'up' | 'frozen' | 'down' = 'up';
  #clusterId = '';
  #revision = 1;
  #compacted = 0;
  #entries = new Map<string, WireEntry>();
  /** The state at the compacted revision, and all commits since: together they give every revision that can be read. */
  #base = new Map<string, WireEntry>();
  #history: Commit[] = [];
  #leases = new Map<string, Lease>();
  #nextLease = 1;
  #watches = new Set<MemoryWatch>();
  #frozenCalls: { run: () => void; fail: (error: Error) => void }[] = [];

  constructor(options: MemoryEtcdOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.#minTtlSeconds = options.minTtlSeconds ?? 1;
    this.#onCommit = options.onCommit;
    this.#beNew();
  }

  // ---- faults ----------------------------------------------------------------------------------------------------

  /** Like kill -9: connections break, data stay. */
  kill(): void {
    this.#mode = 'down';
    for (const call of this.#frozenCalls.splice(0)) call.fail(new ConnectionBroken('the connection broke'));
    this.#endWatches('the connection broke');
  }

  /** A restarted etcd gives every lease its full time again (its lessor is promoted anew). */
  restart(): void {
    this.#mode = 'up';
    const now = this.clock.monotonic();
    for (const lease of this.#leases.values()) lease.expiresAt = now + lease.ttlMs;
  }

  /** Like SIGSTOP: nothing breaks, nothing answers. */
  freeze(): void {
    if (this.#mode === 'up') this.#mode = 'frozen';
  }

  /** What was sent meanwhile is applied now, in order; then overdue leases expire. */
  thaw(): void {
    if (this.#mode !== 'frozen') return;
    this.#mode = 'up';
    for (const call of this.#frozenCalls.splice(0)) call.run();
    for (const id of [...this.#leases.keys()]) this.#expireIfDue(id);
  }

  /** Forgets the history up to `revision` (by default: up to now). */
  compact(revision = this.#revision): void {
    if (revision <= this.#compacted || revision > this.#revision) return;
    this.#base = this.#stateAt(revision);
    this.#compacted = revision;
    this.#history = this.#history.filter((c) => c.revision > revision);
  }

  /** Like wiping the data directory: another cluster, at its beginning; or the same id, where it is derived from settings. */
  empty(options: { sameIdentity?: boolean } = {}): void {
    const clusterId = this.#clusterId;
    this.kill();
    this.#beNew();
    if (options.sameIdentity) this.#clusterId = clusterId;
    this.#mode = 'up';
  }

  /** Ends its timers, so that a test process can end. */
  close(): void {
    this.kill();
    for (const lease of this.#leases.values()) lease.timer.abort(new Error('closed'));
    this.#leases.clear();
  }

  // ---- calls ------------------------------------------------------------------------------------------------------

  /** Runs `operation` as one request: at once if up, on thaw if frozen. Rejects with NotConnected or ConnectionBroken. */
  call<T>(operation: () => T): Promise<T> {
    if (this.#mode === 'down') return Promise.reject(new NotConnected('connection refused'));
    return new Promise<T>((resolve, reject) => {
      const run = () => {
        try {
          resolve(operation());
        } catch (error) {
          reject(error as Error);
        }
      };
      if (this.#mode === 'frozen') this.#frozenCalls.push({ run, fail: reject });
      else run();
    });
  }

  range(query: RangeQuery): RangePage {
    const { revision = 0, limit = Infinity, after = '', keysOnly } = query;
    if (revision > this.#revision) throw new HistoryLost('required revision is a future revision');
    if (revision > 0 && revision < this.#compacted) throw new HistoryLost('required revision has been compacted');
    const state = revision > 0 ? this.#stateAt(revision) : this.#entries;
    const given = (e: WireEntry) => (keysOnly ? { ...e, value: '' } : { ...e });
    if (query.exact) {
      const found = state.get(query.prefix);
      return { ...this.#header(), entries: found ? [given(found)] : [], more: false };
    }
    if (limit === 1) {
      const { first, count } = firstOf(state.values(), query.prefix, after);
      return { ...this.#header(), entries: first ? [given(first)] : [], more: count > 1 };
    }
    const matching: WireEntry[] = [];
    for (const e of state.values()) if (e.key > after && e.key.startsWith(query.prefix)) matching.push(e);
    matching.sort((a, b) => (a.key < b.key ? -1 : 1));
    const entries = matching.slice(0, limit).map(given);
    return { ...this.#header(), entries, more: matching.length > entries.length };
  }

  txn(compares: Compare[], writes: Write[]): TxnResult {
    refuseOverlaps(writes);
    for (const write of writes) {
      if ('put' in write && write.lease && !this.#leases.has(write.lease)) throw new Refused('requested lease not found');
    }
    if (!compares.every((c) => this.#holds(c))) return { ok: false, revision: this.#revision };
    this.#commit(writes);
    return { ok: true, revision: this.#revision };
  }

  /** Registers the watch and delivers what it missed, then everything as it happens; always in later microtasks. */
  watch(fromRevision: number, watch: MemoryWatch): void {
    const header = this.#header();
    if (fromRevision <= this.#compacted) {
      return this.#tell(watch, (h) => {
        watch.closed = true;
        h.onEnd({ compacted: true, message: 'required revision has been compacted' });
      });
    }
    this.#tell(watch, (h) => h.onCreated(header));
    for (const commit of this.#history) if (commit.revision >= fromRevision) this.#deliver(watch, commit);
    this.#watches.add(watch);
  }

  progress(watch: MemoryWatch): void {
    const header = this.#header();
    this.#tell(watch, (h) => h.onProgress(header));
  }

  unwatch(watch: MemoryWatch): void {
    watch.closed = true;
    this.#watches.delete(watch);
  }

  grantLease(ttlSeconds: number): { leaseId: string; ttlMs: number } {
    const ttlMs = Math.max(this.#minTtlSeconds, ttlSeconds) * 1000;
    const leaseId = String(this.#nextLease++);
    const lease = { ttlMs, expiresAt: this.clock.monotonic() + ttlMs, timer: new AbortController() };
    this.#leases.set(leaseId, lease);
    void this.#watchExpiry(leaseId, lease);
    return { leaseId, ttlMs };
  }

  keepAlive(leaseId: string): number {
    const lease = this.#leases.get(leaseId);
    if (!lease) return 0;
    lease.expiresAt = this.clock.monotonic() + lease.ttlMs;
    return lease.ttlMs;
  }

  /** Also what expiry does: one revision in which every key of the lease goes. */
  revokeLease(leaseId: string): void {
    const lease = this.#leases.get(leaseId);
    if (!lease) return;
    this.#leases.delete(leaseId);
    lease.timer.abort(new Error('revoked'));
    this.#commit([...this.#entries.values()].filter((e) => e.lease === leaseId).map((e) => ({ delete: e.key })));
  }

  status(): WireStatus {
    return {
      ...this.#header(),
      memberId: '1',
      leaderId: '1',
      isLearner: false,
      version: 'in memory',
      dbSizeBytes: 0,
      hasLeader: true,
      alarms: [],
    };
  }

  // ---- inside ------------------------------------------------------------------------------------------------------

  #beNew(): void {
    for (const lease of this.#leases.values()) lease.timer.abort(new Error('emptied'));
    this.#leases.clear();
    this.#clusterId = (0xc0ffee0000 + ++made).toString(16);
    this.#revision = 1;
    this.#compacted = 0;
    this.#entries = new Map();
    this.#base = new Map();
    this.#history = [];
  }

  #header(): { clusterId: string; revision: number } {
    return { clusterId: this.#clusterId, revision: this.#revision };
  }

  #holds(compare: Compare): boolean {
    const entry = this.#entries.get(compare.key);
    if ('modRevision' in compare) return (entry?.modRevision ?? 0) === compare.modRevision;
    if ('createRevision' in compare) return (entry?.createRevision ?? 0) === compare.createRevision;
    return (entry !== undefined) === compare.exists;
  }

  #commit(writes: Write[]): void {
    const revision = this.#revision + 1;
    const events: WireEvent[] = [];
    const remove = (key: string) => {
      if (this.#entries.delete(key)) events.push({ type: 'delete', key, modRevision: revision });
    };
    for (const write of writes) {
      if ('put' in write) {
        const createRevision = this.#entries.get(write.put)?.createRevision ?? revision;
        const entry: Entry = { key: write.put, value: write.value, createRevision, modRevision: revision };
        this.#entries.set(write.put, { ...entry, lease: write.lease ?? '0' });
        events.push({ type: 'put', entry });
      } else if ('delete' in write) remove(write.delete);
      else for (const key of [...this.#entries.keys()]) if (key.startsWith(write.deletePrefix)) remove(key);
    }
    // As in etcd, a transaction that changes nothing makes no revision.
    if (events.length === 0) return;
    this.#revision = revision;
    this.#history.push({ revision, events });
    this.#onCommit?.(revision, events);
    for (const watch of this.#watches) this.#deliver(watch, { revision, events });
  }

  #stateAt(revision: number): Map<string, WireEntry> {
    const state = new Map(this.#base);
    for (const commit of this.#history) if (commit.revision <= revision) applyEvents(state, commit.events);
    return state;
  }

  #deliver(watch: MemoryWatch, commit: Commit): void {
    const events = commit.events.filter((e) => (e.type === 'put' ? e.entry.key : e.key).startsWith(watch.prefix));
    const header = { clusterId: this.#clusterId, revision: commit.revision };
    if (events.length > 0) this.#tell(watch, (h) => h.onEvents(header, events.map(copyOf)));
  }

  #tell(watch: MemoryWatch, say: (handlers: WatchHandlers) => void): void {
    queueMicrotask(() => {
      if (!watch.closed) say(watch.handlers);
    });
  }

  #endWatches(message: string): void {
    for (const watch of this.#watches) {
      queueMicrotask(() => {
        if (watch.closed) return;
        watch.closed = true;
        watch.handlers.onEnd({ compacted: false, message });
      });
    }
    this.#watches.clear();
  }

  async #watchExpiry(leaseId: string, lease: Lease): Promise<void> {
    while (this.#leases.get(leaseId) === lease) {
      const wait = Math.max(1, lease.expiresAt - this.clock.monotonic());
      await this.clock.sleep(wait, lease.timer.signal).catch(() => undefined);
      this.#expireIfDue(leaseId);
      // Overdue but not up: thaw and restart look after it; a pause keeps this loop from spinning meanwhile.
      if (this.#mode !== 'up') await this.clock.sleep(100, lease.timer.signal).catch(() => undefined);
    }
  }

  #expireIfDue(leaseId: string): void {
    const lease = this.#leases.get(leaseId);
    if (this.#mode === 'up' && lease && this.clock.monotonic() >= lease.expiresAt) this.revokeLease(leaseId);
  }
}

/** etcd allows a transaction to touch a key once; deletes may overlap one another. */
function refuseOverlaps(writes: Write[]): void {
  const puts = new Set<string>();
  for (const write of writes) {
    if (!('put' in write)) continue;
    if (puts.has(write.put)) throw new Refused('duplicate key given in txn request');
    puts.add(write.put);
  }
  for (const write of writes) {
    const hit =
      'delete' in write ? puts.has(write.delete) : 'deletePrefix' in write && [...puts].some((p) => p.startsWith(write.deletePrefix));
    if (hit) throw new Refused('duplicate key given in txn request');
  }
}

/** The first of a range by its key, and how many there are: asked for once in every beat of a follower. */
function firstOf(entries: Iterable<WireEntry>, prefix: string, after: string): { first: WireEntry | undefined; count: number } {
  let first: WireEntry | undefined;
  let count = 0;
  for (const entry of entries) {
    if (entry.key <= after || !entry.key.startsWith(prefix)) continue;
    count++;
    if (!first || entry.key < first.key) first = entry;
  }
  return { first, count };
}

/** Events are flat but for their entry: whoever gets one may do with it what he likes. */
const copyOf = (event: WireEvent): WireEvent => (event.type === 'put' ? { type: 'put', entry: { ...event.entry } } : { ...event });

function applyEvents(state: Map<string, WireEntry>, events: WireEvent[]): void {
  for (const event of events) {
    if (event.type === 'put') state.set(event.entry.key, { ...event.entry, lease: '0' });
    else state.delete(event.key);
  }
}
