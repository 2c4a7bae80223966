/**
 * Since when nodes are missed. A node without a session is suspected first, and declared dead only when that has lasted: an
 * agent that changes controllers, or answers late, moves nothing.
 */
import type { ClusterState } from './cluster-state.js';

export class Suspicion {
  /** Node id → when its session was first seen missing, monotonic milliseconds. */
  readonly #since = new Map<string, number>();

  /** Everything that was seen proves nothing any more: a gap in the feed, a new leader. */
  reset(): void {
    this.#since.clear();
  }

  /**
   * @param now monotonic milliseconds
   * @param graceMs how long a node must be missed
   * @returns which nodes have been missed for so long, and in how many milliseconds the next will have been
   */
  observe(state: ClusterState, now: number, graceMs: number): { missed: ReadonlySet<string>; nextMs: number | undefined } {
    const missed = new Set<string>();
    let next = Infinity;
    for (const id of this.#since.keys()) if (!state.nodes.has(id)) this.#since.delete(id);
    for (const id of state.nodes.keys()) {
      if (state.sessions.has(id)) {
        this.#since.delete(id);
        continue;
      }
      const since = this.#since.get(id) ?? now;
      this.#since.set(id, since);
      if (now - since >= graceMs) missed.add(id);
      else if (state.nodeStates.get(id)?.state === 'ready') next = Math.min(next, since + graceMs - now);
    }
    return { missed, nextMs: next === Infinity ? undefined : next };
  }
}
