/**
 * Operations as lines for `ip -batch` and `bridge -batch`. Pure. Names and addresses passed their patterns at the edge;
 * a line with a control character is refused all the same, since a newline would be a command of its own.
 */
import { WeftError } from '#base/errors.js';
import { isRule6 } from '#overlay/kernel-state.js';
import type { ChildLink, FdbRow, Link, Route, Rule, VxlanLink } from '#overlay/kernel-state.js';
import { isChild, isForEverybody, NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { childBirthName, isSpareNamespace, ROUTE_PROTOCOL } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';

/** What runs an operation: one process a tool and namespace takes any number of them. */
/** `ip6` is `ip -6`: rules take their family from the command, all else takes it from the address. */
export type Tool = 'ip' | 'ip6' | 'bridge' | 'wg' | 'nft' | 'sysctl' | 'conntrack';

/** In lines for an `ip` that is in a spare namespace, its own process id: by that the namespace gets a task's name. */
export const OWN_ID = '%own-id%';

export interface Line {
  text: string;
  /** Its failure is none: what it undoes may not be there. */
  optional?: boolean;
}

export function toolOf(o: Operation): Tool {
  switch (o.op) {
    case 'putFdb':
    case 'removeFdb':
      return 'bridge';
    case 'addLink':
    case 'setLink':
      return o.link.kind === 'wireguard' ? 'wg' : 'ip';
    case 'putPeer':
    case 'removePeer':
      return 'wg';
    case 'putTable':
    case 'removeTable':
    case 'setVips':
    case 'setElements':
      return 'nft';
    case 'setSysctl':
      return 'sysctl';
    case 'forgetFlows':
    case 'forgetDoor':
    case 'forgetDatagrams':
      return 'conntrack';
    case 'putRule':
    case 'removeRule':
      return isRule6(o.rule) ? 'ip6' : 'ip';
    default:
      return 'ip';
  }
}

/**
 * A batch line that has `ip` run a command in namespace `ns`: a process as small as it is started in a fraction of the time that a
 * larger one needs to start it. undefined where a word cannot be said in a line.
 */
export function commandLine(ns: string, argv: readonly string[] | undefined): Line | undefined {
  if (!argv?.every(isSayable)) return undefined;
  return { text: `netns exec ${ns} ${argv.map((word) => `'${word}'`).join(' ')}` };
}

/** `ip` reads words in quotes, knows no escape for one, and takes # for a comment wherever it stands (lib/utils.c, getcmdline and makeargs). */
const isSayable = (word: string): boolean => word !== '' && !hasControls(word) && !/['#]/.test(word);

/** Everything below a space, and DEL. */
const hasControls = (text: string): boolean => [...text].some((c) => c < ' ' || c === '\u007f');

const is6 = (text: string): boolean => text.includes(':');

/** conntrack looks at IPv4 unless told otherwise. */
const family = (address: string): string => (is6(address) ? ' -f ipv6' : '');

/** The namespace whose tool runs it: namespaces themselves are made from the node's, and parts of its devices are. */
export function seatOf(o: Operation): string {
  const fromNode = o.op === 'addNamespace' || o.op === 'removeNamespace' || (o.op === 'addLink' && isChild(o.link));
  return fromNode ? NODE_NAMESPACE : o.ns;
}

/** Lines of an operation whose tool reads lines. @throws INTERNAL on a control character */
export function linesOf(o: Operation): Line[] {
  const lines = rawLines(o);
  for (const { text } of lines) {
    if (hasControls(text)) {
      throw new WeftError('INTERNAL', {
        what: 'a name with a control character reached the kernel',
        why: JSON.stringify(text.slice(0, 100)),
      });
    }
  }
  return lines;
}

function rawLines(o: Operation): Line[] {
  switch (o.op) {
    case 'addNamespace':
      // The id makes the namespace known to the node's own: that is how it is told from another node's on one machine.
      // A spare may have been left behind without one: what is half made is nobody's.
      return [
        ...(isSpareNamespace(o.ns) ? [{ text: `netns del ${o.ns}`, optional: true }] : []),
        { text: `netns add ${o.ns}` },
        { text: `netns set ${o.ns} auto` },
      ];
    case 'takeNamespace':
      return [{ text: `netns attach ${o.ns} ${OWN_ID}` }, { text: `netns del ${o.from}` }];
    case 'removeNamespace':
      return [{ text: `netns del ${o.ns}` }];
    case 'addLink':
      return isChild(o.link) ? childLines(o.ns, o.name, o.link) : addLines(o.name, o.link);
    case 'setLink':
      return setLines(o.name, o.link);
    case 'removeLink':
      return [{ text: `link del dev ${o.name}` }];
    case 'putAddress':
      return [{ text: `addr replace ${o.address.address} dev ${o.address.dev} noprefixroute${is6(o.address.address) ? ' nodad' : ''}` }];
    case 'removeAddress':
      return [{ text: `addr del ${o.address.address} dev ${o.address.dev}` }];
    case 'putRoute':
      return [{ text: `route replace ${routeText(o.route)}` }];
    case 'removeRoute':
      return [{ text: `route del ${routeText(o.route)}` }];
    case 'putRule':
      return [
        { text: `rule del priority ${o.rule.priority}${o.rule.iif === undefined ? '' : ` iif ${o.rule.iif}`}`, optional: true },
        { text: `rule add ${ruleText(o.rule)} protocol ${ROUTE_PROTOCOL}` },
      ];
    case 'removeRule':
      return [{ text: `rule del ${ruleText(o.rule)}` }];
    case 'putNeighbour':
      return [{ text: `neigh replace ${o.neighbour.address} lladdr ${o.neighbour.mac} dev ${o.neighbour.dev} nud permanent` }];
    case 'removeNeighbour':
      return [{ text: `neigh del ${o.neighbour.address} dev ${o.neighbour.dev}` }];
    case 'putFdb':
      return [
        { text: `fdb ${isForEverybody(o.row) ? 'append' : 'replace'} ${rowText(o.row)}${o.row.vtep === undefined ? ' static' : ''}` },
      ];
    case 'removeFdb':
      return [{ text: `fdb del ${rowText(o.row)}` }];
    case 'putPeer':
    case 'removePeer':
    case 'setSysctl':
    case 'putTable':
    case 'removeTable':
    case 'setVips':
    case 'setElements':
      return [];
    case 'forgetFlows':
      return [{ text: `-D${family(o.address)} --reply-src ${o.address}` }];
    case 'forgetDatagrams':
      return [{ text: `-D${family(o.address)} -p udp --${o.to === 'vip' ? 'orig-dst' : 'reply-src'} ${o.address}` }];
    case 'forgetDoor':
      return ['', ' -f ipv6'].map((of) => ({ text: `-D${of} -p udp --orig-port-dst ${o.port}` }));
  }
}

function addLines(name: string, link: Link): Line[] {
  switch (link.kind) {
    case 'bridge':
      // No snooping: it would ask for multicast members on every network, and nothing here uses the answers.
      return [
        { text: `link add ${name} address ${link.mac} mtu ${link.mtu} type bridge mcast_snooping 0` },
        quiet(name),
        ...setLines(name, link),
      ];
    case 'vxlan':
      return [
        {
          text: `link add ${name} mtu ${link.mtu} type vxlan id ${link.vni} dstport ${link.port} local ${link.local}${bound(link.under)} nolearning`,
        },
        quiet(name),
        ...setLines(name, link),
      ];
    case 'veth':
      return [
        { text: `link add ${name} mtu ${link.mtu} type veth peer name ${link.peerName} mtu ${link.mtu} netns ${link.peerNamespace}` },
        quiet(name),
        ...setLines(name, link),
      ];
    case 'vlan':
      return [
        { text: `link add link ${link.parent} name ${name} type vlan protocol 802.1Q id ${link.id}` },
        quiet(name),
        ...setLines(name, link),
      ];
    case 'wireguard':
      return [];
    case 'task':
    case 'loopback':
    case 'macvlan':
    case 'ipvlan':
      return setLines(name, link);
  }
}

/**
 * Made where its parent is and born where it belongs: so the node, and whatever configures devices there, never sees it. It is
 * born under another name: kernels as of Debian 12 (6.1) refuse a new device whose name there is in the namespace of who makes
 * it, wherever it is to be born, and most hosts have an eth0. It has its own name before tables hang on it.
 */
function childLines(ns: string, name: string, link: ChildLink): Line[] {
  const birthName = childBirthName(ns, name);
  const mac = link.kind === 'macvlan' ? ` address ${link.mac}` : '';
  const type = `type ${link.kind} mode ${link.mode}`;
  return [
    { text: `link add link ${link.parent} name ${birthName}${mac} mtu ${link.mtu} netns ${ns} ${type}` },
    { text: `netns exec ${ns} ip link set dev ${birthName} name ${name}` },
  ];
}

const bound = (under: string | undefined): string => (under === undefined ? '' : ` dev ${under}`);

/** No IPv6 address of its own. Optional: a kernel without IPv6 has none to keep quiet. */
const quiet = (name: string): Line => ({ text: `link set dev ${name} addrgenmode none`, optional: true });

function setLines(name: string, link: Link): Line[] {
  switch (link.kind) {
    // wireguard.ts
    case 'wireguard':
      return [];
    case 'loopback':
      return [{ text: `link set dev ${name} up` }];
    case 'vlan':
      return [{ text: `link set dev ${name} up` }];
    case 'ipvlan':
      return [{ text: `link set dev ${name} mtu ${link.mtu} up` }];
    case 'bridge':
    case 'macvlan':
    case 'task':
      return [{ text: `link set dev ${name} address ${link.mac} mtu ${link.mtu} up` }];
    case 'vxlan':
      return [
        { text: `link set dev ${name} mtu ${link.mtu} master ${link.bridge}` },
        { text: `link set dev ${name} type bridge_slave neigh_suppress on learning off ${floodText(link)}` },
        { text: `link set dev ${name} up` },
      ];
    case 'veth':
      if (link.bridge === '') return [{ text: `link set dev ${name} mtu ${link.mtu} nomaster up` }];
      return [
        { text: `link set dev ${name} mtu ${link.mtu} master ${link.bridge}` },
        { text: `link set dev ${name} type bridge_slave hairpin ${link.hairpin ? 'on' : 'off'}` },
        { text: `link set dev ${name} up` },
      ];
  }
}

/** Without an all-zero row what is flooded goes nowhere; with one, only broadcast and multicast may. */
const floodText = (link: VxlanLink): string => `flood ${link.multicast ? 'off' : 'on'} mcast_flood on bcast_flood on`;

function ruleText(r: Rule): string {
  const mark = r.mark === undefined ? '' : ` fwmark ${r.mark}`;
  const iif = r.iif === undefined ? '' : ` iif ${r.iif}`;
  return `from ${r.from ?? 'all'}${mark}${iif} lookup ${r.table} priority ${r.priority}`;
}

function routeText(r: Route): string {
  const via = r.via === undefined ? '' : ` via ${r.via}${r.onlink ? ' onlink' : ''}`;
  const source = r.source === undefined ? '' : ` src ${r.source}`;
  return `${r.destination}${via} dev ${r.dev}${source} table ${r.table} proto ${ROUTE_PROTOCOL}`;
}

const rowText = (row: FdbRow): string =>
  row.vtep === undefined
    ? `${row.mac} dev ${row.dev} master`
    : `${row.mac} dev ${row.dev} dst ${row.vtep}${row.via === undefined ? '' : ` via ${row.via}`} self`;
