/** Nodes that were removed on purpose, told apart from nodes that an emptied etcd has forgotten. */
import type { ClusterState } from './cluster-state.js';

/**
 * `ctl node rm` leaves a tombstone under the node's own id. A valid certificate without a node record and without that
 * tombstone means that etcd lost the record: such a node is registered again.
 */
export const isRemovedNode = (state: ClusterState, nodeId: string): boolean => state.tombstones.get(nodeId)?.has(nodeId) ?? false;

/** By id or name. */
export const findNode = (state: ClusterState, nameOrId: string) =>
  state.nodes.get(nameOrId) ?? [...state.nodes.values()].find((n) => n.name === nameOrId);
