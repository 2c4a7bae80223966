/**
 * The routing mesh: a node that takes a connection at a published port sends it to a task on another node, and the task sees
 * the client's own address. Pure.
 *
 * The ingress node rewrites the destination and sends the packet by the task's own node (a route to the one address). That
 * node knows by the MAC which node it came from, keeps that in connection tracking, and sends the answers back the same way,
 * by policy routing and a rewritten MAC: the answer's destination is somewhere outside, and no route of this node's leads
 * to where it came in. The cost is the same for any number of nodes.
 */
import { macOfNode } from '#base/address.js';
import type { EndpointView, Member, NetworkView } from '#model/node-view.js';
import type { FdbRow, Neighbour, Route, Rule } from './kernel-state.js';
import { bridgeName, vxlanName } from './names.js';
import { ipv6Of } from './network-view.js';
import type { NftChain, NftSet } from './nft-text.js';
import { rule, tableText } from './nft-text.js';

/** In a mark: "goes back through the mesh"; the bits below are the index of the node. */
const MESH_BIT = 0x4000_0000;
const MESH_MATCH = '0x40000000/0x40000000';
/** Zones of connection tracking are 16 bits; 0 is where everything else is. */
const ZONES = 0xffff;

/** What differs between the families. */
interface Family {
  /** Of answers, before the main table; after the kernel's own for local addresses, which is why a node as client needs SNAT on its way in. */
  rule: Pick<Rule, 'priority' | 'family'>;
  /** Next hop of every answer. It is nobody: the MAC is written over on the way out. */
  nobody: string;
  any: string;
  /** Bits of a whole address. */
  whole: number;
  addressOf: (endpoint: EndpointView) => string | undefined;
  /** This node's address for what it sends to tasks elsewhere. Without it, the kernel would take the gateway's, which every node has. */
  sourceOf: (input: MeshInput, network: NetworkView) => string | undefined;
  /** Whether this node has the family on a network. */
  isOn: (network: NetworkView) => boolean;
}

const FOUR: Family = {
  ...{ rule: { priority: 900 }, nobody: '169.254.254.1', any: 'default', whole: 32 },
  addressOf: (e) => e.ipv4,
  sourceOf: (input, n) => n.nodeAddress ?? input.address,
  isOn: () => true,
};
const SIX: Family = {
  ...{ rule: { priority: 901, family: 6 }, nobody: 'fe80::57:ffff:ffff', any: '::/0', whole: 128 },
  addressOf: (e) => e.ipv6,
  // Off the network, the bridge has no address, and the kernel takes one of the node's own by itself (RFC 6724).
  sourceOf: (_, n) => n.nodeAddress6,
  isOn: (n) => ipv6Of(n) !== undefined,
};
const NOBODY_MAC = '02:57:ff:ff:ff:ff';

/** A node that connections may come in by. */
export interface MeshNode {
  id: string;
  index: number;
  address: string;
}

export interface MeshInput {
  nodeId: string;
  /** Underlay address of this node. */
  address: string;
  networks: readonly NetworkView[];
  /** By network id. */
  endpoints: ReadonlyMap<string, readonly EndpointView[]>;
  members: readonly Member[];
  /** Where a node is behind on a network; undefined if it cannot be reached there. */
  endOf: (network: NetworkView, node: MeshNode) => Pick<FdbRow, 'vtep' | 'via'> | undefined;
}

export interface Mesh {
  /** Other nodes. */
  nodes: readonly MeshNode[];
  /** Networks on which this node sends answers back. */
  home: readonly NetworkView[];
  /** To published tasks elsewhere, by their nodes. */
  routes: Route[];
  rules: Rule[];
  neighbours: Neighbour[];
  fdb: FdbRow[];
  /** A task elsewhere and its node's underlay address: that node as client would take the packet for its own. */
  atHome: readonly { client: string; task: string }[];
  atHome6: readonly { client: string; task: string }[];
  /** Ids of networks with tasks elsewhere that connections are brought to by IPv6. */
  away6: ReadonlySet<string>;
  /** Bridge → the address that clients inside come in with, by IPv6. */
  nodeAddresses6: readonly { bridge: string; address: string }[];
}

interface Away {
  network: NetworkView;
  endpoint: EndpointView;
}

