/**
 * The main nft table of a node's own namespace: `inet weft` guards, redirects, publishes and masquerades. (`bridge weft`, which lets
 * a task's port send nothing but its own addresses, is port-guard.ts.)
 *
 * An `accept` here overrides no `drop` in somebody else's table; a `drop` here is final. So what must not be is dropped
 * here, and whatever else the host's administrator decided stays as it is (policy accept throughout).
 */
import type { NetworkView } from '#model/node-view.js';
import { DNS_PORT } from '#model/ports.js';
import { SERVICE_ADDRESS, type WiredTask } from './child-network.js';
import type { Mesh } from './mesh.js';
import { meshChains, meshSets, meshSets6 } from './mesh.js';
import { bridgeName, serviceWireName } from './names.js';
import { subnets4 } from './network-view.js';
import type { NftChain, NftRule, NftSet } from './nft-text.js';
import { rule, tableText } from './nft-text.js';
import { inputFromOutside6, inputFromTask6, hairpin6, leavingTask6, masquerade6, sets6 } from './node-firewall6.js';
import type { PublishedPort } from './published-ports.js';
import { isEnteredBy6, publishedChains, publishedSets, refuseUnserved } from './published-ports.js';
import { isEncrypted } from './tunnels.js';

export interface FirewallInput {
  /** Networks with a bridge on this node. */
  networks: readonly NetworkView[];
  published: readonly PublishedPort[];
  mesh: Mesh;
  /** Underlay address of this node. */
  address: string;
  /** Tasks of this node that have a wire of their own to it. */
  wires?: readonly WiredTask[];
  /** Underlay addresses VXLAN may come from: the nodes. */
  vteps: readonly string[];
  /** Underlay addresses whose guarded ports are out of reach for tasks: nodes and controllers. */
  members: readonly string[];
  vxlanPort: number;
  wireguardPort: number;
  /** The WireGuard device, where there are encrypted networks. */
  tunnel?: string;
  /** This node's address inside the tunnels. */
  tunnelEnd?: string;
  guardedTcpPorts: readonly number[];
}

/** Every bridge of ours, by name pattern. */
const BRIDGES = '"wfb*"';

/** `table inet weft`. */
export function firewallTable(input: FirewallInput): string {
  return tableText(
    [
      ...sets(input),
      ...publishedSets(input.published),
      ...meshSets(input.mesh),
      ...(isEnteredBy6(input.published) ? meshSets6(input.mesh) : []),
    ],
    [
      vxlanGuard(input),
      vxlanUntracked(input),
      ...meshChains(input.mesh),
      ...publishedChains(input.published),
      resolverRedirect(),
      ...wireChains(input),
      ...inputChains(input),
      ...forwardChains(input),
      leaving(input),
    ],
  );
}

function sets({ networks, vteps, members, guardedTcpPorts, vxlanPort, wireguardPort, address, wires = [] }: FirewallInput): NftSet[] {
  const bridge = (n: NetworkView) => `"${bridgeName(n.vni)}"`;
  return [
    { name: 'vteps', kind: 'set', type: 'ipv4_addr', fixed: true, elements: unique(vteps) },
    { name: 'members', kind: 'set', type: 'ipv4_addr', elements: unique(members) },
    {
      name: 'guarded',
      kind: 'set',
      type: 'inet_proto . inet_service',
      elements: [...unique(guardedTcpPorts.map((p) => `tcp . ${p}`)), `udp . ${vxlanPort}`, `udp . ${wireguardPort}`],
    },
    { name: 'same_bridge', kind: 'set', type: 'ifname . ifname', elements: networks.map((n) => `${bridge(n)} . ${bridge(n)}`) },
    {
      name: 'own_gateway',
      kind: 'set',
      type: 'ifname . ipv4_addr',
      elements: networks.flatMap((n) => ownAddresses(n).map((own) => `${bridge(n)} . ${own}`)),
    },
    {
      name: 'resolvers',
      kind: 'map',
      type: 'ifname . ipv4_addr : ipv4_addr . inet_service',
      elements: networks.filter(isOn).flatMap((n) => subnets4(n).map((s) => `${bridge(n)} . ${s.gateway} : ${n.gateway} . ${DNS_PORT}`)),
    },
    ...wiredSet(wires),
    { name: 'internal', kind: 'set', type: 'ifname', elements: networks.filter((n) => n.internal).map(bridge) },
    { name: 'subnets', kind: 'set', type: 'ipv4_addr', interval: true, elements: networks.flatMap(subnetTexts) },
    {
      name: 'leaving_subnets',
      kind: 'set',
      type: 'ipv4_addr',
      interval: true,
      elements: networks.filter((n) => !n.internal).flatMap(subnetTexts),
    },
    {
      name: 'node_address',
      kind: 'map',
      type: 'ifname : ipv4_addr',
      elements: networks.map((n) => `${bridge(n)} : ${n.nodeAddress ?? address}`),
    },
    ...sets6(networks),
  ];
}

