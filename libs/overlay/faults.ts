/**
 * What is wrong with a kernel, in words: the differences between what should be and what is, each named by the object it
 * concerns. Where diff.ts says what to do, this says what somebody did. Pure.
 */
import type { Address, FdbRow, KernelState, Link, NamespaceState, Neighbour, Peer, Route, Rule } from './kernel-state.js';
import { deviceOfSysctl, emptyNamespace, NODE_NAMESPACE } from './kernel-state.js';
import { describeLink, describeRoute, describeRow, describeRule } from './operation.js';
import { backendsIn, type VipRecord } from './vip-table.js';

/** `link`, `route`, …: the collection of a NamespaceState that it is in; `namespace` for one as a whole. */
export type FaultKind = 'namespace' | 'link' | 'address' | 'route' | 'rule' | 'neighbour' | 'fdb' | 'peer' | 'sysctl' | 'nft' | 'vip';

export interface Fault {
  ns: string;
  kind: FaultKind;
  /** Key in the collection; name of the namespace. */
  key: string;
  /** missing: it should be there; different: it is there, otherwise; foreign: it should not be there. */
  state: 'missing' | 'different' | 'foreign';
  /** The object as it should be (as it is, where it should not be), for people. */
  object: string;
  /** What is there instead, for `different`. */
  instead?: string;
}

/** One line: `route 10.1.0.0/24 dev wfb4097 was missing`. @param tense how it is said: of something found, or of something put right */
export function describeFault(f: Fault, tense: 'is' | 'was' = 'was'): string {
  const where = f.ns === NODE_NAMESPACE || f.kind === 'namespace' ? '' : ` in ${f.ns}`;
  if (f.state === 'missing') return `${f.object}${where} ${tense} missing`;
  if (f.state === 'foreign') return `${f.object}${where} ${tense} there and should not be`;
  return `${f.object}${where} ${tense} ${f.instead === undefined ? 'changed' : `changed: ${f.instead}`}`;
}

/**
 * Every difference, but for those that follow from another: what hung on a link that is missing, what was in a namespace
 * that is missing.
 */
export function faultsBetween(desired: KernelState, observed: KernelState): Fault[] {
  const names = [...new Set([...Object.keys(desired.namespaces), ...Object.keys(observed.namespaces)])].sort();
  return names.flatMap((ns) => {
    const want = desired.namespaces[ns];
    const have = observed.namespaces[ns];
    const whole = { ns, kind: 'namespace' as const, key: ns, object: `namespace ${ns}` };
    if (!want) return ns === NODE_NAMESPACE ? [] : [{ ...whole, state: 'foreign' as const }];
    if (!have && ns !== NODE_NAMESPACE) return [{ ...whole, state: 'missing' as const }];
    return withoutConsequences(ns, spaceFaults(ns, want, have ?? emptyNamespace()), desired, observed);
  });
}

function spaceFaults(ns: string, want: NamespaceState, have: NamespaceState): Fault[] {
  const at = { ns };
  return [
    ...compared<Link>({ ...at, kind: 'link' }, want.links, have.links, (link, name) => describeLink(name, link)),
    ...compared<Address>({ ...at, kind: 'address' }, want.addresses, have.addresses, (a) => `address ${a.address} on ${a.dev}`),
    ...compared<Route>({ ...at, kind: 'route' }, want.routes, have.routes, describeRoute),
    ...compared<Rule>({ ...at, kind: 'rule' }, want.rules, have.rules, (r) => `rule ${describeRule(r)}`),
    ...compared<Neighbour>({ ...at, kind: 'neighbour' }, want.neighbours, have.neighbours, describeNeighbour),
    ...compared<FdbRow>({ ...at, kind: 'fdb' }, want.fdb, have.fdb, describeRow),
    ...compared<Peer>({ ...at, kind: 'peer' }, want.peers, have.peers, (p) => `WireGuard peer ${p.publicKey} (${p.endpoint}) on ${p.dev}`),
    ...sysctlFaults(ns, want.sysctls, have.sysctls),
    ...tableFaults(ns, want, have),
  ];
}

const describeNeighbour = (n: Neighbour): string => `neighbour ${n.address} at ${n.mac} on ${n.dev}`;

function compared<T>(
  at: Pick<Fault, 'ns' | 'kind'>,
  want: Record<string, T>,
  have: Record<string, T>,
  say: (item: T, key: string) => string,
): Fault[] {
  const faults: Fault[] = [];
  for (const [key, item] of Object.entries(want)) {
    const seen = have[key];
    if (seen === undefined) faults.push({ ...at, key, state: 'missing', object: say(item, key) });
    else if (!sameFlat(item, seen)) faults.push({ ...at, key, state: 'different', object: say(item, key), instead: changesIn(item, seen) });
  }
  for (const [key, item] of Object.entries(have)) if (!(key in want)) faults.push({ ...at, key, state: 'foreign', object: say(item, key) });
  return faults;
}

function sysctlFaults(ns: string, want: Record<string, string>, have: Record<string, string>): Fault[] {
  return Object.entries(want).flatMap(([key, value]): Fault[] => {
    if (have[key] === value) return [];
    const instead = have[key] === undefined ? 'not set' : `it is ${have[key]}`;
    return [{ ns, kind: 'sysctl', key, state: 'different', object: `sysctl ${key} = ${value}`, instead }];
  });
}

