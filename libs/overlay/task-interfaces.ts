/** Which interfaces a task has, in which order and under which names, and by which one it leaves. */
import type { Endpoint } from '#model/network.js';
import type { NetworkView } from '#model/node-view.js';
import { isChildNetwork } from './child-network.js';

/** One interface of a task. */
export interface TaskInterface {
  name: string;
  network: NetworkView;
  ipv4: string;
  ipv6?: string;
  mac: string;
  gwPriority: number;
  /** Of a network without a bridge: the node's device that it is a part of. */
  parent?: string;
}

/**
 * `interface_name`, where the endpoint has one; the others are eth0, eth1, … by `priority` (highest first), then in the order
 * of the networks. An endpoint whose network the view does not hold (yet) waits.
 * @param networks in their order
 * @param parentOf the device that interfaces of a network without a bridge are parts of
 */
export function taskInterfaces(
  endpoints: readonly Endpoint[],
  networks: Iterable<NetworkView>,
  parentOf: (network: NetworkView) => string,
): TaskInterface[] {
  const byNetwork = new Map(endpoints.map((e) => [e.networkId, e]));
  const placed = [...networks]
    .flatMap((network) => {
      const endpoint = byNetwork.get(network.id);
      return endpoint ? [{ network, endpoint }] : [];
    })
    .sort((a, b) => (b.endpoint.priority ?? 0) - (a.endpoint.priority ?? 0));
  const names = interfaceNames(placed.map((p) => p.endpoint.interfaceName));
  return placed.map(({ network, endpoint }, i) => ({
    name: names[i] ?? '',
    network,
    ipv4: endpoint.ipv4,
    ...(endpoint.ipv6 === undefined ? {} : { ipv6: endpoint.ipv6 }),
    mac: endpoint.mac,
    gwPriority: endpoint.gwPriority ?? 0,
    ...(isChildNetwork(network) ? { parent: parentOf(network) } : {}),
  }));
}

/** Names for those that have none: the first of eth0, eth1, … that nobody has. */
export function interfaceNames(wanted: readonly (string | undefined)[]): string[] {
  const taken = new Set(wanted.filter((name) => name !== undefined));
  let next = 0;
  return wanted.map((name) => {
    if (name !== undefined) return name;
    while (taken.has(`eth${next}`)) next++;
    return `eth${next++}`;
  });
}

/**
 * The interface of the default route, by which published ports come in too: the highest `gw_priority` of those that are not
 * internal, the first by the network's name among equals.
 */
export function exitOf(interfaces: readonly TaskInterface[]): TaskInterface | undefined {
  const outward = interfaces.filter((i) => !i.network.internal);
  return outward.sort((a, b) => b.gwPriority - a.gwPriority || (a.network.name < b.network.name ? -1 : 1))[0];
}
