/** Drivers whose tasks stand in the site's own LAN, on addresses that are scarce and shared with machines that know nothing of Weft. */
import type { Network } from '#model/network.js';
import type { ClusterState } from './cluster-state.js';

export const isChildDriver = ({ driver }: Pick<Network, 'driver'>): boolean => driver === 'macvlan' || driver === 'ipvlan';

/** Addresses of the nodes: address → whose. */
export function siteAddresses(state: ClusterState): Map<string, string> {
  const kept = new Map<string, string>();
  for (const node of state.nodes.values()) {
    for (const address of [node.address, ...(state.facts.get(node.id)?.addresses ?? [])]) {
      kept.set(address.split('/')[0] ?? address, `an address of node ${node.name}`);
    }
  }
  return kept;
}
