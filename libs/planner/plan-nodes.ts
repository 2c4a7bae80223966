/** Ready or down: a node is what its session key says, and none is declared dead in a time of doubt. */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { NodeState } from '#model/node.js';
import type { ClusterState } from './cluster-state.js';
import type { Unit } from './transaction.js';

/** @param mayBury nodes that have been missed for long enough, in a time without doubt (suspicion.ts) */
export function planNodeStates(state: ClusterState, mayBury: ReadonlySet<string>, now: number): Unit[] {
  const units: Unit[] = [];
  for (const node of state.nodes.values()) {
    const next = state.sessions.has(node.id) ? 'ready' : 'down';
    const before = state.nodeStates.get(node.id)?.state;
    // A node that never came is joining, not dead.
    if (next === before || (next === 'down' && (before === undefined || !mayBury.has(node.id)))) continue;
    const value: NodeState = { nodeId: node.id, state: next, since: now };
    units.push({
      what: `${node.name} is ${next}`,
      compares: [
        { key: keys.node(node.id), exists: true },
        { key: keys.nodeSession(node.id), exists: next === 'ready' },
      ],
      writes: [{ put: keys.nodeState(node.id), value: encode(value) }],
    });
  }
  return units;
}
