/** One step that changes a kernel. A list of them is a plan: it prints (describe), and the same list runs (libs/linux). */
import type { Address, FdbRow, Link, Neighbour, Peer, Route, Rule } from './kernel-state.js';
import type { VipUpdate } from './vip-table.js';

export type Operation =
  | { op: 'addNamespace'; ns: string }
  | { op: 'removeNamespace'; ns: string }
  /** A spare one gets the name, and is none any more. */
  | { op: 'takeNamespace'; ns: string; from: string }
  | { op: 'addLink'; ns: string; name: string; link: Link }
  | { op: 'setLink'; ns: string; name: string; link: Link }
  | { op: 'removeLink'; ns: string; name: string }
  | { op: 'putAddress'; ns: string; address: Address }
  | { op: 'removeAddress'; ns: string; address: Address }
  | { op: 'putRoute'; ns: string; route: Route }
  | { op: 'removeRoute'; ns: string; route: Route }
  | { op: 'putRule'; ns: string; rule: Rule }
  | { op: 'removeRule'; ns: string; rule: Rule }
  | { op: 'putNeighbour'; ns: string; neighbour: Neighbour }
  | { op: 'removeNeighbour'; ns: string; neighbour: Neighbour }
  | { op: 'putFdb'; ns: string; row: FdbRow }
  | { op: 'removeFdb'; ns: string; row: FdbRow }
  | { op: 'putPeer'; ns: string; peer: Peer }
  | { op: 'removePeer'; ns: string; peer: Peer }
  | { op: 'setSysctl'; ns: string; key: string; value: string }
  | { op: 'putTable'; ns: string; table: string; text: string }
  | { op: 'removeTable'; ns: string; table: string }
  /** Behind `putTable`: the maps of a table that is put anew are empty. */
  | ({ op: 'setVips'; ns: string; table: string } & VipUpdate)
  /** Behind `putTable`, which leaves the set empty. */
  | { op: 'setElements'; ns: string; table: string; set: string; add: readonly string[]; remove: readonly string[] }
  /** UDP flows that went to a backend of a virtual address, or to the address before there was one. */
  | { op: 'forgetDatagrams'; ns: string; to: 'backend' | 'vip'; address: string }
  | { op: 'forgetFlows'; ns: string; address: string }
  | { op: 'forgetDoor'; ns: string; port: number };

/** One line for people: what the operation does. */
export function describe(o: Operation): string {
  const where = o.ns === '' ? '' : ` in ${o.ns}`;
  switch (o.op) {
    case 'addNamespace':
      return `add namespace ${o.ns}`;
    case 'takeNamespace':
      return `make namespace ${o.ns} of the spare ${o.from}`;
    case 'removeNamespace':
      return `remove namespace ${o.ns}`;
    case 'addLink':
      return `add ${describeLink(o.name, o.link)}${where}`;
    case 'setLink':
      return `set ${describeLink(o.name, o.link)}${where}`;
    case 'removeLink':
      return `remove link ${o.name}${where}`;
    case 'putAddress':
      return `add address ${o.address.address} to ${o.address.dev}${where}`;
    case 'removeAddress':
      return `remove address ${o.address.address} from ${o.address.dev}${where}`;
    case 'putRoute':
      return `set ${describeRoute(o.route)}${where}`;
    case 'removeRoute':
      return `remove ${describeRoute(o.route)}${where}`;
    case 'putRule':
      return `set rule ${describeRule(o.rule)}${where}`;
    case 'removeRule':
      return `remove rule ${describeRule(o.rule)}${where}`;
    case 'putNeighbour':
      return `set neighbour ${o.neighbour.address} at ${o.neighbour.mac} on ${o.neighbour.dev}${where}`;
    case 'removeNeighbour':
      return `remove neighbour ${o.neighbour.address} from ${o.neighbour.dev}${where}`;
    case 'putFdb':
      return `set ${describeRow(o.row)}${where}`;
    case 'removeFdb':
      return `remove ${describeRow(o.row)}${where}`;
    case 'putPeer':
      return `set WireGuard peer ${o.peer.publicKey} (${o.peer.allowed} at ${o.peer.endpoint}) on ${o.peer.dev}${where}`;
    case 'removePeer':
      return `remove WireGuard peer ${o.peer.publicKey} from ${o.peer.dev}${where}`;
    case 'setSysctl':
      return `set ${o.key} = ${o.value}${where}`;
    case 'putTable':
      return `load nft table ${o.table} (${o.text.split('\n').length} lines)${where}`;
    case 'removeTable':
      return `remove nft table ${o.table}${where}`;
    case 'setVips':
      return `set ${o.changes.length === 1 ? `virtual address ${o.changes[0]?.address}` : `${o.changes.length} virtual addresses`} of ${o.table}${where}`;
    case 'setElements':
      return `${describeElements(o)} of set ${o.set} of ${o.table}${where}`;
    case 'forgetDatagrams':
      return `forget tracked UDP flows to ${o.to} ${o.address}${where}`;
    case 'forgetFlows':
      return `forget tracked flows to ${o.address}${where}`;
    case 'forgetDoor':
      return `forget tracked flows to UDP port ${o.port}${where}`;
  }
}

function describeElements({ add, remove }: { add: readonly string[]; remove: readonly string[] }): string {
  const say = (verb: string, of: readonly string[]) =>
    of.length === 0 ? [] : [`${verb} ${of.length === 1 ? of[0] : `${of.length} elements`}`];
  return [...say('remove', remove), ...say('add', add)].join(' and ');
}

export function describeLink(name: string, link: Link): string {
  switch (link.kind) {
    case 'loopback':
      return `loopback ${name}`;
    case 'bridge':
      return `bridge ${name} (${link.mac}, mtu ${link.mtu})`;
    case 'vxlan':
      return `vxlan ${name} (vni ${link.vni}, from ${link.local}:${link.port}, mtu ${link.mtu}, on ${link.bridge})`;
    case 'vlan':
      return `vlan ${name} (${link.id} of ${link.parent})`;
    case 'wireguard':
      return `wireguard ${name} (${link.publicKey}, port ${link.port}, mtu ${link.mtu})`;
    case 'veth':
      return `veth ${name} (to ${link.peerName} of ${link.peerNamespace}, mtu ${link.mtu}, ${link.bridge === '' ? 'by itself' : `on ${link.bridge}`})`;
    case 'macvlan':
    case 'ipvlan':
      return `${link.kind} ${name} (${link.mode}, of ${link.parent}, mtu ${link.mtu})`;
    case 'task':
      return `interface ${name} (${link.mac}, mtu ${link.mtu})`;
  }
}

export function describeRule(r: Rule): string {
  const mark = r.mark === undefined ? '' : ` marked ${r.mark}`;
  const iif = r.iif === undefined ? '' : ` in by ${r.iif}`;
  return `${r.priority}: from ${r.from ?? (r.family === 6 ? 'anywhere (IPv6)' : 'anywhere')}${mark}${iif} use table ${r.table}`;
}

export function describeRoute(r: Route): string {
  const via = r.via === undefined ? '' : ` via ${r.via}`;
  const source = r.source === undefined ? '' : ` src ${r.source}`;
  return `route ${r.destination}${via} dev ${r.dev}${source}${r.table === 'main' ? '' : ` table ${r.table}`}`;
}

export const describeRow = (row: FdbRow): string =>
  row.vtep === undefined ? `fdb ${row.mac} behind port ${row.dev}` : `fdb ${row.mac} on ${row.dev} at ${row.vtep}`;