const subnetTexts = (n: NetworkView): string[] => subnets4(n).map((s) => s.subnet);

function wiredSet(wires: readonly WiredTask[]): NftSet[] {
  const elements = wires.flatMap(({ taskId, addresses }) => addresses.map((a) => `"${serviceWireName(taskId)}" . ${a}`));
  return elements.length === 0 ? [] : [{ name: 'wired', kind: 'set', type: 'ifname . ipv4_addr', elements }];
}

/** Whether the node has an address there: it runs a task on it, and is its gateway. */
const isOn = (n: NetworkView): boolean => n.nodeAddress !== undefined;

const ownAddresses = (n: NetworkView): string[] =>
  n.nodeAddress === undefined ? [] : [...subnets4(n).map((s) => s.gateway), n.nodeAddress];

/**
 * First of all. The VNI is bits 96 … 119 from the start of the UDP header (RFC 7348 §5): another tool's VXLAN on the port passes.
 * Every frame of every tunnel comes by, so a member's is done with by the first rule, which looks at nothing else.
 */
function vxlanGuard(input: FirewallInput): NftChain {
  const { networks, vxlanPort } = input;
  const vnis = networks.filter((n) => n.driver === 'overlay').map((n) => n.vni);
  const rules = [
    ...tunnelEntry(input),
    rule(`udp dport ${vxlanPort} ip saddr @vteps notrack accept`, "members' tunnels need no connection tracking"),
    rule(
      `udp dport ${vxlanPort} @th,96,24 { ${vnis.join(', ')} } counter drop`,
      'VXLAN of our networks comes from members only, over IPv4',
    ),
  ];
  return { name: 'vxlan_guard', hook: 'filter hook prerouting priority -300', rules: vnis.length === 0 ? [] : rules };
}

const encryptedVnis = ({ networks }: FirewallInput): string =>
  networks
    .filter(isEncrypted)
    .map((n) => n.vni)
    .join(', ');

/** What decides about encrypted networks stands before whatever lets anything in (CVE-2023-28840). */
function tunnelEntry(input: FirewallInput): NftRule[] {
  const { tunnel, vxlanPort, wireguardPort } = input;
  if (tunnel === undefined) return [];
  const encrypted = `udp dport ${vxlanPort} @th,96,24 { ${encryptedVnis(input)} }`;
  return [
    rule(`iifname "${tunnel}" ${encrypted} notrack accept`, 'encrypted networks, out of the tunnel'),
    rule(`iifname "${tunnel}" ip protocol != icmp counter drop`, 'nothing else comes out of the tunnel'),
    rule(`${encrypted} counter drop`, 'an encrypted network in clear'),
    rule(`udp dport ${wireguardPort} fib daddr type local ip saddr != @vteps counter drop`, 'tunnels are between nodes'),
  ];
}

function vxlanUntracked(input: FirewallInput): NftChain {
  const { vxlanPort, tunnel } = input;
  const inTunnel =
    tunnel === undefined
      ? []
      : [
          rule(
            `oifname != "${tunnel}" udp dport ${vxlanPort} @th,96,24 { ${encryptedVnis(input)} } counter drop`,
            'an encrypted network leaves by the tunnel or not at all',
          ),
          rule(`oifname "${tunnel}" udp dport ${vxlanPort} notrack`, 'tunnels need no connection tracking'),
        ];
  return {
    name: 'vxlan_untracked',
    hook: 'filter hook output priority -300',
    rules: [...inTunnel, rule(`udp dport ${vxlanPort} ip daddr @vteps notrack`, 'tunnels need no connection tracking')],
  };
}

/** Names of wires, by pattern. */
const WIRES = '"wfs*"';

/** A wire carries questions for names, and what the node itself begins. Its chains stand only while there is one. */
function wireChains({ wires = [] }: FirewallInput): NftChain[] {
  if (wires.length === 0) return [];
  const apart = (direction: string) => rule(`${direction} ${WIRES} counter drop`, 'a wire ends at the node');
  return [
    {
      name: 'wire',
      hook: 'filter hook input priority -1',
      rules: [
        rule(`iifname != ${WIRES} accept`, 'not from a wire'),
        rule('iifname . ip saddr != @wired counter drop', 'an address that is not its own'),
        rule(`ip daddr != ${SERVICE_ADDRESS} counter drop`, 'nothing else of the node is there'),
        rule('ct state established,related accept', 'answers to what the node asked'),
        rule(`meta l4proto { tcp, udp } th dport ${DNS_PORT} accept`, 'names'),
        rule('icmp type echo-request accept', 'ping'),
        rule('counter drop', 'names and answers, and nothing else'),
      ],
    },
    { name: 'wire_forward', hook: 'filter hook forward priority -1', rules: [apart('iifname'), apart('oifname')] },
  ];
}

/** Port 53 of a gateway is redirected, not bound: a resolver of the host's on 0.0.0.0:53 is no clash. */
function resolverRedirect(): NftChain {
  return {
    name: 'resolver_redirect',
    hook: 'nat hook prerouting priority -110',
    rules: ['udp', 'tcp'].map((l4) =>
      rule(`${l4} dport 53 dnat ip to iifname . ip daddr map @resolvers`, 'names are answered on the gateway'),
    ),
  };
}

