/** The networks that a stack's file speaks of by key, as they are in the cluster. */
import type { Network } from '#model/network.js';
import type { ClusterState } from './cluster-state.js';

/** Ids of the networks a stack's services speak of by key; undefined while one of them is not there. */
export function networkIdsOf(state: ClusterState, stackName: string): Map<string, string> {
  const ids = new Map<string, string>();
  for (const [key, wish] of Object.entries(state.stacks.get(stackName)?.spec.networks ?? {})) {
    const id = state.networkNames.get(wish.name);
    const network = state.networks.get(id ?? '');
    if (network && (wish.external || network.stack === stackName)) ids.set(key, network.id);
  }
  return ids;
}

/** The networks themselves, by key. */
export function networksOf(state: ClusterState, name: string): Map<string, Network> {
  const found = new Map<string, Network>();
  for (const [key, id] of networkIdsOf(state, name)) {
    const network = state.networks.get(id);
    if (network) found.set(key, network);
  }
  return found;
}
