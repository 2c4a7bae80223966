/**
 * What an operation does to a kernel state, as strictly as a kernel: what hangs on a missing link is refused, and what
 * hung on a removed one goes with it. The fake kernel is made of this, so a plan in a wrong order fails in a unit test.
 */
import { WeftError } from '#base/errors.js';
import type { KernelState, Link, NamespaceState, VxlanLink } from './kernel-state.js';
import {
  addressKey,
  deviceOfSysctl,
  emptyNamespace,
  fdbKey,
  isChild,
  neighbourKey,
  NODE_NAMESPACE,
  peerKey,
  routeKey,
  ruleKey,
} from './kernel-state.js';
import type { Operation } from './operation.js';
import { describe } from './operation.js';
import { missingBalancers, refuses } from './vip-table.js';

/** Applies `operation` to `state` in place. @throws KERNEL where a kernel would refuse */
export function applyOperation(state: KernelState, operation: Operation): void {
  const refuse = (why: string): never => {
    throw new WeftError('KERNEL', { what: `cannot ${describe(operation)}`, why });
  };
  if (operation.op === 'addNamespace') {
    if (state.namespaces[operation.ns]) refuse('it exists');
    state.namespaces[operation.ns] = { ...emptyNamespace(), links: { lo: { kind: 'loopback', up: false } } };
    return;
  }
  if (operation.op === 'takeNamespace') {
    const spare = state.namespaces[operation.from] ?? refuse('no such spare');
    if (state.namespaces[operation.ns]) refuse('it exists');
    state.namespaces[operation.ns] = spare;
    delete state.namespaces[operation.from];
    return;
  }
  const space = state.namespaces[operation.ns] ?? refuse('no such namespace');
  if (operation.op === 'removeNamespace') return removeNamespace(state, operation.ns);
  applyInside(state, space, operation, refuse);
}

type Inside = Exclude<Operation, { op: 'addNamespace' | 'removeNamespace' | 'takeNamespace' }>;
type Refuse = (why: string) => never;

function applyInside(state: KernelState, space: NamespaceState, o: Inside, refuse: Refuse): void {
  const needDevice = (dev: string) => space.links[dev] ?? refuse(`no device ${dev}`);
  switch (o.op) {
    case 'addLink':
      return addLink(state, space, o.name, o.link, refuse);
    case 'setLink':
      return setLink(space, o.name, o.link, refuse);
    case 'removeLink':
      needDevice(o.name);
      return removeLink(state, o.ns, o.name);
    case 'putAddress':
      needDevice(o.address.dev);
      return put(space.addresses, addressKey(o.address), o.address);
    case 'removeAddress':
      return take(space.addresses, addressKey(o.address), refuse);
    case 'putRoute':
      if ((needDevice(o.route.dev) as { up: boolean }).up === false) refuse(`${o.route.dev} is down`);
      return put(space.routes, routeKey(o.route), o.route);
    case 'removeRoute':
      return take(space.routes, routeKey(o.route), refuse);
    case 'putRule':
      return put(space.rules, ruleKey(o.rule), o.rule);
    case 'removeRule':
      return take(space.rules, ruleKey(o.rule), refuse);
    case 'putNeighbour':
      needDevice(o.neighbour.dev);
      return put(space.neighbours, neighbourKey(o.neighbour), o.neighbour);
    case 'removeNeighbour':
      return take(space.neighbours, neighbourKey(o.neighbour), refuse);
    case 'putFdb': {
      const link = needDevice(o.row.dev);
      if (o.row.vtep === undefined && !('bridge' in link && link.bridge !== '')) refuse(`${o.row.dev} is no port of a bridge`);
      return put(space.fdb, fdbKey(o.row), o.row);
    }
    case 'removeFdb':
      return take(space.fdb, fdbKey(o.row), refuse);
    case 'putPeer':
      if (needDevice(o.peer.dev).kind !== 'wireguard') refuse(`${o.peer.dev} is no WireGuard device`);
      return put(space.peers, peerKey(o.peer), o.peer);
    case 'removePeer':
      return take(space.peers, peerKey(o.peer), refuse);
    case 'setSysctl':
      if (deviceOfSysctl(o.key)?.startsWith('wf')) needDevice(deviceOfSysctl(o.key) as string);
      return put(space.sysctls, o.key, o.value);
    case 'putTable':
      delete space.vips[o.table];
      delete space.elements[o.table];
      for (const [, dev = ''] of o.text.matchAll(/hook egress device "([^"]+)"/g)) needDevice(dev);
      return put(space.nft, o.table, o.text);
    case 'removeTable':
      delete space.vips[o.table];
      delete space.elements[o.table];
      return take(space.nft, o.table, refuse);
    case 'setVips':
      return setVips(space, o, refuse);
    case 'setElements':
      return setElements(space, o, refuse);
    case 'forgetDatagrams':
      space.flows = space.flows.filter((a) => a !== `udp ${o.address}`);
      return;
    case 'forgetFlows':
      space.flows = space.flows.filter((a) => a !== o.address);
      return;
    case 'forgetDoor':
      space.doors = [...space.doors, o.port];
      return;
  }
}

