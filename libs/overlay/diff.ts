/**
 * The way from what a kernel holds to what it should hold. Pure, and ordered so that applying works and is safe on the
 * way: what goes, goes first; then namespaces and nft tables, so that a device never carries a packet before the rules
 * that guard it stand; then links, addresses, routes and rows.
 */
import type { FdbRow, KernelState, Link, NamespaceState } from './kernel-state.js';
import { deviceOfSysctl, emptyNamespace, isChild, NODE_NAMESPACE } from './kernel-state.js';
import { DEVICE_TABLE } from './names.js';
import type { Operation } from './operation.js';
import { afterTaking, sparesToTake } from './spares.js';
import { backendsIn, NO_VIPS, refuses, vipChanges, vipUpdate, type VipChange, type VipRecord } from './vip-table.js';

/** Operations that turn what is there before into `desired`; empty if nothing differs. */
export function diff(desired: KernelState, before: KernelState): Operation[] {
  const taken = sparesToTake(desired, before, isSameInside);
  const observed = afterTaking(before, taken);
  const links = diffLinks(desired, observed);
  const names = [...new Set([...Object.keys(desired.namespaces), ...Object.keys(observed.namespaces)])].sort();
  const gone = names.filter((ns) => !desired.namespaces[ns] && ns !== NODE_NAMESPACE);
  const added = names.filter((ns) => !observed.namespaces[ns] && ns !== NODE_NAMESPACE);
  const takes = [...taken].map(([ns, from]): Operation => ({ op: 'takeNamespace', ns, from }));
  const compare = rememberingChanges();
  const spaces = names.filter((ns) => !gone.includes(ns)).map((ns) => ({ ns, ...diffSpace(ns, desired, observed, links, compare) }));
  return [
    ...spaces.flatMap((s) => s.unbridged),
    ...spaces.flatMap((s) => s.removals),
    ...links.removals,
    ...gone.map((ns): Operation => ({ op: 'removeNamespace', ns })),
    ...takes,
    ...added.map((ns): Operation => ({ op: 'addNamespace', ns })),
    ...spaces.flatMap((s) => s.tables),
    ...spaces.filter((s) => s.ns !== NODE_NAMESPACE).flatMap((s) => s.sysctls),
    ...links.additions,
    ...spaces.flatMap((s) => s.hooked),
    // A device that had IPv6 off takes no address before it is on.
    ...spaces.filter((s) => s.ns === NODE_NAMESPACE).flatMap((s) => s.sysctls),
    ...spaces.flatMap((s) => s.rows),
    ...spaces.flatMap((s) => s.bridged),
    ...spaces.flatMap((s) => s.inside),
    ...spaces.flatMap((s) => s.flows),
  ];
}

const at = (ns: string, name: string): string => `${ns}|${name}`;
const space = (state: KernelState, ns: string): NamespaceState => state.namespaces[ns] ?? emptyNamespace();

interface LinkChanges {
  removals: Operation[];
  /** In the node's namespace: bridges, then their ports. */
  additions: Operation[];
  /** Interfaces inside tasks' namespaces, set before their addresses. */
  inside: Map<string, Operation[]>;
  /** Links that will not be there, or will be new: what hung on them is gone. */
  lost: Set<string>;
  /** Links that get another bridge: their rows in a bridge's table are gone. */
  moved: Set<string>;
  /** Bridges that are set anew: writing the MAC makes the kernel flush their neighbours, permanent ones too. */
  flushed: Set<string>;
}

function diffLinks(desired: KernelState, observed: KernelState): LinkChanges {
  const changes: LinkChanges = { removals: [], additions: [], inside: new Map(), lost: new Set(), moved: new Set(), flushed: new Set() };
  const node = NODE_NAMESPACE;
  const want = space(desired, node).links;
  const have = space(observed, node).links;
  for (const [name, link] of Object.entries(have).sort(boundFirst)) {
    const next = want[name];
    if (next && sameMaking(next, link)) continue;
    changes.removals.push({ op: 'removeLink', ns: node, name });
    lose(changes, node, name, link);
  }
  const inside = Object.keys(desired.namespaces).filter((ns) => ns !== node);
  for (const ns of inside) removeChildren(changes, ns, desired, observed);
  for (const [name, link] of Object.entries(want).sort(bridgesFirst)) addOrSet(changes, observed, name, link);
  for (const ns of inside) diffInside(changes, ns, desired, observed);
  return changes;
}

function lose(changes: LinkChanges, ns: string, name: string, link: Link): void {
  changes.lost.add(at(ns, name));
  if (link.kind === 'veth') changes.lost.add(at(link.peerNamespace, link.peerName));
}

