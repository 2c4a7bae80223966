/**
 * Virtual addresses, balanced where the client is: its own namespace rewrites the destination of each new connection, so
 * the source address stays and nothing has to come back the same way.
 *
 * Flat maps and one chain per NUMBER of backends, not a chain per service: loading 30,000 services takes under a second
 * this way, and minutes the usual way. A look-up costs the same for one service and for thousands.
 */
import type { NftChain, NftSet } from './nft-text.js';
import { rule } from './nft-text.js';

export interface Vip {
  address: string;
  /** Task addresses. Empty: connections are refused. */
  backends: readonly string[];
}

/** Which hooks translate: a task's own connections (`output`), and what it forwards for others (`prerouting`). */
export type VipHook = 'output' | 'prerouting';

export function vipSets(vips: readonly Vip[]): NftSet[] {
  const alive = vips.filter((v) => v.backends.length > 0);
  return [
    { name: 'vips', kind: 'map', type: 'ipv4_addr : verdict', elements: alive.map((v) => `${v.address} : goto lb${v.backends.length}`) },
    {
      name: 'ep',
      kind: 'map',
      type: 'ipv4_addr . mark : ipv4_addr',
      elements: alive.flatMap((v) => [...v.backends].sort().map((b, i) => `${v.address} . ${hex(i)} : ${b}`)),
    },
    { name: 'empty', kind: 'set', type: 'ipv4_addr', elements: vips.filter((v) => v.backends.length === 0).map((v) => v.address) },
  ];
}

export function vipChains(vips: readonly Vip[], hooks: readonly VipHook[]): NftChain[] {
  const counts = [...new Set(vips.map((v) => v.backends.length))].filter((n) => n > 0).sort((a, b) => a - b);
  // A filter chain is asked about every packet, one of type nat about the first of a connection: only while there is something to refuse.
  const refusers = vips.some((v) => v.backends.length === 0) ? hooks.map(refuser) : [];
  return [...counts.map(balancer), ...hooks.map(translator), ...refusers];
}

function balancer(count: number): NftChain {
  return {
    name: `lb${count}`,
    rules: [
      rule(`meta mark set numgen random mod ${count}`, `choose one of ${count}`),
      rule('dnat to ip daddr . meta mark map @ep', 'the chosen backend of this virtual address'),
    ],
  };
}

const translator = (hook: VipHook): NftChain => ({
  name: `vip_${hook}`,
  hook: `nat hook ${hook} priority -100`,
  rules: [rule('ip daddr vmap @vips', 'virtual address → a backend, once per connection')],
});

/** A NAT chain cannot reject; the filter hook behind it can. What was sent on has another destination by then. */
const refuser = (hook: VipHook): NftChain => ({
  name: `empty_${hook}`,
  hook: `filter hook ${hook === 'output' ? 'output' : 'forward'} priority 0`,
  rules: [
    rule('ip daddr @empty meta l4proto tcp reject with tcp reset', 'a service without endpoints refuses, it is not silent'),
    rule('ip daddr @empty reject', 'the same for everything else'),
  ],
});

const hex = (n: number): string => `0x${n.toString(16).padStart(8, '0')}`;
