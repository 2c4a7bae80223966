/** Which nodes have what a task's networks need of them: drivers in the kernel, the parent device. */
import type { Network } from '#model/network.js';
import type { Node } from '#model/node.js';
import type { ClusterState } from './cluster-state.js';
import { isChildDriver } from './child-drivers.js';
import type { WantedEndpoint } from './wanted-networks.js';

/** @returns the nodes that fit, or why none does */
export function fitting(state: ClusterState, nodes: readonly Node[], endpoints: readonly WantedEndpoint[]): readonly Node[] | string {
  const needing = endpoints.filter(({ network }) => isChildDriver(network));
  if (needing.length === 0) return nodes;
  const lacks = nodes.map((node) => needing.map(({ network }) => lackOf(state, node, network)).find((lack) => lack !== undefined));
  const fit = nodes.filter((_, i) => lacks[i] === undefined);
  return fit.length > 0 || nodes.length === 0 ? fit : [...new Set(lacks)].join('; ');
}

/** What a node lacks for a network; undefined if nothing. */
export function lackOf(state: ClusterState, node: Node, network: Pick<Network, 'driver' | 'options' | 'name'>): string | undefined {
  const facts = state.facts.get(node.id);
  const parent = network.options?.parent ?? '';
  const devices = facts?.devices ?? [];
  const [device = '', vlan] = parent.split('.');
  const needed = [network.driver, ...(vlan === undefined || devices.includes(parent) ? [] : ['vlan'])];
  const missing = needed.find((feature) => !facts?.features?.includes(feature));
  if (missing !== undefined) return `the kernel of node ${node.name} has no ${missing === 'vlan' ? 'VLANs (802.1Q)' : missing}`;
  if (!devices.includes(parent) && !devices.includes(device)) return `node ${node.name} has no device ${device}`;
  return undefined;
}