/** What the mesh calls for on this node. Nothing of it where no task of an overlay network is published. */
export function meshOf(input: MeshInput): Mesh {
  const others = input.members.filter((m) => m.kind === 'node' && m.id !== input.nodeId && m.address !== input.address);
  const nodes = others.flatMap((m) => (m.index === undefined ? [] : [{ id: m.id, index: m.index, address: m.address }]));
  const overlays = input.networks.filter((n) => n.driver === 'overlay');
  const published = (n: NetworkView) => (input.endpoints.get(n.id) ?? []).filter((e) => e.published);
  const home = nodes.length === 0 ? [] : overlays.filter((n) => published(n).some((e) => e.nodeId === input.nodeId));
  const away: Away[] = overlays.flatMap((network) =>
    published(network)
      .filter((e) => e.nodeId !== input.nodeId)
      .map((endpoint) => ({ network, endpoint })),
  );
  const home6 = home.filter((n) => SIX.isOn(n) && published(n).some((e) => e.nodeId === input.nodeId && e.ipv6 !== undefined));
  return {
    nodes,
    home,
    routes: [
      ...away.flatMap((a) => routeTo(input, a, FOUR)),
      ...home.map((n) => answerRoute(n, FOUR)),
      ...away.flatMap((a) => routeTo(input, a, SIX)),
      ...home6.map((n) => answerRoute(n, SIX)),
    ],
    rules: [...home.map((n) => answerRule(n, FOUR)), ...home6.map((n) => answerRule(n, SIX))],
    neighbours: [...home.map((n) => nobodyOn(n, FOUR)), ...home6.map((n) => nobodyOn(n, SIX))],
    fdb: home.flatMap((n) => nodes.flatMap((node) => rowsOf(n, node, input.endOf(n, node)))),
    atHome: pairs(away, others, FOUR, (m) => [m.address]),
    atHome6: pairs(away, others, SIX, (m) => m.addresses6 ?? []),
    away6: new Set(away.flatMap((a) => (routeTo(input, a, SIX).length > 0 ? [a.network.id] : []))),
    nodeAddresses6: insideAddresses6(input, overlays),
  };
}

/** A node's addresses, each with its tasks elsewhere that are published. */
const pairs = (
  away: readonly Away[],
  others: readonly Member[],
  f: Family,
  addressesOf: (m: Member) => readonly string[],
): Mesh['atHome'] =>
  away.flatMap(({ endpoint }) => {
    const task = f.addressOf(endpoint);
    const node = others.find((m) => m.id === endpoint.nodeId);
    return task === undefined || !node ? [] : addressesOf(node).map((client) => ({ client, task }));
  });

/** The address that this node has on a network; where it has none, one of its own. */
function insideAddresses6({ members, nodeId }: MeshInput, overlays: readonly NetworkView[]): Mesh['nodeAddresses6'] {
  const own = members.find((m) => m.kind === 'node' && m.id === nodeId)?.addresses6?.[0];
  return overlays.flatMap((n) => {
    const address = ipv6Of(n)?.nodeAddress ?? own;
    return address === undefined ? [] : [{ bridge: bridgeName(n.vni), address }];
  });
}

/** By the address of the task's node on the network, which is no next hop of ours unless told (`onlink`): this node may have no address there. */
function routeTo(input: MeshInput, { network, endpoint }: Away, f: Family): Route[] {
  const node = (input.endpoints.get(network.id) ?? []).find((e) => e.taskId === undefined && e.nodeId === endpoint.nodeId);
  const [task, via] = [f.addressOf(endpoint), node && f.addressOf(node)];
  if (task === undefined || via === undefined) return [];
  const source = f.sourceOf(input, network);
  const dev = bridgeName(network.vni);
  return [{ table: 'main', destination: `${task}/${f.whole}`, dev, via, onlink: true, ...(source === undefined ? {} : { source }) }];
}

const answerRoute = (n: NetworkView, f: Family): Route => ({
  table: String(n.vni),
  destination: f.any,
  dev: bridgeName(n.vni),
  via: f.nobody,
  onlink: true,
});

