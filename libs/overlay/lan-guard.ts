/**
 * What a task in the LAN of the site may send there: frames with its own MAC and address, and no others. Such an interface has
 * no port on a bridge of ours where one could look, so the task's own namespace looks, on the way out of its device
 * (`netdev` egress, which raw sockets pass too).
 */
import { hex128, linkLocalOf } from './network-view.js';
import type { NftChain, NftRule } from './nft-text.js';
import { rule, tableText } from './nft-text.js';
import type { TaskInterface } from './task-interfaces.js';

/** `table netdev weft` of a task. Undefined for one that is in no LAN. */
export function lanGuardTable(interfaces: readonly TaskInterface[]): string | undefined {
  const inLan = interfaces.filter((i) => i.parent !== undefined);
  return inLan.length === 0 ? undefined : tableText([], inLan.map(chainOf));
}

const chainOf = (i: TaskInterface): NftChain => ({
  name: `lan_${i.name}`,
  hook: `filter hook egress device "${i.name}" priority 0`,
  rules: [
    ...ownMac(i),
    rule(`ether type ip ip saddr ${i.ipv4} accept`, 'its own address'),
    rule(`ether type arp arp saddr ip ${i.ipv4} accept`, 'it speaks for itself'),
    ...rules6(i),
    rule('counter drop', 'spoofed, or of another protocol'),
  ],
});

/** Interfaces of ipvlan have the MAC of their parent, and the kernel puts it in. */
const ownMac = ({ network, mac }: TaskInterface): NftRule[] =>
  network.driver === 'ipvlan'
    ? []
    : [
        rule(`ether saddr != ${mac} counter drop`, 'a MAC that is not its own'),
        rule(`ether type arp arp saddr ether != ${mac} counter drop`, 'an address that it does not have'),
      ];

/** The target of an advertisement is bits 64 … 191 of the ICMPv6 message (RFC 4861 §4.4). */
function rules6({ network, ipv6, mac }: TaskInterface): NftRule[] {
  if (!network.ipv6 || ipv6 === undefined) return [];
  const own = network.driver === 'ipvlan' ? [ipv6] : [ipv6, linkLocalOf(mac)];
  return [
    rule('icmpv6 type { nd-router-advert, nd-redirect } counter drop', 'a task is no router (RFC 6105)'),
    rule(`icmpv6 type nd-neighbor-advert @th,64,128 != { ${own.map(hex128).join(', ')} } counter drop`, 'it speaks for itself'),
    rule(`ether type ip6 ip6 saddr { ${own.join(', ')} } accept`, 'its own address'),
  ];
}