function addOrSet(changes: LinkChanges, observed: KernelState, name: string, link: Link): void {
  const ns = NODE_NAMESPACE;
  const current = changes.lost.has(at(ns, name)) ? undefined : space(observed, ns).links[name];
  if (current && equal(current, link)) return;
  if (current) {
    changes.additions.push({ op: 'setLink', ns, name, link });
    if (link.kind === 'bridge') changes.flushed.add(at(ns, name));
    if ('bridge' in current && 'bridge' in link && current.bridge !== link.bridge) changes.moved.add(at(ns, name));
    return;
  }
  if (link.kind === 'veth') clearPeer(changes, observed, link.peerNamespace, link.peerName);
  changes.additions.push({ op: 'addLink', ns, name, link });
}

/** The name must be free for the task's end of a new wire. */
function clearPeer(changes: LinkChanges, observed: KernelState, ns: string, name: string): void {
  if (changes.lost.has(at(ns, name))) return;
  if (space(observed, ns).links[name]) changes.removals.push({ op: 'removeLink', ns, name });
  changes.lost.add(at(ns, name));
}

/** A task's own interfaces come and go with their wires, or are parts of a device of the node; then their settings are compared. */
function diffInside(changes: LinkChanges, ns: string, desired: KernelState, observed: KernelState): void {
  const operations: Operation[] = [];
  for (const [name, link] of Object.entries(space(desired, ns).links)) {
    const current = changes.lost.has(at(ns, name)) ? undefined : space(observed, ns).links[name];
    if (!current && isChild(link)) changes.additions.push({ op: 'addLink', ns, name, link });
    if (!current || !equal(current, link)) operations.push({ op: 'setLink', ns, name, link });
  }
  changes.inside.set(ns, operations);
}

/** What is a part of a device goes with it; what is none, or of another one, is in the way of what should be. */
function removeChildren(changes: LinkChanges, ns: string, desired: KernelState, observed: KernelState): void {
  const want = space(desired, ns).links;
  for (const [name, link] of Object.entries(space(observed, ns).links)) {
    const next = want[name];
    if (changes.lost.has(at(ns, name))) continue;
    const goesAnyway = isChild(link) && changes.lost.has(at(NODE_NAMESPACE, link.parent));
    if (!goesAnyway && ((next && sameMaking(next, link)) || !(isChild(link) || isChild(next)))) continue;
    if (!goesAnyway) changes.removals.push({ op: 'removeLink', ns, name });
    changes.lost.add(at(ns, name));
  }
}

/** What cannot be changed on a link that exists. */
function sameMaking(a: Link, b: Link): boolean {
  if (a.kind === 'vxlan' && b.kind === 'vxlan') return a.vni === b.vni && a.port === b.port && a.local === b.local && a.under === b.under;
  if (a.kind === 'veth' && b.kind === 'veth') return a.peerNamespace === b.peerNamespace && a.peerName === b.peerName;
  if (a.kind === 'vlan' && b.kind === 'vlan') return a.parent === b.parent && a.id === b.id;
  if (isChild(a) && isChild(b)) return a.kind === b.kind && a.parent === b.parent && a.mode === b.mode;
  return a.kind === b.kind;
}

/** What others stand on comes first: bridges for their ports, WireGuard for the VXLAN in it. */
const rank = (link: Link): number => (link.kind === 'bridge' ? 0 : link.kind === 'wireguard' ? 1 : 2);
const bridgesFirst = ([aName, a]: [string, Link], [bName, b]: [string, Link]): number => rank(a) - rank(b) || (aName < bName ? -1 : 1);
/** A device goes before the one that it is bound to, which would take it along. */
const boundFirst = ([, a]: [string, Link], [, b]: [string, Link]): number =>
  Number(a.kind === 'wireguard') - Number(b.kind === 'wireguard');

interface SpaceChanges {
  /** Removed rows of forwarding tables. */
  unbridged: Operation[];
  removals: Operation[];
  tables: Operation[];
  /** Tables that hang on devices: those must be there. */
  hooked: Operation[];
  sysctls: Operation[];
  /** In the node's namespace: addresses, routes, rules, neighbours. */
  rows: Operation[];
  /** Forwarding rows. */
  bridged: Operation[];
  /** In a task's namespace: links, addresses, routes, rules. */
  inside: Operation[];
  flows: Operation[];
}

type CompareVips = (before: VipRecord, after: VipRecord) => VipChange[];

/** All tasks of a network share one record: it is compared once. */
function rememberingChanges(): CompareVips {
  const known = new Map<VipRecord, Map<VipRecord, VipChange[]>>();
  return (before, after) => {
    const row = known.get(before) ?? new Map<VipRecord, VipChange[]>();
    const changes = row.get(after) ?? vipChanges(before, after);
    known.set(before, row.set(after, changes));
    return changes;
  };
}

