/**
 * Multicast and broadcast on an overlay network that asks for it, by head-end replication: what the VXLAN device has no row
 * for goes to every tunnel end that an all-zero row names (vxlan(8), RFC 7348 §4.2 does it by multicast in the underlay). So
 * there is one such row for each node with a task of the network, and the sender's node copies.
 *
 * Unicast to an unknown address stays unflooded: every address is known. ARP and neighbour discovery stay on the node, as on
 * every network: all neighbours are known, and what a node asks with the gateway's address would make tasks elsewhere take it
 * for their gateway.
 */
import type { EndpointView, NetworkView } from '#model/node-view.js';
import type { FdbRow } from './kernel-state.js';
import { vxlanName } from './names.js';
import type { NftChain } from './nft-text.js';
import { rule } from './nft-text.js';

/** What the VXLAN device looks up when it knows no row for a frame's destination. */
export const EVERYBODY_MAC = '00:00:00:00:00:00';

export const isMulticast = (n: NetworkView): boolean =>
  n.driver === 'overlay' && n.options?.multicast === true && n.nodeAddress !== undefined;

/** @param endOf the tunnel end of a node; undefined if it is out of reach */
export function floodRows(
  n: NetworkView,
  endpoints: readonly EndpointView[],
  endOf: (node: { id: string; address: string }) => Pick<FdbRow, 'vtep' | 'via'> | undefined,
): FdbRow[] {
  if (!isMulticast(n)) return [];
  const nodes = new Map(endpoints.filter((e) => e.taskId !== undefined && !e.lost).map((e) => [e.nodeId, e.vtep]));
  return [...nodes].flatMap(([id, address]): FdbRow[] => {
    const end = endOf({ id, address });
    return end ? [{ dev: vxlanName(n.vni), mac: EVERYBODY_MAC, ...end }] : [];
  });
}

/** Chain of `bridge weft`; none where nothing is flooded. */
export function floodGuard(networks: readonly NetworkView[]): NftChain[] {
  const devices = networks.filter(isMulticast).map((n) => `"${vxlanName(n.vni)}"`);
  if (devices.length === 0) return [];
  const out = `oifname { ${devices.join(', ')} }`;
  const discovery = 'nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect';
  return [
    {
      name: 'flooded',
      hook: 'filter hook postrouting priority 0',
      rules: [
        rule(`${out} ether type arp drop`, 'neighbours are known here: asking is not for other nodes'),
        rule(`${out} icmpv6 type { ${discovery} } drop`, 'the same for IPv6'),
      ],
    },
  ];
}
