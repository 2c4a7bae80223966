/** Published ports of a node: destination translation to the tasks that run on it. */
import type { Port } from '#model/stack.js';
import type { NftChain, NftSet } from './nft-text.js';
import { rule } from './nft-text.js';

/** One published port and the task ports behind it on this node. */
export interface Publication {
  protocol: Port['protocol'];
  published: number;
  /** On this address of the node only; on every one if left out. */
  hostIp?: string;
  backends: readonly { address: string; port: number }[];
}

export function publishedSets(publications: readonly Publication[]): NftSet[] {
  const anywhere = publications.filter((p) => p.hostIp === undefined);
  const somewhere = publications.filter((p) => p.hostIp !== undefined);
  return [
    {
      name: 'published',
      kind: 'map',
      type: 'inet_proto . inet_service : verdict',
      elements: anywhere.map((p) => `${p.protocol} . ${p.published} : goto ${chainName(p)}`),
    },
    {
      name: 'published_at',
      kind: 'map',
      type: 'ipv4_addr . inet_proto . inet_service : verdict',
      elements: somewhere.map((p) => `${p.hostIp} . ${p.protocol} . ${p.published} : goto ${chainName(p)}`),
    },
  ];
}

/** Both doors: what comes in, and what the node itself sends. 127.0.0.0/8 is not for nft: route_localnet stays off on nodes. */
export function publishedChains(publications: readonly Publication[]): NftChain[] {
  return [
    ...publications.map(backendChain),
    {
      name: 'publish',
      rules: [
        rule('fib daddr type != local return', 'not for this node'),
        rule('ip daddr 127.0.0.0/8 return', 'loopback is a proxy, not nft'),
        rule('ip daddr . meta l4proto . th dport vmap @published_at', 'published on one address'),
        rule('meta nfproto ipv4 meta l4proto . th dport vmap @published', 'published on all'),
      ],
    },
    { name: 'publish_prerouting', hook: 'nat hook prerouting priority -100', rules: [rule('jump publish', 'from outside and from tasks')] },
    { name: 'publish_output', hook: 'nat hook output priority -100', rules: [rule('jump publish', 'from the node itself')] },
  ];
}

function chainName(p: Publication): string {
  const at = p.hostIp === undefined ? '' : `_${p.hostIp.replaceAll('.', '_')}`;
  return `pub_${p.protocol}_${p.published}${at}`;
}

function backendChain(p: Publication): NftChain {
  const to = p.backends.map((b) => `${b.address} . ${b.port}`);
  const choice =
    to.length === 1
      ? `${p.backends[0]?.address}:${p.backends[0]?.port}`
      : `numgen random mod ${to.length} map { ${to.map((t, i) => `${i} : ${t}`).join(', ')} }`;
  return { name: chainName(p), rules: [rule(`meta l4proto ${p.protocol} dnat ip to ${choice}`, `${to.length} task(s) here`)] };
}
