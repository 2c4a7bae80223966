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

/** Counts of tasks by node, kept while a plan places more. */
export class Spread {
  readonly #all = new Map<string, number>();
  readonly #ofService = new Map<string, Map<string, number>>();

  constructor(state: ClusterState) {
    for (const task of state.tasks.values()) this.add(task.nodeId, task.stack, task.service);
  }

  add(nodeId: string, stack: string, service: string, by = 1): void {
    this.#all.set(nodeId, (this.#all.get(nodeId) ?? 0) + by);
    const key = serviceKey(stack, service);
    const row = this.#ofService.get(key) ?? new Map<string, number>();
    row.set(nodeId, (row.get(nodeId) ?? 0) + by);
    this.#ofService.set(key, row);
  }

  /** Fewest tasks of the same service, then fewest tasks, then the first by name. */
  choose(nodes: readonly Node[], stack: string, service: string): Node | undefined {
    const row = this.#ofService.get(serviceKey(stack, service));
    const rank = (n: Node): [number, number] => [row?.get(n.id) ?? 0, this.#all.get(n.id) ?? 0];
    return [...nodes].sort((a, b) => {
      const [serviceA, allA] = rank(a);
      const [serviceB, allB] = rank(b);
      return serviceA - serviceB || allA - allB || (a.name < b.name ? -1 : 1);
    })[0];
  }
}
