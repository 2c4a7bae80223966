/**
 * Published ports of a node: destination translation to the tasks behind them, on this node or another. Flat maps and one
 * chain per NUMBER of backends, as for virtual addresses (vip-table.ts): loading thousands of ports stays quick.
 */
import { isIpv4 } from '#base/address.js';
import type { Port } from '#model/stack.js';
import type { NftChain, NftSet } from './nft-text.js';
import { rule } from './nft-text.js';

/** One published port and the task ports behind it. */
export interface PublishedPort {
  protocol: Port['protocol'];
  published: number;
  /** On this address of the node only (0.0.0.0, ::: every one of the family); on every one if left out. */
  hostIp?: string;
  /** client: the same client comes to the same task as long as the set of tasks stays. */
  affinity?: 'client';
  /** Sorted. */
  backends: readonly { address: string; port: number }[];
}

const EVERY = '0.0.0.0';

/** On all addresses of a family, or on one. A port that only IPv6 has is none here. */
const isAnywhere = (p: PublishedPort): boolean => p.hostIp === undefined || p.hostIp === EVERY;
const isSomewhere = (p: PublishedPort): boolean => p.hostIp !== undefined && p.hostIp !== EVERY && isIpv4(p.hostIp);

const doorOf = (p: PublishedPort): string => `${p.protocol} . ${p.published}`;
const verdictOf = (p: PublishedPort, where: 'pub' | 'pub_at'): string =>
  `goto ${where}${p.affinity === 'client' ? '_same' : ''}${p.backends.length}`;

export function publishedSets(ports: readonly PublishedPort[]): NftSet[] {
  const served = ports.filter((p) => p.backends.length > 0);
  const anywhere = served.filter(isAnywhere);
  const somewhere = served.filter(isSomewhere);
  const backends = (p: PublishedPort, key: string) => p.backends.map((b, i) => `${key} . ${i} : ${b.address} . ${b.port}`);
  return [
    {
      name: 'published',
      kind: 'map',
      type: 'inet_proto . inet_service : verdict',
      elements: anywhere.map((p) => `${doorOf(p)} : ${verdictOf(p, 'pub')}`),
    },
    {
      name: 'published_at',
      kind: 'map',
      type: 'ipv4_addr . inet_proto . inet_service : verdict',
      elements: somewhere.map((p) => `${p.hostIp} . ${doorOf(p)} : ${verdictOf(p, 'pub_at')}`),
    },
    {
      name: 'behind',
      kind: 'map',
      type: 'meta l4proto . th dport . numgen random mod 65535 : ip daddr . th dport',
      byExpression: true,
      elements: anywhere.flatMap((p) => backends(p, doorOf(p))),
    },
    {
      name: 'behind_at',
      kind: 'map',
      type: 'ip daddr . meta l4proto . th dport . numgen random mod 65535 : ip daddr . th dport',
      byExpression: true,
      elements: somewhere.flatMap((p) => backends(p, `${p.hostIp} . ${doorOf(p)}`)),
    },
    { name: 'unserved', kind: 'set', type: 'inet_proto . inet_service', elements: unserved(ports).map(doorOf) },
  ];
}

const unserved = (ports: readonly PublishedPort[]): PublishedPort[] => ports.filter((p) => p.backends.length === 0 && isAnywhere(p));

/** Both doors: what comes in, and what the node itself sends. 127.0.0.0/8 is not for nft: route_localnet stays off on nodes. */
export function publishedChains(ports: readonly PublishedPort[]): NftChain[] {
  return [
    ...balancers(ports),
    {
      name: 'publish',
      rules: [
        rule('fib daddr type != local return', 'not for this node'),
        rule('ip daddr 127.0.0.0/8 return', 'loopback is served by a proxy: route_localnet would open it to tasks'),
        rule('ip daddr . meta l4proto . th dport vmap @published_at', 'published on one address'),
        rule('meta nfproto ipv4 meta l4proto . th dport vmap @published', 'published on all'),
      ],
    },
    { name: 'publish_prerouting', hook: 'nat hook prerouting priority -100', rules: [rule('jump publish', 'from outside and from tasks')] },
    { name: 'publish_output', hook: 'nat hook output priority -100', rules: [rule('jump publish', 'from the node itself')] },
  ];
}

/** For the top of the input chain: a port whose tasks are all gone refuses at once, and does not reach who holds the port for us. */
export function refuseUnserved(ports: readonly PublishedPort[]): NftChain['rules'] {
  if (unserved(ports).length === 0) return [];
  return [
    rule('iifname != "lo" meta l4proto tcp meta l4proto . th dport @unserved reject with tcp reset', 'published, and nobody serves it now'),
    rule('iifname != "lo" meta l4proto . th dport @unserved reject', 'the same for everything else'),
  ];
}

function balancers(ports: readonly PublishedPort[]): NftChain[] {
  const served = ports.filter((p) => p.backends.length > 0);
  const chains = new Map<string, NftChain>();
  for (const p of served) {
    const where = isAnywhere(p) ? 'pub' : 'pub_at';
    if (where === 'pub_at' && !isSomewhere(p)) continue;
    const name = verdictOf(p, where).slice('goto '.length);
    const choice = p.affinity === 'client' ? 'jhash ip saddr' : 'numgen random';
    const key = where === 'pub' ? 'meta l4proto . th dport' : 'ip daddr . meta l4proto . th dport';
    const map = where === 'pub' ? 'behind' : 'behind_at';
    const why = `one of ${p.backends.length}, wherever it runs`;
    chains.set(name, { name, rules: [rule(`dnat ip to ${key} . ${choice} mod ${p.backends.length} map @${map}`, why)] });
  }
  return [...chains.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
