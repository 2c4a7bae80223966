/** What calls have in common that plan on the cluster as it is, and write what they planned. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '#base/clock.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** Something unrelated changed what a plan was made on (a subnet was taken, say): plan again so many times. */
export const TRIES = 5;

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
}
