/** The IPv6 half of a node's tables: sets and rules that node-firewall.ts puts beside those of IPv4. Nothing while no network has IPv6. */
import type { NetworkView } from '#model/node-view.js';
import { bridgeName } from './names.js';
import { ipv6Of } from './network-view.js';
import type { NftRule, NftSet } from './nft-text.js';
import { rule } from './nft-text.js';

const has6 = (networks: readonly NetworkView[]): boolean => networks.some((n) => ipv6Of(n) !== undefined);

export function sets6(networks: readonly NetworkView[]): NftSet[] {
  if (!has6(networks)) return [];
  const all = networks.flatMap((network) => {
    const six = ipv6Of(network);
    return six ? [{ network, ...six, bridge: `"${bridgeName(network.vni)}"` }] : [];
  });
  const leaves = all.filter(({ network }) => !network.internal && !network.options?.ipv6Routed);
  return [
    {
      name: 'own_gateway6',
      kind: 'set',
      type: 'ifname . ipv6_addr',
      elements: all.flatMap((s) => [`${s.bridge} . ${s.gateway}`, `${s.bridge} . ${s.nodeAddress}`]),
    },
    { name: 'subnets6', kind: 'set', type: 'ipv6_addr', interval: true, elements: all.map((s) => s.subnet) },
    { name: 'leaving_subnets6', kind: 'set', type: 'ipv6_addr', interval: true, elements: leaves.map((s) => s.subnet) },
  ];
}

const where = (networks: readonly NetworkView[], rules: readonly NftRule[]): readonly NftRule[] => (has6(networks) ? rules : []);

/** Before the rule that closes internal networks: without neighbour discovery nothing is reached at all. */
export const inputFromTask6 = (networks: readonly NetworkView[]): readonly NftRule[] =>
  where(networks, [
    rule('icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept', 'neighbour discovery: the port guard has judged it'),
    rule('iifname . ip6 daddr @own_gateway6 accept', 'the own network, over IPv6'),
    rule('ip6 daddr @subnets6 drop', "another network's gateway or node address"),
  ]);

export const inputFromOutside6 = (networks: readonly NetworkView[]): readonly NftRule[] =>
  where(networks, [rule('ip6 daddr @subnets6 counter drop', 'from outside, no network is entered by its gateway')]);

export const leavingTask6 = (networks: readonly NetworkView[]): readonly NftRule[] =>
  where(networks, [rule('ip6 daddr @subnets6 drop', 'an address of a network of ours never leaves by another device')]);

/** Clients inside, at a published port that leads to a task by IPv6: the answer must come back here. Its sets are meshSets6. */
export const hairpin6 = (networks: readonly NetworkView[]): readonly NftRule[] => [
  ...where(networks, [rule('ct status dnat ip6 saddr @subnets6 snat ip6 to oifname map @node_address6', 'a task at a published port')]),
  rule('ct status dnat ip6 saddr . ip6 daddr @at_home6 snat ip6 to oifname map @node_address6', 'a node by way of us to its own task'),
  rule(
    'meta nfproto ipv6 ct status dnat fib saddr type local snat ip6 to oifname map @node_address6',
    'the node itself at its published port',
  ),
];

export const masquerade6 = (networks: readonly NetworkView[]): readonly NftRule[] =>
  where(networks, [rule('oifname != "wfb*" ip6 saddr @leaving_subnets6 masquerade', 'NAT66: the site has no route to these addresses')]);
