/**
 * Published ports of a node: destination translation to the tasks behind them, on this node or another. Flat maps and one
 * chain per NUMBER of backends, as for virtual addresses (vip-table.ts): loading thousands of ports stays quick.
 *
 * Both families, each with maps of its own: a task without IPv6 is none of the backends of IPv6. A port that has none at all
 * there is served by the port proxy, which holds it in both families and passes on.
 */
import { isIpv4 } from '#base/address.js';
import type { Port } from '#model/stack.js';
import type { NftChain, NftRule, NftSet } from './nft-text.js';
import { rule } from './nft-text.js';

/** A task's port behind a published one. */
export interface PortBackend {
  address: string;
  port: number;
}

/** One published port and the task ports behind it. */
export interface PublishedPort {
  protocol: Port['protocol'];
  published: number;
  /** On this address of the node only (0.0.0.0, ::: every one of the family); on every one if left out. */
  hostIp?: string;
  /** client: the same client comes to the same task as long as the set of tasks stays. */
  affinity?: 'client';
  /** Sorted. */
  backends: readonly PortBackend[];
  /** Those of them that have IPv6, by their IPv6 addresses. Sorted. */
  backends6?: readonly PortBackend[];
}

/** How nft says things of one family, and how our sets and chains of it are called. */
interface Family {
  suffix: '' | '6';
  nfproto: 'ipv4' | 'ipv6';
  ip: 'ip' | 'ip6';
  type: 'ipv4_addr' | 'ipv6_addr';
  every: string;
  has: (address: string) => boolean;
  backendsOf: (p: PublishedPort) => readonly PortBackend[];
}

const FOUR: Family = {
  ...{ suffix: '', nfproto: 'ipv4', ip: 'ip', type: 'ipv4_addr', every: '0.0.0.0' },
  has: isIpv4,
  backendsOf: (p) => p.backends,
};
const SIX: Family = {
  ...{ suffix: '6', nfproto: 'ipv6', ip: 'ip6', type: 'ipv6_addr', every: '::' },
  has: (address) => !isIpv4(address),
  backendsOf: (p) => p.backends6 ?? [],
};

/** IPv6 has sets and rules only where something is behind them. */
const familiesOf = (ports: readonly PublishedPort[]): Family[] => (isEnteredBy6(ports) ? [FOUR, SIX] : [FOUR]);

/** Whether any port leads to a task by IPv6. */
export const isEnteredBy6 = (ports: readonly PublishedPort[]): boolean => ports.some((p) => SIX.backendsOf(p).length > 0);

/** On all addresses of a family, or on one. */
const isAnywhere = (p: PublishedPort, f: Family): boolean => p.hostIp === undefined || p.hostIp === f.every;
const isSomewhere = (p: PublishedPort, f: Family): boolean => p.hostIp !== undefined && p.hostIp !== f.every && f.has(p.hostIp);

const doorOf = (p: PublishedPort): string => `${p.protocol} . ${p.published}`;
const verdictOf = (p: PublishedPort, f: Family, where: 'pub' | 'pub_at'): string =>
  `goto ${where}${f.suffix}${p.affinity === 'client' ? '_same' : ''}${f.suffix === '' ? '' : '_'}${f.backendsOf(p).length}`;

export function publishedSets(ports: readonly PublishedPort[]): NftSet[] {
  return [
    ...familiesOf(ports).flatMap((f) => setsOf(ports, f)),
    { name: 'unserved', kind: 'set', type: 'inet_proto . inet_service', elements: unserved(ports).map(doorOf) },
  ];
}

