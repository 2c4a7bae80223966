/**
 * Since when nodes are missed. A node without a session is suspected first, and declared dead only when that has lasted: an
 * agent that changes controllers, or answers late, moves nothing. Where it was the controller that went away, its nodes get
 * longer: nothing was heard against them.
 */
import type { Cluster } from '#model/cluster.js';
import { deadAfterOf, LEAST_DEAD_AFTER_MS, SILENCE_MS } from '#model/node-death.js';
import type { Node } from '#model/node.js';
import type { ClusterState } from './cluster-state.js';

/** How long a node must be missed, in milliseconds. */
export interface Grace {
  /** Its session was given up: a controller that is there does not hear it. */
  silentMs: number;
  /** Its session went with the controller that held it: the agent has to find another first. */
  abandonedMs: number;
}

/** @param comeOverMs how long agents may take to come to another controller, in milliseconds, after the lease of theirs was over */
export function graceOf(cluster: Pick<Cluster, 'deadAfterMs'> | undefined, comeOverMs: number): Grace {
  const deadAfterMs = deadAfterOf(cluster);
  return { silentMs: deadAfterMs - SILENCE_MS, abandonedMs: comeOverMs + deadAfterMs - LEAST_DEAD_AFTER_MS };
}

interface Missed {
  /** When its session was first seen missing, monotonic milliseconds. */
  since: number;
  graceMs: number;
}

export class Suspicion {
  readonly #missed = new Map<string, Missed>();
  /** Node id → the controller, alive then, that held its session when it was last seen. */
  readonly #holders = new Map<string, string>();

  /** Everything that was seen proves nothing any more: a gap in the feed, a new leader. */
  reset(): void {
    this.#missed.clear();
  }

  /**
   * @param now monotonic milliseconds
   * @returns which nodes have been missed for so long, and in how many milliseconds the next will have been
   */
  observe(state: ClusterState, now: number, grace: Grace): { missed: ReadonlySet<string>; nextMs: number | undefined } {
    const missed = new Set<string>();
    let next = Infinity;
    for (const map of [this.#missed, this.#holders]) for (const id of map.keys()) if (!state.nodes.has(id)) map.delete(id);
    for (const node of state.nodes.values()) {
      const holder = state.sessions.get(node.id);
      if (holder !== undefined) {
        this.#missed.delete(node.id);
        if (state.controllerSessions.has(holder)) this.#holders.set(node.id, holder);
        else this.#holders.delete(node.id);
        continue;
      }
      const entry = this.#missed.get(node.id) ?? {
        since: now,
        graceMs: this.#isAbandoned(state, node) ? grace.abandonedMs : grace.silentMs,
      };
      this.#missed.set(node.id, entry);
      const leftMs = entry.since + entry.graceMs - now;
      if (leftMs <= 0) missed.add(node.id);
      else if (state.nodeStates.get(node.id)?.state === 'ready') next = Math.min(next, leftMs);
    }
    return { missed, nextMs: next === Infinity ? undefined : next };
  }

  /**
   * A controller's own key and the sessions that it holds are bound to one lease: etcd takes them away in one revision. A node
   * on the host of a controller that went away has most likely gone with it.
   */
  #isAbandoned(state: ClusterState, node: Node): boolean {
    const holder = this.#holders.get(node.id);
    if (holder === undefined || state.controllerSessions.has(holder)) return false;
    return state.controllers.get(holder)?.address !== node.address;
  }
}
