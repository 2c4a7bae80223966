/**
 * Since when nodes are dead, on the clock of whoever plans: their records were written by the leader of that moment, maybe on
 * another machine, and a clock may be set. A new leader counts from when it has seen them so.
 */
import { keys } from '#model/keys.js';
import type { ClusterState } from './cluster-state.js';
import { isDead } from './dead-nodes.js';

interface Seen {
  /** Of the record that says so: a node that came back and died again is counted anew. */
  revision: number;
  /** Monotonic milliseconds. */
  at: number;
}

export class DeathWatch {
  readonly #seen = new Map<string, Seen>();

  /** To be called whenever records of nodes changed. @param monotonic milliseconds */
  observe(state: ClusterState, monotonic: number): void {
    for (const nodeId of this.#seen.keys()) if (!isDead(state, nodeId)) this.#seen.delete(nodeId);
    for (const nodeId of state.nodeStates.keys()) {
      const revision = state.revisionOf(keys.nodeState(nodeId));
      if (isDead(state, nodeId) && this.#seen.get(nodeId)?.revision !== revision) this.#seen.set(nodeId, { revision, at: monotonic });
    }
  }

  /** For how long a node has been seen dead, in milliseconds; 0 for one that is not. @param monotonic milliseconds */
  deadForMs(nodeId: string, monotonic: number): number {
    return monotonic - (this.#seen.get(nodeId)?.at ?? monotonic);
  }
}
