/** What agents report of their tasks, gathered and written in batches: the first at once, the next after a pause, longer when there is much. */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { TaskStatus } from '#model/task.js';
import { sameValue } from '#planner/spec-hash.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** Pause after a batch, in milliseconds: small news travels fast, a storm is gathered. */
const GATHER_MS = 100;
const GATHER_FEW_MS = 20;
const FEW = 20;
const MAX_BATCH = 100;

export class StatusWriter {
  readonly #store: Store;
  readonly #follower: ClusterFollower;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, TaskStatus>();
  #writing = false;

  constructor(store: Store, follower: ClusterFollower, log: Log, clock: Clock) {
    this.#store = store;
    this.#follower = follower;
    this.#log = log;
    this.#clock = clock;
  }

  /** @param nodeId from the agent's certificate: a node speaks of its own tasks only */
  take(nodeId: string, statuses: readonly TaskStatus[]): void {
    for (const status of statuses) this.#waiting.set(status.taskId, { ...status, nodeId });
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#waiting.size > 0) {
        const written = await this.#writeBatch();
        await this.#clock.sleep(written <= FEW ? GATHER_FEW_MS : GATHER_MS);
      }
    } finally {
      this.#writing = false;
    }
  }

  /** @returns how many were written; a failed write counts as a storm */
  async #writeBatch(): Promise<number> {
    const batch = [...this.#waiting.values()].slice(0, MAX_BATCH);
    for (const status of batch) this.#waiting.delete(status.taskId);
    const news = batch.filter((status) => this.#isNews(status));
    if (news.length === 0) return 0;
    try {
      await this.#store.txn(
        [],
        news.map((status) => ({ put: keys.taskStatus(status.taskId), value: encode(status) })),
      );
      return news.length;
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'cannot write statuses; trying again');
      for (const status of news) if (!this.#waiting.has(status.taskId)) this.#waiting.set(status.taskId, status);
      return MAX_BATCH;
    }
  }

  #isNews(status: TaskStatus): boolean {
    const { model } = this.#follower;
    if (model.tasks.get(status.taskId)?.nodeId !== status.nodeId) return false;
    const known = model.statuses.get(status.taskId);
    return !known || !sameValue({ ...known, at: 0 }, { ...status, at: 0 });
  }
}
