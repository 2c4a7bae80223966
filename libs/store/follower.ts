/**
 * Following a prefix: list, then watch from the listing's revision, and never trust the watch alone.
 *
 * etcd's watch is silent when etcd is frozen or the network drops packets, dies when its revision is compacted, and goes on
 * as if nothing were wrong against an etcd that was emptied or restored. So the follower keeps its own revision and the
 * cluster's id, asks for a sign of life on the stream and for a linearizable read every beat, and before it goes on after a
 * break it proves that the server's past, at our revision, is what we delivered. Where it cannot prove that, it lists again.
 */
import type { Clock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { within } from '#base/timers.js';
import { listAll } from './listing.js';
import type { Entry, Feed } from './store.js';
import type { Header, Wire, WireEvent } from './wire.js';
import { HistoryLost } from './wire.js';

export interface FollowTiming {
  /** Between two signs of life. Together with `answerMs`, the longest time a dead feed looks alive. */
  beatMs: number;
  /** How long a sign of life may take. */
  answerMs: number;
  /** Between tries while etcd does not answer. Constant: a growing delay would prolong every outage. */
  retryMs: number;
  /** Between two comparisons of everything delivered with what etcd has, which find losses that nothing reported. */
  auditMs: number;
  /** After a resumed watch was created, how long until a progress answer is believed to follow the events before it. */
  catchUpMs: number;
}

/**
 * etcd sends unsynced watchers their backlog in a loop of 100 ms, and before 3.4.25/3.5.8 may answer a progress request
 * before that backlog (etcd issue 15220): hence `catchUpMs`.
 */
export const FOLLOW_TIMING: FollowTiming = { beatMs: 1_000, answerMs: 2_500, retryMs: 500, auditMs: 60_000, catchUpMs: 300 };

/** Between two questions to a member that is behind the cluster, in milliseconds. */
const LAG_MS = 100;

/** The feed must start again with a listing; anything else that breaks it may be resumed. */
class MustRelist extends WeftError {
  /** @param quiet nothing was lost and etcd answers: no reason to call the feed stale. */
  constructor(
    why: string,
    readonly quiet = false,
  ) {
    super('STORE', { what: 'cannot go on from the last revision', why });
  }
}

export interface FollowerOptions extends Partial<FollowTiming> {
  clock: Clock;
  log: Log;
}

export class Follower {
  readonly #wire: Wire;
  readonly #prefix: string;
  readonly #onFeed: (feed: Feed) => void;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timing: FollowTiming;
  readonly #stop = new AbortController();
  /** What was delivered: key → modRevision. Undefined until the first listing, and when it must be thrown away. */
  #known: Map<string, number> | undefined;
  #clusterId = '';
  #revision = 0;
  #isStale = false;
  #auditDueAt = 0;

  constructor(wire: Wire, prefix: string, onFeed: (feed: Feed) => void, options: FollowerOptions) {
    this.#wire = wire;
    this.#prefix = prefix;
    this.#onFeed = onFeed;
    this.#clock = options.clock;
    this.#log = options.log;
    const { beatMs, answerMs, retryMs, auditMs, catchUpMs } = { ...FOLLOW_TIMING, ...options };
    this.#timing = { beatMs, answerMs, retryMs, auditMs, catchUpMs };
    void this.#run();
  }

  /** Nothing is delivered after this call; a request under way is left to its own deadline. */
  stop(): void {
    this.#stop.abort(new WeftError('STORE', 'the feed was stopped'));
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        const seen = this.#known ? await this.#proveHistory(this.#known) : undefined;
        if (seen === undefined) await this.#relist();
        await this.#watch(seen);
      } catch (error) {
        if (this.#stopped) return;
        if (error instanceof MustRelist || error instanceof HistoryLost) this.#known = undefined;
        if (error instanceof MustRelist && error.quiet) continue;
        this.#markStale(messageOf(error));
        await this.#clock.sleep(this.#timing.retryMs, this.#stop.signal).catch(() => undefined);
      }
    }
  }

  #emit(feed: Feed): void {
    if (this.#stopped) return;
    try {
      this.#onFeed(feed);
    } catch (error) {
      // The consumer may have applied half of it: only a new snapshot makes that good.
      this.#log.error({ prefix: this.#prefix, error: messageOf(error) }, 'a consumer of the store failed; it gets a new snapshot');
      throw new MustRelist(`a consumer failed: ${messageOf(error)}`);
    }
  }

  #markStale(reason: string): void {
    if (this.#isStale) return;
    this.#isStale = true;
    this.#log.warn({ prefix: this.#prefix, reason }, 'the store feed is stale');
    try {
      this.#emit({ type: 'stale', reason });
    } catch {
      this.#known = undefined;
    }
  }

  #markLive(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#log.info({ prefix: this.#prefix, revision: this.#revision }, 'the store feed is live again');
    this.#emit({ type: 'live' });
  }

  async #relist(): Promise<void> {
    const { clusterId, revision, entries } = await listAll(this.#wire, { prefix: this.#prefix });
    if (this.#stopped) return;
    this.#clusterId = clusterId;
    this.#revision = revision;
    this.#known = new Map(entries.map((e) => [e.key, e.modRevision]));
    // The first beat audits: it proves that the server that answers the watch is the one that was listed.
    this.#auditDueAt = this.#clock.monotonic();
    this.#isStale = false;
    const plain = entries.map(({ key, value, createRevision, modRevision }) => ({ key, value, createRevision, modRevision }));
    this.#emit({ type: 'snapshot', clusterId, revision, entries: plain });
  }

  /**
   * Reads the server's state at our revision and compares it with what we delivered.
   * @returns the server's present revision. @throws MustRelist or HistoryLost when its history is not ours.
   */
  async #proveHistory(known: Map<string, number>): Promise<number> {
    const delivered = new Map(known);
    const at = this.#revision;
    const now = await this.#checkHeader();
    const past = await listAll(this.#wire, { prefix: this.#prefix, revision: at, keysOnly: true });
    this.#auditDueAt = this.#clock.monotonic() + this.#timing.auditMs;
    const same = past.entries.length === delivered.size && past.entries.every((e) => delivered.get(e.key) === e.modRevision);
    if (same) return now;
    this.#log.warn({ prefix: this.#prefix, revision: at }, 'what was delivered differs from what etcd holds');
    throw new MustRelist(`etcd's state at revision ${at} is not what it delivered`);
  }

  /** One linearizable read. @returns the server's revision. @throws MustRelist if the server's identity or revision went back. */
  async #checkHeader(): Promise<number> {
    const floor = this.#revision;
    const header = await this.#wire.range({ prefix: this.#prefix, limit: 1, keysOnly: true });
    this.#sameCluster(header);
    if (header.revision < floor) throw new MustRelist(`etcd is at revision ${header.revision}, we were at ${floor}`);
    return header.revision;
  }

  #sameCluster(header: Header): void {
    if (header.clusterId !== this.#clusterId) throw new MustRelist(`the cluster id changed from ${this.#clusterId} to ${header.clusterId}`);
  }

  /** Delivers changes until the stream breaks (throws). `serverRevision`: resuming, and live again once this is reached. */
  async #watch(serverRevision: number | undefined): Promise<void> {
    if (this.#stopped) return;
    const line = new WatchLine(this.#wire, { prefix: this.#prefix, fromRevision: this.#revision + 1 }, (header, events) => {
      this.#sameCluster(header);
      this.#deliver(events);
      if (serverRevision !== undefined && this.#revision >= serverRevision) this.#markLive();
    });
    const onStop = () => line.break(this.#stop.signal.reason as Error);
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    try {
      await Promise.race([line.broken, this.#keepBeating(line, serverRevision)]);
    } finally {
      this.#stop.signal.removeEventListener('abort', onStop);
      line.break(new WeftError('STORE', 'the watch was replaced'));
    }
  }

  async #keepBeating(line: WatchLine, serverRevision: number | undefined): Promise<never> {
    await this.#within(line.created, 'etcd did not confirm the watch');
    if (serverRevision !== undefined) {
      if (this.#revision < serverRevision) {
        await this.#pause(line, this.#timing.catchUpMs);
        await this.#within(this.#proveCurrent(line, serverRevision), 'the watch gives no sign of life');
      }
      this.#markLive();
    }
    for (;;) {
      await this.#pause(line, this.#timing.beatMs);
      await this.#within(this.#beat(line), 'etcd or the watch gives no sign of life');
      if (this.#clock.monotonic() >= this.#auditDueAt) await this.#audit();
    }
  }

  async #beat(line: WatchLine): Promise<void> {
    const [revision] = await Promise.all([this.#checkHeader(), line.signOfLife()]);
    await this.#proveCurrent(line, revision);
  }

  /**
   * The read may have been answered by another member than the one that has our watch, and a member that is cut off from the
   * others answers on its watches for as long as it does not notice: it must be as far as the cluster is.
   */
  async #proveCurrent(line: WatchLine, revision: number): Promise<void> {
    while ((await line.signOfLife()) < revision) await this.#pause(line, LAG_MS);
  }

  /** An idle prefix falls behind the hourly compaction, and then its past cannot be read: a fresh listing settles it. */
  async #audit(): Promise<void> {
    try {
      if (this.#known) await this.#proveHistory(this.#known);
    } catch (error) {
      throw error instanceof HistoryLost ? new MustRelist(error.message, true) : error;
    }
  }

  async #pause(line: WatchLine, ms: number): Promise<void> {
    await this.#clock.sleep(ms, line.signal);
  }

  async #within(promise: Promise<void>, otherwise: string): Promise<void> {
    const { answerMs } = this.#timing;
    const late = () => new WeftError('STORE', { what: otherwise, why: `no answer within ${answerMs} ms` });
    await within(this.#clock, answerMs, promise, late);
  }

  #deliver(events: WireEvent[]): void {
    for (const batch of byRevision(events)) {
      // A watch may repeat what the listing already had; delivering it twice would break "no duplicate".
      if (batch.revision <= this.#revision || !this.#known) continue;
      for (const put of batch.puts) this.#known.set(put.key, put.modRevision);
      for (const gone of batch.deletes) this.#known.delete(gone.key);
      this.#revision = batch.revision;
      this.#emit({ type: 'changes', ...batch });
    }
  }
}

interface Batch {
  revision: number;
  puts: Entry[];
  deletes: { key: string; modRevision: number }[];
}

/** One batch a revision: within one a key changes at most once, so the order of puts and deletes does not matter. */
function byRevision(events: WireEvent[]): Batch[] {
  const batches: Batch[] = [];
  for (const event of events) {
    const revision = event.type === 'put' ? event.entry.modRevision : event.modRevision;
    let batch = batches.at(-1);
    if (batch?.revision !== revision) batches.push((batch = { revision, puts: [], deletes: [] }));
    if (event.type === 'put') batch.puts.push(event.entry);
    else batch.deletes.push({ key: event.key, modRevision: event.modRevision });
  }
  return batches;
}

/** One watch stream as promises; after `break` its events go nowhere. */
class WatchLine {
  readonly broken: Promise<never>;
  readonly created: Promise<void>;
  readonly #aborter = new AbortController();
  readonly #stream: { requestProgress(): void; cancel(): void };
  #answered: ((revision: number) => void)[] = [];

  constructor(wire: Wire, query: { prefix: string; fromRevision: number }, onEvents: (header: Header, events: WireEvent[]) => void) {
    let markCreated: () => void = () => undefined;
    this.created = new Promise((resolve) => (markCreated = resolve));
    this.broken = new Promise((_, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason as Error), { once: true });
    });
    this.broken.catch(() => undefined);
    const guard = (act: () => void) => {
      if (this.signal.aborted) return;
      try {
        act();
      } catch (error) {
        this.break(error as Error);
      }
    };
    this.#stream = wire.watch(query, {
      onCreated: (header) => guard(() => (onEvents(header, []), markCreated())),
      onEvents: (header, events) => guard(() => (this.#alive(header), onEvents(header, events))),
      onProgress: (header) => guard(() => (this.#alive(header), onEvents(header, []))),
      onEnd: ({ compacted, message }) => this.break(compacted ? new HistoryLost(message) : new WeftError('STORE', message)),
    });
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  /** Asks the server for a sign of life on this stream; resolves when anything came, with the revision the server was at. */
  signOfLife(): Promise<number> {
    return new Promise((resolve) => {
      this.#answered.push(resolve);
      this.#stream.requestProgress();
    });
  }

  break(reason: Error): void {
    if (this.signal.aborted) return;
    this.#aborter.abort(reason);
    this.#stream.cancel();
  }

  #alive({ revision }: Header): void {
    for (const resolve of this.#answered.splice(0)) resolve(revision);
  }
}
