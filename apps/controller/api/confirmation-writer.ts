/**
 * Writes down how far the attached nodes have got, for those who drain: a task gets its signal when no node sends anything
 * new to it. Nothing is written while nobody waits, and one write says it of all nodes of this controller.
 */
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { Loop } from '#nest-kit/loop.js';
import { confirmationOf } from '#planner/drain.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** News of several nodes make one write. */
const GATHER_MS = 10;

export interface ConfirmationTools {
  store: Store;
  follower: ClusterFollower;
  controllerId: string;
  /** Node id → the etcd revision its kernel is at, of the attached ones. */
  confirmed: () => Iterable<[nodeId: string, revision: number]>;
  log: Log;
  clock: Clock;
}

export class ConfirmationWriter {
  readonly #tools: ConfirmationTools;
  readonly #loop: Loop;
  readonly #end = new AbortController();

  constructor(tools: ConfirmationTools) {
    this.#tools = tools;
    const { log, clock } = tools;
    this.#loop = new Loop({ name: 'confirmations', tick: () => this.#write(), debounceMs: GATHER_MS, log, clock });
    void this.#loop.run(this.#end.signal);
  }

  /** A node may have got further, or somebody may have begun to wait. */
  mark(): void {
    if (this.#tools.follower.model.draining.size > 0) this.#loop.mark();
  }

  stop(): void {
    this.#end.abort();
  }

  async #write(): Promise<void> {
    const { store, follower, controllerId, confirmed } = this.#tools;
    if (!follower.current) return;
    const news = confirmationOf(follower.model, confirmed());
    if (!news) return;
    const { ok, revision } = await store.txn([], [{ put: keys.confirmation(controllerId), value: encode(news) }]);
    if (ok) await follower.reached(revision);
  }
}
