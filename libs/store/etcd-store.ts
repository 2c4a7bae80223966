/** The store on a real etcd. */
import type { Clock } from '#base/clock.js';
import { systemClock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import type { EtcdMembers } from './etcd-members.js';
import type { EtcdClientOptions } from './etcd-wire.js';
import { EtcdWire } from './etcd-wire.js';
import type { FollowTiming } from './follower.js';
import type { Store } from './store.js';
import { WireStore } from './wire-store.js';

export interface EtcdStoreOptions extends EtcdClientOptions {
  log?: Log;
  clock?: Clock;
  /** Intervals of `follow`, for tests. */
  timing?: Partial<FollowTiming>;
}

/** The store, and the members of the etcd behind it. */
export interface EtcdStore extends Store {
  readonly members: EtcdMembers;
}

/**
 * Connects to etcd and reads once, so that a wrong address or certificate shows here and not later.
 * @throws STORE when no endpoint answers.
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<EtcdStore> {
  const wire = new EtcdWire(options, options.clock ?? systemClock);
  try {
    await wire.range({ prefix: '/', limit: 1, keysOnly: true });
  } catch (error) {
    await wire.close();
    throw error;
  }
  return Object.assign(new WireStore(wire, options), { members: wire });
}
