/** On which networks the task of a slot should be, and how: what its stack says, and what `ctl network connect` said besides. */
import type { Network } from '#model/network.js';
import type { Attachment, Service } from '#model/stack.js';
import { isChildDriver } from './child-drivers.js';
import { defaultBridge } from './default-bridge.js';
import type { ClusterState } from './cluster-state.js';
import { connectionsOfSlot } from './connections.js';

export interface WantedEndpoint {
  network: Network;
  attachment: Attachment;
}

const PLAIN: Attachment = { aliases: [] };

/** Whether services have virtual addresses there: on the site's own LAN addresses are scarce, and Docker's default bridge knows no services. */
export const hasVips = (network: Network): boolean => !isChildDriver(network) && network.discovery !== false;

/**
 * In the order of their interfaces: highest priority first, then by key.
 * @param networkIds key → id of the stack's networks
 * @returns what is not there (yet): such a task could only be made wrong
 */
export function wantedEndpoints(
  state: ClusterState,
  stack: string,
  service: Service,
  slot: number,
  networkIds: ReadonlyMap<string, string>,
): WantedEndpoint[] | string {
  const mode = service.networkMode?.kind ?? 'networks';
  if (mode === 'bridge') {
    const bridge = defaultBridge(state);
    return bridge ? [{ network: bridge, attachment: PLAIN }] : 'the default bridge is not there';
  }
  if (mode !== 'networks') return [];
  const wanted = new Map<string, WantedEndpoint>();
  for (const [key, attachment] of Object.entries(service.networks)) {
    const network = state.networks.get(networkIds.get(key) ?? '');
    if (!network) return `network ${key} is not there`;
    wanted.set(network.id, { network, attachment });
  }
  for (const c of connectionsOfSlot(state, stack, service.name, slot)) {
    const network = state.networks.get(c.networkId);
    if (!network) continue;
    if (c.off) wanted.delete(network.id);
    else wanted.set(network.id, { network, attachment: c.attachment });
  }
  return [...wanted.values()].sort(byInterface);
}

const byInterface = (a: WantedEndpoint, b: WantedEndpoint): number =>
  (b.attachment.priority ?? 0) - (a.attachment.priority ?? 0) ||
  compare(a.network.key, b.network.key) ||
  compare(a.network.id, b.network.id);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
