/**
 * Docker's default bridge: the one network of `network_mode: bridge`. Every node has its own, with the same subnet; it leads
 * outside, and nobody has a name there. Made with the first stack that asks for it, and kept.
 */
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import type { Stack } from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import type { ClusterState } from './cluster-state.js';

export const DEFAULT_BRIDGE = 'bridge';

export const DEFAULT_BRIDGE_WISH: NetworkWish = {
  key: DEFAULT_BRIDGE,
  name: DEFAULT_BRIDGE,
  driver: 'bridge',
  internal: false,
  labels: {},
};

export function defaultBridge(state: ClusterState): Network | undefined {
  const network = state.networks.get(state.networkNames.get(DEFAULT_BRIDGE) ?? '');
  return network?.discovery === false ? network : undefined;
}

export const wantsDefaultBridge = (stack: Stack): boolean => Object.values(stack.services).some((s) => s.networkMode?.kind === 'bridge');

/** @throws CONFLICT if another network has its name */
export function checkDefaultBridge(state: ClusterState): void {
  const other = state.networks.get(state.networkNames.get(DEFAULT_BRIDGE) ?? '');
  if (!other || other.discovery === false) return;
  throw new WeftError('CONFLICT', {
    what: 'there is no place for the default bridge',
    why: `a network of another kind is called ${DEFAULT_BRIDGE}`,
    hint: 'Remove that network, or make it anew under another name.',
  });
}
