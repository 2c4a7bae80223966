/** The read model, kept current by the store's feed; who wants to know of changes listens here. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { pause } from '#base/timers.js';
import { turns } from '#base/turns.js';
import { ROOT } from '#model/keys.js';
import { ReadModel } from '#planner/read-model.js';
import type { Feed, Following, Store } from '#store/store.js';

export type Change =
  | { type: 'changed'; collections: ReadonlySet<string>; /** Put or deleted; undefined: any. */ keys: readonly string[] | undefined }
  /** The feed lost touch, or has it again: what was not seen meanwhile proves nothing. */
  | { type: 'gap' };

type Listener = (change: Change) => void;

export class ClusterFollower {
  readonly model = new ReadModel();
  /**
   * Planning on the model and writing it, one after another: of two that do so at once here, one would be refused and have to
   * plan again, and of very many, some each time.
   */
  readonly inTurn = turns(1);
  readonly #store: Store;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #listeners = new Set<Listener>();
  #following: Following | undefined;
  #stale = 'nothing was read yet';

  constructor(store: Store, log: Log, clock: Clock) {
    this.#store = store;
    this.#log = log;
    this.#clock = clock;
  }

  /** Whether the model is what etcd says now. */
  get current(): boolean {
    return this.#stale === '';
  }

  /** Why it is not; '' when it is. */
  get staleReason(): string {
    return this.#stale;
  }

  start(): void {
    this.#following = this.#store.follow(ROOT, (feed) => this.#take(feed));
  }

  async stop(): Promise<void> {
    await this.#following?.stop();
    this.#listeners.clear();
  }

  /** @returns what ends the listening */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** @throws UNAVAILABLE while the model may be behind: nothing is decided on what may be old */
  requireCurrent(): void {
    if (this.current) return;
    throw new WeftError('UNAVAILABLE', {
      what: 'the controller has lost touch with etcd and changes nothing meanwhile',
      why: this.#stale,
      hint: 'What runs goes on running. Check that etcd runs; then try again.',
    });
  }

  /** Resolves once the model has reached `revision`. @throws UNAVAILABLE when it takes too long */
  async reached(revision: number, timeoutMs = 5_000): Promise<void> {
    await this.until(() => this.model.revision >= revision, timeoutMs, `revision ${revision}`);
  }

  /** Resolves once `holds` does. @throws UNAVAILABLE when it takes too long */
  async until(holds: () => boolean, timeoutMs: number, what: string): Promise<void> {
    if (holds()) return;
    const { over, end } = pause(this.#clock, timeoutMs);
    const stop = this.listen(() => holds() && end());
    try {
      await over;
      if (!holds())
        throw new WeftError('UNAVAILABLE', { what: `the controller did not see ${what} in time`, why: this.#stale || undefined });
    } finally {
      stop();
    }
  }

  #take(feed: Feed): void {
    if (feed.type === 'stale') {
      this.#log.warn({ reason: feed.reason }, 'the feed from etcd is not current');
      this.#stale = feed.reason || 'unknown';
      this.#tell({ type: 'gap' });
      return;
    }
    const wasStale = this.#stale !== '';
    if (feed.type === 'live') {
      this.#stale = '';
      if (wasStale) this.#tell({ type: 'gap' });
      return;
    }
    const before = { storeId: this.model.storeId, revision: this.model.revision };
    const { collections, keys, problems } = this.model.apply(feed);
    for (const problem of problems) this.#log.error(problem, 'a value in etcd cannot be read and is left alone');
    if (feed.type === 'snapshot') {
      this.#stale = '';
      const another = before.storeId !== '' && (before.storeId !== feed.clusterId || feed.revision < before.revision);
      if (another)
        this.#log.error(
          { before, now: { storeId: feed.clusterId, revision: feed.revision } },
          'etcd is not what it was: made anew, or restored from older data',
        );
      if (wasStale || another) this.#tell({ type: 'gap' });
    }
    this.#tell({ type: 'changed', collections, keys });
  }

  #tell(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change);
  }
}
