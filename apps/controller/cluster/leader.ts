/** Stands for election for as long as the process lives, and runs the leader's loops while it leads. */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import { linkedSignal } from '#base/linked-signal.js';
import type { Log } from '#base/log.js';
import { keys } from '#model/keys.js';
import type { Leadership, Session, Store } from '#store/store.js';
import type { ClusterFollower } from './follower.js';
import { Term } from './term.js';

/** The leader's lease, in milliseconds: how long a dead leader is missed before another takes over. */
const LEADER_TTL_MS = 5_000;
const RETRY_MS = 500;

/** One of the leader's loops: runs until `signal` aborts. */
export type LeaderLoop = (term: Term, signal: AbortSignal) => Promise<void>;

export interface LeaderTools {
  store: Store;
  follower: ClusterFollower;
  log: Log;
  clock: Clock;
  controllerId: string;
  loops: readonly LeaderLoop[];
}

export class Leader {
  readonly #tools: LeaderTools;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #leads = false;

  constructor(tools: LeaderTools) {
    this.#tools = tools;
  }

  get leads(): boolean {
    return this.#leads;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resigns, so that another can lead at once. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let isFirst = true;
    while (!signal.aborted) {
      try {
        if (isFirst) await this.#dropFormerSelf();
        isFirst = false;
        await this.#stand(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#tools.log.warn({ error: messageOf(error) }, 'cannot stand for election; trying again');
        await this.#tools.clock.sleep(RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  /**
   * A leader key of ours at the start is from before we were killed: waiting for its lease would only cost time. Should that
   * process live after all, the fence refuses what it writes.
   */
  async #dropFormerSelf(): Promise<void> {
    const { store, controllerId } = this.#tools;
    const entry = await store.get(keys.leader());
    if (entry?.value !== controllerId) return;
    await store.txn([{ key: entry.key, modRevision: entry.modRevision }], [{ delete: entry.key }]);
  }

  async #stand(signal: AbortSignal): Promise<void> {
    const { store, controllerId } = this.#tools;
    const session: Session = await store.openSession(LEADER_TTL_MS);
    try {
      const leadership = await store.campaign(keys.leader(), controllerId, session, signal);
      await this.#lead(leadership, signal);
    } finally {
      await session.close().catch(() => undefined);
    }
  }

  async #lead(leadership: Leadership, signal: AbortSignal): Promise<void> {
    const { store, follower, log, loops } = this.#tools;
    const { signal: ended, unlink } = linkedSignal(signal, leadership.lost);
    try {
      // What the leader before us wrote, we have seen once we see our own key.
      if ('createRevision' in leadership.fence) await follower.reached(leadership.fence.createRevision);
      log.info({}, 'this controller leads');
      this.#leads = true;
      const term = new Term(store, follower, leadership);
      await Promise.all(loops.map((loop) => loop(term, ended)));
    } finally {
      this.#leads = false;
      log.info({ reason: messageOf(ended.reason) }, 'this controller no longer leads');
      unlink();
      await leadership.resign().catch(() => undefined);
    }
  }
}
