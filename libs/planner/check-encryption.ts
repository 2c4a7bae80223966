/** Whether an encrypted network can be had: on every node that may get tasks, or not at all. */
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import { WIREGUARD_FEATURE } from '#model/tunnel.js';
import type { ClusterState } from './cluster-state.js';

/** @throws CONFLICT that names the nodes which cannot encrypt */
export function checkEncryption(state: ClusterState, network: Network): void {
  if (network.driver !== 'overlay' || network.options?.encrypted !== true) return;
  const without = [...state.nodes.values()]
    .filter((n) => n.availability === undefined || n.availability === 'active')
    .filter((n) => state.facts.get(n.id)?.features?.includes(WIREGUARD_FEATURE) !== true)
    .map((n) => n.name)
    .sort();
  if (without.length === 0) return;
  throw new WeftError('CONFLICT', {
    what: `network ${network.name} cannot be encrypted`,
    why: `${without.length === 1 ? 'node' : 'nodes'} ${without.join(', ')} cannot: no WireGuard in the kernel and no wireguard-go, or no firewall rules are allowed`,
    hint: 'Install wireguard-tools and, where the kernel lacks WireGuard, wireguard-go on these nodes; or take them out of use.',
  });
}