function setVips(space: NamespaceState, o: Extract<Operation, { op: 'setVips' }>, refuse: Refuse): void {
  if (!(o.table in space.nft)) refuse('no such table');
  for (const chain of missingBalancers(space.vips[o.table] ?? {}, o)) refuse(`no chain ${chain}`);
  const record = { ...space.vips[o.table] };
  for (const { address, before, after } of o.changes) {
    if (record[address] !== before) refuse(`${address} is not as it was thought to be`);
    if (after === undefined) delete record[address];
    else record[address] = after;
  }
  if (o.refusing !== refuses(record)) refuse('the chain that refuses would be missing or useless');
  space.vips[o.table] = record;
}

function setElements(space: NamespaceState, o: Extract<Operation, { op: 'setElements' }>, refuse: Refuse): void {
  const text = space.nft[o.table] ?? refuse('no such table');
  if (!text.includes(` ${o.set} {`)) refuse(`no set ${o.set}`);
  const held = new Set(space.elements[o.table]?.[o.set]);
  for (const element of o.remove) if (!held.delete(element)) refuse(`${element} is not in it`);
  for (const element of o.add) held.add(element);
  const { [o.set]: _, ...others } = space.elements[o.table] ?? {};
  const sets = held.size === 0 ? others : { ...others, [o.set]: [...held].sort() };
  if (Object.keys(sets).length === 0) delete space.elements[o.table];
  else space.elements[o.table] = sets;
}

function addLink(state: KernelState, space: NamespaceState, name: string, link: Link, refuse: Refuse): void {
  if (space.links[name]) refuse('it exists');
  needBridge(space, link, refuse);
  if (link.kind === 'vxlan' && link.under !== undefined && !space.links[link.under]) refuse(`no device ${link.under}`);
  if (isChild(link)) {
    const node = state.namespaces[NODE_NAMESPACE] ?? emptyNamespace();
    if (link.parent.startsWith('wf') && !node.links[link.parent]) refuse(`no device ${link.parent}`);
    space.links[name] = { ...link, up: false };
    return;
  }
  if (link.kind === 'task' || link.kind === 'loopback') refuse('it cannot be made by itself');
  if (link.kind === 'veth') {
    const peer = state.namespaces[link.peerNamespace] ?? refuse(`no namespace ${link.peerNamespace}`);
    if (peer.links[link.peerName]) refuse(`${link.peerName} exists in ${link.peerNamespace}`);
    peer.links[link.peerName] = { kind: 'task', up: false, mac: '', mtu: 1500 };
  }
  space.links[name] = link;
}

/** A host's own devices are not in a state of ours: only our bridges can be missed. */
function needBridge(space: NamespaceState, link: Link, refuse: Refuse): void {
  if (!('bridge' in link) || (link.kind === 'veth' && link.bridge === '')) return;
  if (space.links[link.bridge]?.kind !== 'bridge') refuse(`no bridge ${link.bridge}`);
}

