/**
 * What agents report of their tasks, gathered and written in batches: the first at once, the next after a pause, longer when
 * there is much. Each is written only while its agent speaks to this controller, and on what was there before: news that
 * comes late, from a controller or an etcd member that stood still, changes nothing.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { TaskStatus } from '#model/task.js';
import { sameValue } from '#planner/spec-hash.js';
import type { Compare, Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { NodeSessions } from './node-sessions.js';

/** Pause after a batch, in milliseconds: small news travels fast, a storm is gathered. */
const GATHER_MS = 100;
const GATHER_FEW_MS = 20;
const FEW = 20;
/** Each needs a comparison of its own, and at most another for its node: etcd takes 128. */
const MAX_BATCH = 60;

export class StatusWriter {
  readonly #store: Store;
  readonly #follower: ClusterFollower;
  readonly #sessions: Pick<NodeSessions, 'fence'>;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, TaskStatus>();
  #writing = false;

  constructor(store: Store, follower: ClusterFollower, sessions: Pick<NodeSessions, 'fence'>, log: Log, clock: Clock) {
    this.#store = store;
    this.#follower = follower;
    this.#sessions = sessions;
    this.#log = log;
    this.#clock = clock;
  }

  /** @param nodeId from the agent's certificate: a node speaks of its own tasks only */
  take(nodeId: string, statuses: readonly TaskStatus[]): void {
    for (const status of statuses) this.#waiting.set(status.taskId, { ...status, nodeId });
    if (!this.#writing) void this.#write();
  }

  /** The stream of a node's agent is over: it tells everything again on the next, here or elsewhere. */
  forget(nodeId: string): void {
    for (const [taskId, status] of this.#waiting) if (status.nodeId === nodeId) this.#waiting.delete(taskId);
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
    const { batch, fences } = this.#nextBatch();
    if (batch.length === 0) return 0;
    const writes = batch.map((status) => ({ put: keys.taskStatus(status.taskId), value: encode(status) }));
    const before = writes.map(({ put }): Compare => ({ key: put, modRevision: this.#follower.model.revisionOf(put) }));
    try {
      const { ok, revision } = await this.#store.txn([...fences, ...before], writes);
      await this.#follower.reached(revision);
      if (ok) return batch.length;
      this.#putBack(batch);
      return 0;
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'cannot write statuses; trying again');
      this.#putBack(batch);
      return FEW + 1;
    }
  }

  /** Takes what is news and may be written now. What waits for its node's session stays; what is no news goes. */
  #nextBatch(): { batch: TaskStatus[]; fences: Compare[] } {
    const batch: TaskStatus[] = [];
    const fences = new Map<string, Compare>();
    for (const status of this.#waiting.values()) {
      if (batch.length === MAX_BATCH) break;
      const fence = this.#sessions.fence(status.nodeId);
      const isNews = this.#isNews(status);
      if (isNews && !fence) continue;
      this.#waiting.delete(status.taskId);
      if (!isNews || !fence) continue;
      batch.push(status);
      fences.set(status.nodeId, fence);
    }
    return { batch, fences: [...fences.values()] };
  }

  #putBack(batch: readonly TaskStatus[]): void {
    for (const status of batch) if (!this.#waiting.has(status.taskId)) this.#waiting.set(status.taskId, status);
  }

  #isNews(status: TaskStatus): boolean {
    const { model } = this.#follower;
    if (model.tasks.get(status.taskId)?.nodeId !== status.nodeId) return false;
    const known = model.statuses.get(status.taskId);
    return !known || !sameValue({ ...known, at: 0 }, { ...status, at: 0 });
  }
}