/** A table is told by its digest, and its virtual addresses one by one. */
function tableFaults(ns: string, want: NamespaceState, have: NamespaceState): Fault[] {
  const faults: Fault[] = [];
  for (const [table, text] of Object.entries(want.nft)) {
    const object = `nft table ${table}`;
    if (have.nft[table] === undefined) {
      faults.push({ ns, kind: 'nft', key: table, state: 'missing', object });
      continue;
    }
    const within = [
      ...vipFaults(ns, table, want.vips[table] ?? {}, have.vips[table] ?? {}),
      ...elementFaults(ns, table, want.elements[table] ?? {}, have.elements[table] ?? {}),
    ];
    if (have.nft[table] !== text && within.length === 0)
      faults.push({ ns, kind: 'nft', key: table, state: 'different', object, instead: 'its rules or sets are not those that were loaded' });
    faults.push(...within);
  }
  for (const table of Object.keys(have.nft))
    if (want.nft[table] === undefined) faults.push({ ns, kind: 'nft', key: table, state: 'foreign', object: `nft table ${table}` });
  return faults;
}

/** Of a table's sets that change element by element. */
function elementFaults(
  ns: string,
  table: string,
  want: Record<string, readonly string[]>,
  have: Record<string, readonly string[]>,
): Fault[] {
  return [...new Set([...Object.keys(want), ...Object.keys(have)])].flatMap((set) => {
    const of = (a: readonly string[] = [], b: readonly string[] = [], state: 'missing' | 'foreign') =>
      a
        .filter((element) => !b.includes(element))
        .map((element): Fault => ({ ns, kind: 'nft', key: table, state, object: `${element} of set ${set} of nft table ${table}` }));
    return [...of(want[set], have[set], 'missing'), ...of(have[set], want[set], 'foreign')];
  });
}

function vipFaults(ns: string, table: string, want: VipRecord, have: VipRecord): Fault[] {
  if (want === have) return [];
  const say = (vip: string, value: string) => `virtual address ${vip} (${backendsIn(value).join(', ') || 'no backends'}) of ${table}`;
  const faults: Fault[] = [];
  for (const [vip, value] of Object.entries(want)) {
    const fault = { ns, kind: 'vip' as const, key: `${table} ${vip}`, object: say(vip, value) };
    if (have[vip] === undefined) faults.push({ ...fault, state: 'missing' });
    else if (have[vip] !== value)
      faults.push({ ...fault, state: 'different', instead: `it goes to ${backendsIn(have[vip]).join(', ') || 'nobody'}` });
  }
  for (const [vip, value] of Object.entries(have))
    if (want[vip] === undefined) faults.push({ ns, kind: 'vip', key: `${table} ${vip}`, state: 'foreign', object: say(vip, value) });
  return faults;
}

/** What goes with a missing link, or comes of one whose bridge is missing, is no fault of its own. */
function withoutConsequences(ns: string, faults: Fault[], desired: KernelState, observed: KernelState): Fault[] {
  const isMissing = (space: string, name: string) =>
    desired.namespaces[space]?.links[name] !== undefined && observed.namespaces[space]?.links[name] === undefined;
  const node = desired.namespaces[NODE_NAMESPACE]?.links ?? {};
  const lostPeers = new Set(
    Object.entries(node).flatMap(([name, l]) =>
      l.kind === 'veth' && l.peerNamespace === ns && isMissing(NODE_NAMESPACE, name) ? [l.peerName] : [],
    ),
  );
  const links = desired.namespaces[ns]?.links ?? {};
  const isLost = (dev: string) => isMissing(ns, dev) || lostPeers.has(dev);
  return faults.filter((f) => {
    if (f.kind === 'link') {
      const link = links[f.key];
      const lostBridge = link && 'bridge' in link && f.state === 'different' && link.bridge !== '' && isMissing(ns, link.bridge);
      return !lostBridge && !lostPeers.has(f.key);
    }
    const dev = deviceOf(f, desired.namespaces[ns]);
    return dev === undefined || f.state === 'foreign' || !(isLost(dev) || (f.kind === 'fdb' && isLost(bridgeOf(links[dev]))));
  });
}

const bridgeOf = (link: Link | undefined): string => (link && 'bridge' in link ? link.bridge : '');

function deviceOf(f: Fault, space: NamespaceState | undefined): string | undefined {
  if (f.kind === 'route') return space?.routes[f.key]?.dev;
  if (f.kind === 'sysctl') return deviceOfSysctl(f.key);
  if (f.kind === 'address' || f.kind === 'neighbour' || f.kind === 'fdb' || f.kind === 'peer') return f.key.split(' ')[0];
  return undefined;
}

const entriesOf = (item: unknown): [string, unknown][] => Object.entries(item as object).filter(([, v]) => v !== undefined);

function sameFlat(a: unknown, b: unknown): boolean {
  const [left, right] = [entriesOf(a), entriesOf(b)];
  return left.length === right.length && left.every(([key, value]) => (b as Record<string, unknown>)[key] === value);
}

/** `mtu 1300 and not 1450`. */
function changesIn(want: unknown, have: unknown): string {
  const keys = new Set([...entriesOf(want), ...entriesOf(have)].map(([key]) => key));
  const value = (item: unknown, key: string) => String((item as Record<string, unknown>)[key] ?? 'none') || 'none';
  return [...keys]
    .filter((key) => value(want, key) !== value(have, key))
    .map((key) => `${key} ${value(have, key)} and not ${value(want, key)}`)
    .join(', ');
}