function setLink(space: NamespaceState, name: string, link: Link, refuse: Refuse): void {
  const before = space.links[name] ?? refuse('no such device');
  if (before.kind !== link.kind) refuse(`it is a ${before.kind}`);
  if ('bridge' in link && 'bridge' in before) {
    needBridge(space, link, refuse);
    if (before.bridge !== link.bridge) forgetPort(space, name);
  }
  // Writing a MAC flushes the device's neighbours, permanent ones too.
  if (link.kind === 'bridge') for (const [key, n] of Object.entries(space.neighbours)) if (n.dev === name) delete space.neighbours[key];
  space.links[name] = link;
}

function removeNamespace(state: KernelState, ns: string): void {
  const node = state.namespaces[NODE_NAMESPACE];
  for (const [name, link] of Object.entries(node?.links ?? {})) {
    if (link.kind === 'veth' && link.peerNamespace === ns) removeLink(state, NODE_NAMESPACE, name);
  }
  delete state.namespaces[ns];
}

function removeLink(state: KernelState, ns: string, name: string): void {
  const space = state.namespaces[ns];
  const link = space?.links[name];
  if (!space || !link) return;
  delete space.links[name];
  removeByDevice(space, name);
  if (link.kind === 'veth') removeLink(state, link.peerNamespace, link.peerName);
  if (link.kind === 'task') removeVethOf(state, ns, name);
  if (link.kind === 'bridge') releasePorts(space, name);
  if (link.kind === 'vlan') removeChildren(state, name);
  // A VXLAN device goes with the one that it is bound to.
  if (link.kind === 'wireguard')
    for (const [over, l] of Object.entries(space.links)) if (l.kind === 'vxlan' && l.under === name) removeLink(state, ns, over);
}

function removeChildren(state: KernelState, parent: string): void {
  for (const [ns, space] of Object.entries(state.namespaces)) {
    for (const [name, link] of Object.entries(space.links)) if (isChild(link) && link.parent === parent) removeLink(state, ns, name);
  }
}

function removeVethOf(state: KernelState, ns: string, name: string): void {
  const node = state.namespaces[NODE_NAMESPACE];
  const veth = Object.entries(node?.links ?? {}).find(([, l]) => l.kind === 'veth' && l.peerNamespace === ns && l.peerName === name);
  if (veth) removeLink(state, NODE_NAMESPACE, veth[0]);
}

function releasePorts(space: NamespaceState, bridge: string): void {
  for (const [name, link] of Object.entries(space.links)) {
    if (!('bridge' in link) || link.bridge !== bridge) continue;
    space.links[name] =
      link.kind === 'vxlan' ? { ...withoutFlags(link), bridge: '', suppress: false } : { ...link, bridge: '', hairpin: false };
    forgetPort(space, name);
  }
}

/** A port that leaves its bridge loses its rows in the bridge's table. */
function forgetPort(space: NamespaceState, dev: string): void {
  for (const [key, row] of Object.entries(space.fdb)) if (row.dev === dev && row.vtep === undefined) delete space.fdb[key];
}

function removeByDevice(space: NamespaceState, dev: string): void {
  const tables: Record<string, { dev: string }>[] = [space.addresses, space.routes, space.neighbours, space.fdb, space.peers];
  for (const table of tables) for (const [key, item] of Object.entries(table)) if (item.dev === dev) delete table[key];
  for (const key of Object.keys(space.sysctls)) if (deviceOfSysctl(key) === dev) delete space.sysctls[key];
}

function put<T>(table: Record<string, T>, key: string, value: T): void {
  table[key] = value;
}

function take<T>(table: Record<string, T>, key: string, refuse: Refuse): void {
  if (!(key in table)) refuse('it is not there');
  delete table[key];
}

function withoutFlags(link: VxlanLink): VxlanLink {
  const { multicast: _, ...rest } = link;
  return rest;
}