/** It names the device: by mark alone, the VXLAN device's own look-up would inherit the mark and go round in a circle. */
const answerRule = (n: NetworkView, f: Family): Rule => ({
  ...f.rule,
  mark: MESH_MATCH,
  iif: bridgeName(n.vni),
  table: String(n.vni),
});

const nobodyOn = (n: NetworkView, f: Family): Neighbour => ({ dev: bridgeName(n.vni), address: f.nobody, mac: NOBODY_MAC });

function rowsOf(n: NetworkView, { index }: MeshNode, end: Pick<FdbRow, 'vtep' | 'via'> | undefined): FdbRow[] {
  const row = { dev: vxlanName(n.vni), mac: macOfNode(index) };
  return end ? [{ ...row, ...end }, row] : [];
}

const hex = (n: number): string => `0x${n.toString(16).padStart(8, '0')}`;
const markOf = ({ index }: MeshNode): string => hex(MESH_BIT + index);
const zoneOf = ({ index }: MeshNode): number => ((index - 1) % ZONES) + 1;

/** Sets of the node's firewall table for IPv6; only where a port leads to a task by it. */
export const meshSets6 = ({ atHome6, nodeAddresses6 }: Mesh): NftSet[] => [
  { name: 'at_home6', kind: 'set', type: 'ipv6_addr . ipv6_addr', elements: atHome6.map((a) => `${a.client} . ${a.task}`) },
  {
    name: 'node_address6',
    kind: 'map',
    type: 'ifname : ipv6_addr',
    elements: nodeAddresses6.map(({ bridge, address }) => `"${bridge}" : ${address}`),
  },
];

/** Sets of the node's firewall table. None where no answers are sent back. */
export function meshSets({ home, nodes, atHome }: Mesh): NftSet[] {
  const clients: NftSet = {
    name: 'at_home',
    kind: 'set',
    type: 'ipv4_addr . ipv4_addr',
    elements: atHome.map((a) => `${a.client} . ${a.task}`),
  };
  if (home.length === 0) return [clients];
  return [
    clients,
    { name: 'mesh_home', kind: 'set', type: 'ifname', elements: home.map((n) => `"${bridgeName(n.vni)}"`) },
    { name: 'mesh_mark', kind: 'map', type: 'ether_addr : mark', elements: nodes.map((n) => `${macOfNode(n.index)} : ${markOf(n)}`) },
    {
      name: 'mesh_zone',
      kind: 'map',
      type: 'ether saddr : ct zone',
      byExpression: true,
      elements: nodes.map((n) => `${macOfNode(n.index)} : ${zoneOf(n)}`),
    },
  ];
}

/** Before connection tracking, and behind it. Only what is routed here comes by: frames between tasks do not. */
export function meshChains({ home }: Mesh): NftChain[] {
  if (home.length === 0) return [];
  return [
    {
      name: 'mesh_apart',
      hook: 'filter hook prerouting priority -300',
      rules: [
        rule('iifname @mesh_home ct original zone set ether saddr map @mesh_zone', 'one client and port by two nodes are two connections'),
      ],
    },
    {
      name: 'mesh_remember',
      hook: 'filter hook prerouting priority -150',
      rules: [
        rule('iifname @mesh_home ct direction original ct state new ct mark set ether saddr map @mesh_mark', 'the node it came in by'),
        rule(`iifname @mesh_home ct direction reply ct mark & ${hex(MESH_BIT)} != 0 meta mark set ct mark`, 'answers go back that way'),
      ],
    },
  ];
}

/** `table netdev weft`: the last thing before an answer leaves is the MAC of the node it goes to. Undefined if there are none. */
export function meshTable({ home, nodes }: Mesh): string | undefined {
  if (home.length === 0) return undefined;
  const macs: NftSet = {
    name: 'mesh_mac',
    kind: 'map',
    type: 'mark : ether_addr',
    elements: nodes.map((n) => `${markOf(n)} : ${macOfNode(n.index)}`),
  };
  const chains = home.map((n): NftChain => ({
    name: bridgeName(n.vni),
    hook: `filter hook egress device "${bridgeName(n.vni)}" priority 0`,
    rules: [rule(`meta mark & ${hex(MESH_BIT)} != 0 ether daddr set meta mark map @mesh_mac`, 'to the node the client came in by')],
  }));
  return tableText([macs], chains);
}
