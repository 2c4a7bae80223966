/** The nft table of a task's namespace: its resolver at 127.0.0.11, and the virtual addresses of its networks. */
import { DNS_PORT } from '#model/ports.js';
import type { NftChain } from './nft-text.js';
import { TASK_TABLE } from './names.js';
import { rule, tableText } from './nft-text.js';
import { vipChains, vipSets } from './vip-table.js';

/** Where images, and Docker itself, expect the resolver. */
export const TASK_RESOLVER = '127.0.0.11';

/** Where a task asks for names: an address of its node's, by a device whose own address it takes (masquerade), or as `source`. */
export interface TaskResolver {
  address: string;
  device?: { name: string; source: string };
}

/** @param resolver undefined for a task without networks */
export function taskTable(asked: TaskResolver | undefined): string {
  const resolver = asked === undefined ? [] : resolverChains(asked);
  return tableText(vipSets(TASK_TABLE), [loopbackGuard, ...resolver, ...vipChains(TASK_TABLE)]);
}

const loopbackGuard: NftChain = {
  name: 'loopback_guard',
  hook: 'filter hook prerouting priority -300',
  rules: [rule('iif != "lo" ip daddr 127.0.0.0/8 drop', 'route_localnet is on: keep neighbours out of the loopback')],
};

function resolverChains({ address, device }: TaskResolver): NftChain[] {
  const named =
    device && rule(`oifname "${device.name}" ip saddr 127.0.0.0/8 snat to ${device.source}`, 'a wire without an address of its own');
  return [
    {
      name: 'resolver_out',
      hook: 'nat hook output priority -110',
      rules: ['udp', 'tcp'].map((l4) =>
        rule(`ip daddr ${TASK_RESOLVER} ${l4} dport 53 dnat to ${address}:${DNS_PORT}`, 'names are answered on the gateway'),
      ),
    },
    {
      name: 'resolver_source',
      hook: 'nat hook postrouting priority 100',
      rules: [
        ...(named ? [named] : []),
        rule('oifname != "lo" ip saddr 127.0.0.0/8 masquerade', 'leave with the address of the task, which tells who asks'),
      ],
    },
  ];
}
