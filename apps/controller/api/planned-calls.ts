/** What calls have in common that plan on the cluster as it is, and write what they planned. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** Something unrelated changed what a plan was made on (a subnet was taken, say): plan again so many times. */
const TRIES = 5;

/** Of a network or a task: 16 hexadecimal digits, by chance. */
export const newId = (): string => randomBytes(8).toString('hex');

export abstract class PlannedCalls {
  protected readonly follower: ClusterFollower;
  protected readonly store: Store;
  protected readonly clock: Clock;

  constructor(follower: ClusterFollower, store: Store, clock: Clock) {
    this.follower = follower;
    this.store = store;
    this.clock = clock;
  }

  /**
   * Plans and writes, again when what was planned on had changed.
   * @param what for the error: what could not be done
   * @param attempt undefined when its write was refused
   * @throws CONFLICT, and what `attempt` throws
   */
  protected async planned<T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> {
    for (let i = 0; i < TRIES; i++) {
      this.follower.requireCurrent();
      const done = await this.follower.inTurn(attempt);
      if (done !== undefined) return done;
    }
    throw new WeftError('CONFLICT', `${what}: too much else changed at the same time`);
  }
}
