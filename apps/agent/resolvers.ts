/**
 * Whether a task finds the names around it: the name server has been told of it, and listens on its networks. Programs ask for
 * names in their first milliseconds, and many take a refusal for the end.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Task } from '#model/task.js';

/** So long, in milliseconds, a task waits for its resolver; then it starts without: it may not need one. */
const MOST_WAIT_MS = 3_000;
/** Between looks, in milliseconds. */
const LOOK_MS = 10;

export interface ResolversOptions {
  /** etcd revision of the view that is to be answered by. */
  wanted: () => number;
  /** etcd revision of the view that the name server answers by. */
  told: () => number;
  /** Ids of the networks that the name server serves → whether it listens there. @throws UNAVAILABLE, TIMEOUT */
  listening: () => Promise<ReadonlyMap<string, boolean>>;
  clock: Clock;
  log: Log;
}

export class Resolvers {
  readonly #o: ResolversOptions;
  /** Networks where it was seen to listen. */
  #open = new Set<string>();
  /** A question under way, for all who wait. */
  #asking: Promise<ReadonlyMap<string, boolean>> | undefined;

  constructor(options: ResolversOptions) {
    this.#o = options;
  }

  /** The name server began anew. */
  forget(): void {
    this.#open = new Set();
  }

  /** Resolves when the task's questions are answered, or after 3 s: a node whose name server is down runs its tasks all the same. */
  async answer(task: Pick<Task, 'name' | 'endpoints'>): Promise<void> {
    const { wanted, told, clock, log } = this.#o;
    const networks = task.endpoints.map((e) => e.networkId);
    if (networks.length === 0) return;
    const revision = wanted();
    const deadline = clock.monotonic() + MOST_WAIT_MS;
    let why: string | undefined;
    for (;;) {
      try {
        if (told() >= revision && (await this.#listens(networks))) return;
        why = told() >= revision ? 'it does not listen on every network of the task' : 'it was not told of the task';
      } catch (error) {
        why = messageOf(error);
      }
      if (clock.monotonic() >= deadline) break;
      await clock.sleep(LOOK_MS);
    }
    log.warn({ task: task.name, why }, 'the name server does not answer this task yet; it starts without');
  }

  async #listens(networks: readonly string[]): Promise<boolean> {
    const open = this.#open;
    if (networks.every((id) => open.has(id))) return true;
    this.#asking ??= this.#o.listening().finally(() => (this.#asking = undefined));
    const found = await this.#asking;
    // A network that it does not serve has no names. What was asked of one that has begun anew since does not count.
    for (const id of networks) if (found.get(id) ?? true) open.add(id);
    return open === this.#open && networks.every((id) => open.has(id));
  }
}
