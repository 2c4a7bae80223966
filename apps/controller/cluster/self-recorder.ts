/** Keeps this controller's own record in etcd: nodes guard its ports, joiners learn its address. Puts it back when it is lost, unless it was removed. */
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import type { ControllerRecord } from '#model/cluster.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { Loop } from '#nest-kit/loop.js';
import { sameValue } from '#planner/spec-hash.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from './follower.js';

const COLLECTIONS = ['controllers', 'removed-controllers'];

export class SelfRecorder {
  readonly #stop = new AbortController();
  readonly #loop: Loop;
  readonly #unlisten: () => void;
  #running: Promise<void> | undefined;

  /** @param onRemoved called when the record must not come back: this controller was removed */
  constructor(store: Store, follower: ClusterFollower, record: ControllerRecord, onRemoved: () => void, log: Log, clock: Clock) {
    this.#loop = new Loop({
      name: 'self',
      log,
      clock,
      tick: async () => {
        if (!follower.current) return;
        if (follower.model.removedControllers.has(record.id)) return onRemoved();
        if (sameValue(follower.model.controllers.get(record.id), record)) return;
        await store.txn(
          [{ key: keys.removedController(record.id), exists: false }],
          [{ put: keys.controller(record.id), value: encode(record) }],
        );
      },
    });
    this.#unlisten = follower.listen((change) => {
      if (change.type === 'gap' || COLLECTIONS.some((name) => change.collections.has(name))) this.#loop.mark();
    });
  }

  start(): void {
    this.#running = this.#loop.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#unlisten();
    this.#stop.abort();
    await this.#running;
  }
}
