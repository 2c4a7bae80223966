/** Which node a task goes to: filters that explain themselves, then spread. */
import type { Node } from '#model/node.js';
import { serviceKey, type ClusterState } from './cluster-state.js';

export type NodeStanding = 'ready' | 'down' | 'quarantined' | 'joining';

/** Why a node takes no new task; undefined when it does. */
export function refusalOf(state: ClusterState, node: Node): string | undefined {
  const standing = standingOf(state, node.id);
  if (standing !== 'ready') return standing;
  if (node.availability === 'drain') return 'drained';
  if (node.availability === 'pause') return 'paused';
  // What was replaced while it was away ends first.
  return state.tasksOfNode(node.id).some((t) => t.orphan) ? 'coming back' : undefined;
}

/** A node's state as people see it. */
export function standingOf(state: ClusterState, nodeId: string): NodeStanding {
  const recorded = state.nodeStates.get(nodeId)?.state;
  if (recorded === undefined) return 'joining';
  if (recorded === 'down') return 'down';
  return state.facts.get(nodeId)?.quarantine === undefined ? 'ready' : 'quarantined';
}

export interface Candidates {
  ready: Node[];
  /** Why the others are not: `3 nodes: 1 down, 2 quarantined`. */
  explanation: string;
}

export function candidates(state: ClusterState): Candidates {
  const ready: Node[] = [];
  const out = new Map<string, number>();
  for (const node of state.nodes.values()) {
    const refusal = refusalOf(state, node);
    if (refusal === undefined) ready.push(node);
    else out.set(refusal, (out.get(refusal) ?? 0) + 1);
  }
  if (state.nodes.size === 0) return { ready, explanation: 'no node has joined yet' };
  const reasons = [...out].map(([refusal, count]) => `${count} ${refusal}`).join(', ');
  const total = `${state.nodes.size} node${state.nodes.size === 1 ? '' : 's'}`;
  return { ready, explanation: reasons ? `${total}: ${reasons}` : `${total}: all ready` };
}

interface Reserved {
  memoryBytes: number;
  nanoCpus: number;
}

/** Counts of tasks, and what is reserved, by node; kept while a plan places more. */
export class Spread {
  readonly #all = new Map<string, number>();
  readonly #ofService = new Map<string, Map<string, number>>();
  readonly #reserved = new Map<string, Reserved>();

  constructor(state: ClusterState) {
    for (const task of state.tasks.values()) {
      this.add(task.nodeId, task.stack, task.service);
      this.reserve(task.nodeId, task.reservations);
    }
  }

  add(nodeId: string, stack: string, service: string, by = 1): void {
    this.#all.set(nodeId, (this.#all.get(nodeId) ?? 0) + by);
    const key = serviceKey(stack, service);
    const row = this.#ofService.get(key) ?? new Map<string, number>();
    row.set(nodeId, (row.get(nodeId) ?? 0) + by);
    this.#ofService.set(key, row);
  }

  /** @param sign -1 gives it back */
  reserve(nodeId: string, { memoryBytes = 0, nanoCpus = 0 }: Partial<Reserved> = {}, sign = 1): void {
    if (memoryBytes === 0 && nanoCpus === 0) return;
    const before = this.reservedOn(nodeId);
    this.#reserved.set(nodeId, { memoryBytes: before.memoryBytes + sign * memoryBytes, nanoCpus: before.nanoCpus + sign * nanoCpus });
  }

  reservedOn(nodeId: string): Reserved {
    return this.#reserved.get(nodeId) ?? { memoryBytes: 0, nanoCpus: 0 };
  }

  /** @param service `stack/service` */
  countOf(nodeId: string, service: string): number {
    return this.#ofService.get(service)?.get(nodeId) ?? 0;
  }

  /** Fewest tasks of the same service, then fewest tasks, then the first by name. */
  choose(nodes: readonly Node[], stack: string, service: string): Node | undefined {
    const row = this.#ofService.get(serviceKey(stack, service));
    let best: Node | undefined;
    let [bestRow, bestAll] = [Infinity, Infinity];
    for (const node of nodes) {
      const mine = row?.get(node.id) ?? 0;
      if (mine > bestRow) continue;
      const all = this.#all.get(node.id) ?? 0;
      const isBetter = mine < bestRow || all < bestAll || (all === bestAll && best !== undefined && node.name < best.name);
      if (isBetter) [best, bestRow, bestAll] = [node, mine, all];
    }
    return best;
  }
}