/** The maps of tables: what a table that is put anew held is gone. */
function diffVips(ns: string, want: NamespaceState, have: NamespaceState, compare: CompareVips): { sets: Operation[]; flows: Operation[] } {
  const sets: Operation[] = [];
  const flows: Operation[] = [];
  for (const table of Object.keys(want.nft)) {
    const after = want.vips[table] ?? NO_VIPS;
    const isKept = have.nft[table] === want.nft[table];
    const before = have.vips[table] ?? NO_VIPS;
    const kept = isKept ? before : NO_VIPS;
    const changes = compare(kept, after);
    if (changes.length > 0) sets.push({ op: 'setVips', ns, table, ...vipUpdate(kept, changes, refuses(after)) });
    if (have.nft[table] !== undefined) flows.push(...staleDatagrams(ns, isKept ? changes : compare(before, after)));
  }
  return { sets, flows };
}

/** More new addresses at a time than this are not looked for one by one: nobody knew so many before they were there. */
const MANY_NEW = 256;

/**
 * UDP has no end that connection tracking could see: a flow goes on to where it went first for as long as it is used. So what
 * went to a backend that serves no more is forgotten, and what was sent to an address before it was translated.
 */
function staleDatagrams(ns: string, changes: readonly VipChange[]): Operation[] {
  const backends = new Set<string>();
  for (const { before, after } of changes) {
    const stay = new Set(backendsIn(after));
    for (const backend of backendsIn(before)) if (!stay.has(backend)) backends.add(backend);
  }
  const fresh = changes.filter((c) => c.before === undefined).map((c) => c.address);
  return [
    ...[...backends].map((address): Operation => ({ op: 'forgetDatagrams', ns, to: 'backend', address })),
    ...(fresh.length > MANY_NEW ? [] : fresh).map((address): Operation => ({ op: 'forgetDatagrams', ns, to: 'vip', address })),
  ];
}

/** What differs in the sets that change element by element: what a set of a table that is put anew held is gone. */
function diffElements(ns: string, want: NamespaceState, have: NamespaceState): Operation[] {
  return Object.keys(want.nft).flatMap((table) => {
    const after = want.elements[table] ?? {};
    const before = (have.nft[table] === want.nft[table] ? have.elements[table] : undefined) ?? {};
    return [...new Set([...Object.keys(after), ...Object.keys(before)])].flatMap((set): Operation[] => {
      const [is, was] = [after[set] ?? [], before[set] ?? []];
      const [add, remove] = [missing(is, was), missing(was, is)];
      return add.length + remove.length === 0 ? [] : [{ op: 'setElements', ns, table, set, add, remove }];
    });
  });
}

function diffSpace(ns: string, desired: KernelState, observed: KernelState, links: LinkChanges, compare: CompareVips): SpaceChanges {
  const want = space(desired, ns);
  const have = survivors(ns, space(observed, ns), links);
  const addresses = diffRecord(want.addresses, have.addresses);
  const routes = diffRecord(want.routes, have.routes);
  const rules = diffRecord(want.rules, have.rules);
  const neighbours = diffRecord(want.neighbours, have.neighbours);
  const fdb = diffRecord(want.fdb, have.fdb);
  const peers = diffRecord(want.peers, have.peers);
  const tables = diffRecord(want.nft, have.nft);
  const vips = diffVips(ns, want, have, compare);
  const puts = tables.puts.map(([table, text]): Operation => ({ op: 'putTable', ns, table, text }));
  const hangs = (o: Operation) => o.op === 'putTable' && o.table === DEVICE_TABLE;
  const rows: Operation[] = [
    ...addresses.puts.map(([, address]): Operation => ({ op: 'putAddress', ns, address })),
    ...routes.puts.map(([, route]): Operation => ({ op: 'putRoute', ns, route })),
    ...rules.puts.map(([, rule]): Operation => ({ op: 'putRule', ns, rule })),
    ...neighbours.puts.map(([, neighbour]): Operation => ({ op: 'putNeighbour', ns, neighbour })),
    ...peers.puts.map(([, peer]): Operation => ({ op: 'putPeer', ns, peer })),
  ];
  const isNode = ns === NODE_NAMESPACE;
  return {
    unbridged: fdb.removed.map(([, row]): Operation => ({ op: 'removeFdb', ns, row })),
    removals: [
      ...peers.removed.map(([, peer]): Operation => ({ op: 'removePeer', ns, peer })),
      ...neighbours.removed.map(([, neighbour]): Operation => ({ op: 'removeNeighbour', ns, neighbour })),
      ...rules.removed.map(([, rule]): Operation => ({ op: 'removeRule', ns, rule })),
      ...routes.removed.map(([, route]): Operation => ({ op: 'removeRoute', ns, route })),
      ...addresses.removed.map(([, address]): Operation => ({ op: 'removeAddress', ns, address })),
    ],
    tables: [
      ...tables.removed.map(([table]): Operation => ({ op: 'removeTable', ns, table })),
      ...puts.filter((o) => !hangs(o)),
      ...vips.sets,
      ...diffElements(ns, want, have),
    ],
    hooked: puts.filter(hangs),
    // A sysctl is set and never unset: there is no knowing what it was before.
    sysctls: diffRecord(want.sysctls, have.sysctls).puts.map(([key, value]): Operation => ({ op: 'setSysctl', ns, key, value })),
    rows: isNode ? rows : [],
    bridged: fdb.puts.map(([, row]): Operation => ({ op: 'putFdb', ns, row })),
    inside: isNode ? [] : [...(links.inside.get(ns) ?? []), ...rows],
    flows: [
      ...vips.flows,
      ...missing(have.flows, want.flows).map((flow) => forget(ns, flow)),
      ...missing(want.doors, have.doors).map((port): Operation => ({ op: 'forgetDoor', ns, port })),
    ],
  };
}

