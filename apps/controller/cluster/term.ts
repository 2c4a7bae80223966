/**
 * One term of leadership: every write carries the fence and is made only while the leader's lease is surely held, and the loops decide one after another, each on a model that has
 * seen what the others wrote.
 */
import type { Unit } from '#planner/transaction.js';
import { packUnits } from '#planner/transaction.js';
import type { Leadership, Store } from '#store/store.js';
import type { ClusterFollower } from './follower.js';

export interface Applied {
  done: number;
  /** Units refused because what they were planned on had changed: plan again. */
  refused: string[];
}

export class Term {
  readonly #store: Store;
  readonly #follower: ClusterFollower;
  readonly #leadership: Pick<Leadership, 'fence' | 'lost'>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, follower: ClusterFollower, leadership: Pick<Leadership, 'fence' | 'lost'>) {
    this.#store = store;
    this.#follower = follower;
    this.#leadership = leadership;
  }

  /** Runs `decide` when no other loop of this term is deciding. */
  exclusive<T>(decide: () => Promise<T>): Promise<T> {
    const run = this.#last.then(decide, decide);
    this.#last = run.catch(() => undefined);
    return run;
  }

  /**
   * Writes units, packed into few transactions; resolves when the model has seen them. A pack that is refused is tried
   * again unit by unit, so that one that cannot be does not hold up the rest.
   * @throws NOT_LEADER when the term is over; STORE, OUTCOME_UNKNOWN
   */
  async apply(units: readonly Unit[]): Promise<Applied> {
    const applied: Applied = { done: 0, refused: [] };
    let revision = 0;
    for (const pack of packUnits(units)) {
      const result = await this.#write(pack);
      revision = Math.max(revision, result.revision);
      if (result.ok) {
        applied.done += pack.parts.length;
        continue;
      }
      for (const unit of pack.parts) {
        const single = await this.#write(unit);
        revision = Math.max(revision, single.revision);
        if (single.ok) applied.done++;
        else applied.refused.push(unit.what);
      }
    }
    if (revision > 0) await this.#follower.reached(revision);
    return applied;
  }

  /** Asking `lost` looks at the clock: a process that stood still for longer than its lease notices here, before it writes. */
  #write(unit: Unit) {
    const { lost, fence } = this.#leadership;
    lost.throwIfAborted();
    return this.#store.txn([fence, ...unit.compares], unit.writes);
  }
}