function inputChains({ vxlanPort, networks, published, tunnel, tunnelEnd }: FirewallInput): NftChain[] {
  const inner =
    tunnel === undefined || tunnelEnd === undefined
      ? []
      : [rule(`ip daddr ${tunnelEnd} iifname != { "lo", "${tunnel}" } counter drop`, 'the end of the tunnels is met in the tunnel only')];
  return [
    {
      name: 'input_from_task',
      rules: [
        rule('ct state established,related accept', 'answers to what the node asked'),
        rule('meta l4proto . th dport @guarded counter drop', 'agent, controller, etcd and VXLAN are out of reach for tasks'),
        rule(`iifname . ip daddr @own_gateway meta l4proto { tcp, udp } th dport ${DNS_PORT} accept`, 'names, on the own gateway'),
        rule(`meta l4proto { tcp, udp } th dport ${DNS_PORT} drop`, 'names of another network'),
        rule('iifname . ip daddr @own_gateway accept', 'the own network: ping and what the host chose to serve'),
        rule('ip daddr @subnets drop', "another network's gateway or node address"),
        ...inputFromTask6(networks),
        rule('iifname @internal drop', 'an internal network reaches its own gateway and nothing else'),
      ],
    },
    {
      name: 'input',
      hook: 'filter hook input priority 0',
      rules: [
        // vxlan_guard leaves untracked what comes from a member's address, which no task can send from.
        rule(`udp dport ${vxlanPort} ct state untracked accept`, "members' tunnels: most of what comes in"),
        ...inner,
        ...refuseUnserved(published),
        rule(`iifname ${BRIDGES} goto input_from_task`, 'what a task sends to the node'),
        rule('ct state established,related accept', 'answers'),
        rule('iifname "lo" accept', 'the node itself'),
        rule('ip daddr @subnets counter drop', 'from outside, no network is entered by its gateway: no open resolver'),
        ...inputFromOutside6(networks),
      ],
    },
  ];
}

function forwardChains({ vxlanPort, networks, tunnel }: FirewallInput): NftChain[] {
  const vnis = networks.filter((n) => n.driver === 'overlay').map((n) => n.vni);
  const inject = rule(`udp dport ${vxlanPort} @th,96,24 { ${vnis.join(', ')} } counter drop`, 'nobody but a node speaks for our networks');
  return [
    {
      name: 'from_task',
      rules: [
        rule(
          'iifname . oifname @same_bridge accept',
          'the same network: bridged frames under br_netfilter, and a published port of a sibling',
        ),
        rule('ip daddr @members meta l4proto . th dport @guarded counter drop', 'masqueraded, it would look like a member'),
        ...(vnis.length === 0 ? [] : [inject]),
        rule('iifname @internal counter drop', 'an internal network has no way out'),
        rule('ct state established,related accept', 'answers'),
        rule(`oifname ${BRIDGES} ct status dnat accept`, "another network's published port"),
        rule(`oifname ${BRIDGES} counter drop`, 'networks are apart'),
        rule('ip daddr @subnets drop', 'an address of a network of ours never leaves by another device'),
        ...leavingTask6(networks),
        rule('ct state invalid drop', 'would leave without its address translated'),
      ],
    },
    {
      name: 'to_task',
      rules: [
        rule('ct state established,related accept', 'answers'),
        rule('ct status dnat accept', 'a published port'),
        rule('counter drop', 'from outside, a route is not a way in'),
      ],
    },
    {
      name: 'forwarding',
      hook: 'filter hook forward priority 0',
      rules: [
        ...(tunnel === undefined ? [] : [rule(`oifname "${tunnel}" counter drop`, 'nobody is forwarded into the tunnel')]),
        rule(`iifname ${BRIDGES} goto from_task`, 'what a task sends'),
        rule(`oifname ${BRIDGES} goto to_task`, 'what comes in for a task'),
      ],
    },
  ];
}

function leaving({ networks, published }: FirewallInput): NftChain {
  return {
    name: 'leaving',
    hook: 'nat hook postrouting priority 100',
    rules: [
      rule(
        'ct status dnat ip saddr @subnets snat ip to oifname map @node_address',
        'hairpin: a task at a published port, the answer must come back here',
      ),
      rule(
        'ct status dnat ip saddr . ip daddr @at_home snat ip to oifname map @node_address',
        'a node by way of us to its own task: with its own address it would be its own stranger',
      ),
      rule('ct status dnat fib saddr type local snat ip to oifname map @node_address', 'the node itself at its published port'),
      ...(isEnteredBy6(published) ? hairpin6(networks) : []),
      rule(`oifname != ${BRIDGES} ip saddr @leaving_subnets masquerade`, 'to the outside, tasks look like their node'),
      ...masquerade6(networks),
    ],
  };
}

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)];
