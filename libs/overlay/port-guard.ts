/**
 * The nft table `bridge weft` of a node: a task's port sends nothing but its own addresses. Who has which is in sets that change
 * element by element: a task more is one element, whatever number of tasks there are, and nothing is loaded anew.
 *
 * Closed by default: what comes from a port that is in no set goes nowhere.
 */
import type { NetworkView } from '#model/node-view.js';
import { canonicalAddress } from '#base/ip.js';
import { floodGuard } from './multicast.js';
import { hex128, linkLocalOf } from './network-view.js';
import type { NftRule, NftSet } from './nft-text.js';
import { rule, tableText } from './nft-text.js';

/** One task interface on this node. */
export interface LocalPort {
  veth: string;
  ipv4: string;
  ipv6?: string | undefined;
  mac: string;
}

interface LocalPort6 extends LocalPort {
  ipv6: string;
}

const OWN = 'own';
const OWN6 = 'own6';
/** Sets whose elements are no part of the table's text. */
export const GUARD_SETS: readonly string[] = [OWN, OWN6];

/** A set has place for so many at least; for more it is made anew, twice as large each time. */
const LEAST_CAPACITY = 1024;
/** DHCPv6 servers answer from this port (RFC 8415 §7.2). */
const DHCP6_SERVER_PORT = 547;

const withIpv6 = (ports: readonly LocalPort[]): LocalPort6[] =>
  ports.flatMap((p) => (p.ipv6 === undefined ? [] : [{ ...p, ipv6: p.ipv6 }]));

/** The inside of the table, with empty sets: portGuardElements tells what is in them. */
export function portGuardTable(ports: readonly LocalPort[], networks: readonly NetworkView[] = []): string {
  const six = withIpv6(ports);
  const own: NftSet = {
    name: OWN,
    kind: 'set',
    type: 'ifname . ether_addr . ipv4_addr',
    capacity: capacityFor(ports.length),
    elements: [],
  };
  return tableText(
    [own, ...sets6(six)],
    [
      {
        name: 'ingress',
        hook: 'filter hook prerouting priority -300',
        rules: [
          rule('iifname != "wfv*" accept', 'not from a task of ours'),
          rule('ether type ip iifname . ether saddr . ip saddr @own accept', 'its own address'),
          rule(
            'ether type arp iifname . ether saddr . arp saddr ip @own iifname . arp saddr ether . arp saddr ip @own accept',
            'it speaks for itself',
          ),
          ...rules6(six),
          rule('counter drop', 'spoofed, or of another protocol'),
        ],
      },
      ...floodGuard(networks),
    ],
  );
}

/** What is in the sets of the table, sorted, as nft writes it. Those that are empty are left out. */
export function portGuardElements(ports: readonly LocalPort[]): Record<string, readonly string[]> {
  const six = withIpv6(ports);
  return {
    ...(ports.length === 0 ? {} : { [OWN]: ports.map((p) => `"${p.veth}" . ${p.mac} . ${p.ipv4}`).sort() }),
    ...(six.length === 0 ? {} : { [OWN6]: six.flatMap((p) => own6(p).map((a) => `"${p.veth}" . ${p.mac} . ${a}`)).sort() }),
  };
}

/** The kernel makes its fastest kind of a set whose size it is told, and takes no more than that. */
function capacityFor(count: number): number {
  let capacity = LEAST_CAPACITY;
  while (capacity < count) capacity *= 2;
  return capacity;
}

/** A task has its address, and the link-local one of its MAC. */
const own6 = (p: LocalPort6): string[] => [p.ipv6, linkLocalOf(p.mac)].map(canonicalAddress);

function sets6(ports: readonly LocalPort6[]): NftSet[] {
  if (ports.length === 0) return [];
  return [
    { name: OWN6, kind: 'set', type: 'ifname . ether_addr . ipv6_addr', capacity: capacityFor(2 * ports.length), elements: [] },
    {
      // Of expressions: how nft prints such elements is not fit to be read, so they are told with the table.
      name: 'claims6',
      kind: 'set',
      type: 'iifname . @th,64,128',
      byExpression: true,
      elements: ports.flatMap((p) => own6(p).map((a) => `"${p.veth}" . ${hex128(a)}`)),
    },
  ];
}

/** Of frames from tasks. The target of an advertisement is bits 64 … 191 of the ICMPv6 message (RFC 4861 §4.4). */
function rules6(ports: readonly LocalPort6[]): NftRule[] {
  if (ports.length === 0) return [];
  return [
    rule('icmpv6 type { nd-router-advert, nd-redirect } counter drop', 'a task is no router (RFC 6105)'),
    rule('icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @claims6 counter drop', 'it speaks for itself'),
    rule(`ether type ip6 udp sport ${DHCP6_SERVER_PORT} counter drop`, 'a task is no DHCPv6 server (RFC 7610)'),
    rule('ether type ip6 iifname . ether saddr . ip6 saddr @own6 accept', 'its own address, or the link-local one of its MAC'),
    rule('ether type ip6 ip6 saddr :: drop', 'asks whether its address is taken: it is not'),
  ];
}
