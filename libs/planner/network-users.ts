/** Which stacks speak of a network: the one that declares it, those that call it external, and those that a command put on it. */
import type { Network } from '#model/network.js';
import type { ClusterState } from './cluster-state.js';
import { connectionsOf } from './connections.js';

/** Names of the stacks, not those that are being removed. */
export function usersOf(state: ClusterState, network: Pick<Network, 'name' | 'stack'>): string[] {
  const users: string[] = [];
  const id = state.networkNames.get(network.name);
  for (const { spec, removing } of state.stacks.values()) {
    if (removing) continue;
    const wish = Object.values(spec.networks).find((w) => w.name === network.name);
    const isConnected = connectionsOf(state, spec.name).some((c) => !c.off && c.networkId === id && spec.services[c.service]);
    if (isConnected || (wish && (wish.external || spec.name === network.stack))) users.push(spec.name);
  }
  return users;
}