function forget(ns: string, flow: string): Operation {
  const [first = '', address] = flow.split(' ');
  return address === undefined ? { op: 'forgetFlows', ns, address: first } : { op: 'forgetDatagrams', ns, to: 'backend', address };
}

/** What is left of a namespace once the lost links took along what hung on them. */
function survivors(ns: string, have: NamespaceState, links: LinkChanges): NamespaceState {
  const { lost, moved, flushed } = links;
  const stays = (item: { dev: string }) => !lost.has(at(ns, item.dev));
  return {
    ...have,
    addresses: filterRecord(have.addresses, stays),
    routes: filterRecord(have.routes, stays),
    sysctls: Object.fromEntries(Object.entries(have.sysctls).filter(([key]) => !lost.has(at(ns, deviceOfSysctl(key) ?? '')))),
    neighbours: filterRecord(have.neighbours, (n) => stays(n) && !flushed.has(at(ns, n.dev))),
    peers: filterRecord(have.peers, stays),
    // A new device has no hooks, and a table does not tell that it lost one.
    nft: isUnhooked(ns, have.nft, links) ? { ...have.nft, [DEVICE_TABLE]: '' } : have.nft,
    fdb: filterRecord(have.fdb, (row: FdbRow) => stays(row) && !(row.vtep === undefined && moved.has(at(ns, row.dev)))),
  };
}

function isUnhooked(ns: string, nft: Record<string, string>, { additions }: LinkChanges): boolean {
  const text = nft[DEVICE_TABLE];
  return (
    text !== undefined &&
    additions.some((o) => (o.op === 'addLink' || o.op === 'setLink') && o.ns === ns && text.includes(`device "${o.name}"`))
  );
}

function diffRecord<T>(want: Record<string, T>, have: Record<string, T>): { puts: [string, T][]; removed: [string, T][] } {
  return {
    puts: Object.entries(want).filter(([key, value]) => !equal(have[key], value)),
    removed: Object.entries(have).filter(([key]) => !(key in want)),
  };
}

/** Whether a namespace holds what it should, and nothing else. */
function isSameInside(want: NamespaceState, have: NamespaceState): boolean {
  const isSame = (a: Record<string, unknown>, b: Record<string, unknown>) => {
    const { puts, removed } = diffRecord(a, b);
    return puts.length + removed.length === 0;
  };
  const { links, addresses, routes, rules, neighbours, nft } = have;
  return (
    isSame(want.links, links) &&
    isSame(want.addresses, addresses) &&
    isSame(want.routes, routes) &&
    isSame(want.rules, rules) &&
    isSame(want.neighbours, neighbours) &&
    isSame(want.nft, nft) &&
    isSame(want.sysctls, have.sysctls)
  );
}

function filterRecord<T>(record: Record<string, T>, keep: (item: T) => boolean): Record<string, T> {
  const entries = Object.entries(record);
  const kept = entries.filter(([, item]) => keep(item));
  return kept.length === entries.length ? record : Object.fromEntries(kept);
}

/** Members of `before` that `after` lacks. */
function missing<T>(before: readonly T[], after: readonly T[]): T[] {
  if (before === after) return [];
  const there = new Set(after);
  return before.filter((a) => !there.has(a));
}

/** Deep equality of plain flat objects and strings; a property that is undefined counts as absent. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = Object.entries(a).filter(([, v]) => v !== undefined);
  const right = Object.entries(b).filter(([, v]) => v !== undefined);
  return left.length === right.length && left.every(([key, value]) => (b as Record<string, unknown>)[key] === value);
}
