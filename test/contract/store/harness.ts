/** What the contract suite needs of a server: clients, and its faults at will. */
import type { Clock } from '#base/clock.js';
import type { FollowTiming } from '#store/follower.js';
import type { Store } from '#store/store.js';

export interface Harness {
  /** A client of its own; closed by `stop` at the latest. */
  open(options?: { timing?: Partial<FollowTiming>; clock?: Clock }): Promise<Store>;
  /** As kill -9. */
  kill(): Promise<void>;
  /** After `kill`, on the same data. */
  restart(): Promise<void>;
  /** As SIGSTOP. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Forget all history up to now. */
  compact(): Promise<void>;
  /** Kill, wipe the data, start again: as another cluster, or, as careless tooling can, under the same cluster id. */
  empty(options?: { sameIdentity?: boolean }): Promise<void>;
  stop(): Promise<void>;
}

/** Short intervals, so that the suite is quick; long enough for a machine that is busy. */
export const FAST: Partial<FollowTiming> = { beatMs: 300, answerMs: 1_500, retryMs: 100 };