function setsOf(ports: readonly PublishedPort[], f: Family): NftSet[] {
  const served = ports.filter((p) => f.backendsOf(p).length > 0);
  const anywhere = served.filter((p) => isAnywhere(p, f));
  const somewhere = served.filter((p) => isSomewhere(p, f));
  const backends = (p: PublishedPort, key: string) => f.backendsOf(p).map((b, i) => `${key} . ${i} : ${b.address} . ${b.port}`);
  return [
    {
      name: `published${f.suffix}`,
      kind: 'map',
      type: 'inet_proto . inet_service : verdict',
      elements: anywhere.map((p) => `${doorOf(p)} : ${verdictOf(p, f, 'pub')}`),
    },
    {
      name: `published_at${f.suffix}`,
      kind: 'map',
      type: `${f.type} . inet_proto . inet_service : verdict`,
      elements: somewhere.map((p) => `${p.hostIp} . ${doorOf(p)} : ${verdictOf(p, f, 'pub_at')}`),
    },
    {
      name: `behind${f.suffix}`,
      kind: 'map',
      type: `meta l4proto . th dport . numgen random mod 65535 : ${f.ip} daddr . th dport`,
      byExpression: true,
      elements: anywhere.flatMap((p) => backends(p, doorOf(p))),
    },
    {
      name: `behind_at${f.suffix}`,
      kind: 'map',
      type: `${f.ip} daddr . meta l4proto . th dport . numgen random mod 65535 : ${f.ip} daddr . th dport`,
      byExpression: true,
      elements: somewhere.flatMap((p) => backends(p, `${p.hostIp} . ${doorOf(p)}`)),
    },
  ];
}

const unserved = (ports: readonly PublishedPort[]): PublishedPort[] => ports.filter((p) => p.backends.length === 0 && isAnywhere(p, FOUR));

/** Both doors: what comes in, and what the node itself sends. Loopback is not for nft: route_localnet stays off on nodes, and IPv6 has none. */
export function publishedChains(ports: readonly PublishedPort[]): NftChain[] {
  const families = familiesOf(ports);
  return [
    ...families.flatMap((f) => balancers(ports, f)),
    { name: 'publish', rules: [rule('fib daddr type != local return', 'not for this node'), ...families.flatMap(entering)] },
    { name: 'publish_prerouting', hook: 'nat hook prerouting priority -100', rules: [rule('jump publish', 'from outside and from tasks')] },
    { name: 'publish_output', hook: 'nat hook output priority -100', rules: [rule('jump publish', 'from the node itself')] },
  ];
}

function entering(f: Family): NftRule[] {
  const loopback =
    f.suffix === ''
      ? [rule('ip daddr 127.0.0.0/8 return', 'loopback is served by a proxy: route_localnet would open it to tasks')]
      : [
          rule('ip6 daddr ::1 return', 'loopback is served by a proxy: it leads nowhere else'),
          rule('ip6 saddr fe80::/10 return', 'a client that has no address but on its link is served by a proxy: tasks have no way there'),
        ];
  return [
    ...loopback,
    rule(`${f.ip} daddr . meta l4proto . th dport vmap @published_at${f.suffix}`, 'published on one address'),
    rule(`meta nfproto ${f.nfproto} meta l4proto . th dport vmap @published${f.suffix}`, 'published on all'),
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

function balancers(ports: readonly PublishedPort[], f: Family): NftChain[] {
  const chains = new Map<string, NftChain>();
  for (const p of ports) {
    const count = f.backendsOf(p).length;
    const where = isAnywhere(p, f) ? 'pub' : 'pub_at';
    if (count === 0 || (where === 'pub_at' && !isSomewhere(p, f))) continue;
    const name = verdictOf(p, f, where).slice('goto '.length);
    const choice = p.affinity === 'client' ? `jhash ${f.ip} saddr` : 'numgen random';
    const key = where === 'pub' ? 'meta l4proto . th dport' : `${f.ip} daddr . meta l4proto . th dport`;
    const map = `${where === 'pub' ? 'behind' : 'behind_at'}${f.suffix}`;
    const why = `one of ${count}, wherever it runs`;
    chains.set(name, { name, rules: [rule(`dnat ${f.ip} to ${key} . ${choice} mod ${count} map @${map}`, why)] });
  }
  return [...chains.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
