/**
 * Virtual addresses, balanced where the client is: its own namespace rewrites the destination of each new connection, so
 * the source address stays and nothing has to come back the same way.
 *
 * Flat maps and one chain per NUMBER of backends, not a chain per service: loading 30,000 services takes a second this way, and
 * minutes the usual way. A look-up costs the same for one service and for thousands.
 *
 * `vips` leads an address to a mark, and `balancers` the mark to its chain. Not the address to its chain at once: whenever a map of
 * verdicts changes, the kernel looks for loops behind every element of it (nft_table_validate), 15 ms with 30,000. So the large map
 * holds plain values, and the one of verdicts as many elements as there are chains.
 *
 * A table's text holds the empty maps and the hooks; what is in the maps is a record of its own (VipRecord), changed element by
 * element: one virtual address among 30,000 costs what it costs alone. Chains `lb<n>` are made when first needed and stay.
 */
import type { NftChain, NftSet } from './nft-text.js';
import { chainBody, rule } from './nft-text.js';
import { TASK_TABLE } from './names.js';

/** What is behind a virtual address. */
export interface Balanced {
  /** Task addresses. Empty: connections are refused. */
  backends: readonly string[];
  /** client: the backend is chosen by the client's address, and stays the same as long as the backends do. */
  affinity?: 'client';
}

/**
 * Virtual address → its backends, sorted, with spaces between, after `client ` for those with affinity. '' refuses. Text, so
 * that equal ones are known at a glance.
 */
export type VipRecord = Readonly<Record<string, string>>;

export interface VipChange {
  address: string;
  /** undefined: not there. */
  before?: string;
  after?: string;
}

/** Which hooks translate: a task's own connections (`output`), and what it forwards for others (`prerouting`). */
export type VipHook = 'output' | 'prerouting';

const CLIENT = 'client';
/** Every node computes the same choice. */
const HASH_SEED = '0x77656674';

export const valueOf = ({ backends, affinity }: Balanced): string =>
  // Of one there is nothing to choose.
  [...(affinity === undefined || backends.length < 2 ? [] : [CLIENT]), ...[...backends].sort()].join(' ');

/** The backends in a value, in the order of their numbers. */
export function backendsIn(value: string | undefined): string[] {
  if (!value) return [];
  const words = value.split(' ');
  return words[0] === CLIENT ? words.slice(1) : words;
}

type Pairs = readonly (readonly [address: string, value: string])[];

/** What records were made of: compared so, two of them take a twentieth of the time that going through the records does. */
const made = new WeakMap<VipRecord, { pairs: Pairs; refuses: boolean }>();

/** A record of these; of one address the last counts. It must not be changed. */
export function vipRecord(pairs: Pairs): VipRecord {
  const record: Record<string, string> = {};
  for (const [address, value] of pairs) record[address] = value;
  made.set(record, { pairs, refuses: pairs.some(([address, value]) => value === '' && record[address] === '') });
  return record;
}

export const refuses = (record: VipRecord): boolean => made.get(record)?.refuses ?? Object.values(record).includes('');

/** A table takes part in the balancing if its text has these sets. */
export function vipSets(table: string): NftSet[] {
  const type = `${familyOf(table)}_addr`;
  return [
    { name: 'vips', kind: 'map', type: `${type} : mark`, elements: [] },
    { name: 'balancers', kind: 'map', type: 'mark : verdict', elements: [] },
    { name: 'ep', kind: 'map', type: `${type} . mark : ${type}`, elements: [] },
    { name: 'empty', kind: 'set', type, elements: [] },
  ];
}

export const vipChains = (table: string): NftChain[] => hooksOf(table).map((hook) => translator(table, hook));

const familyOf = (table: string): 'ipv4' | 'ipv6' => (table.startsWith('ip6 ') ? 'ipv6' : 'ipv4');
const protocolOf = (table: string): 'ip' | 'ip6' => (table.startsWith('ip6 ') ? 'ip6' : 'ip');

/** A node translates only what it sends itself: on its way in, a stranger's packet to a virtual address would pass for a published port. */
const hooksOf = (table: string): VipHook[] =>
  table.endsWith(TASK_TABLE.slice(TASK_TABLE.indexOf(' '))) ? ['output', 'prerouting'] : ['output'];

const translator = (table: string, hook: VipHook): NftChain => ({
  name: `vip_${hook}`,
  hook: `nat hook ${hook} priority -100`,
  // One rule: of what is no virtual address it says nothing from the first map on, and its mark stays as it is.
  rules: [
    rule(
      `meta mark set ${protocolOf(table)} daddr map @vips meta mark vmap @balancers`,
      'a virtual address becomes a backend, once per connection',
    ),
  ],
});

/** A NAT chain cannot reject; the filter hook behind it can. What was sent on has another destination by then. */
const refuser = (table: string, hook: VipHook): NftChain => ({
  name: `empty_${hook}`,
  hook: `filter hook ${hook === 'output' ? 'output' : 'forward'} priority 0`,
  rules: [
    rule(
      `${protocolOf(table)} daddr @empty meta l4proto tcp reject with tcp reset`,
      'a service without endpoints refuses, it is not silent',
    ),
    rule(`${protocolOf(table)} daddr @empty reject`, 'the same for everything else'),
  ],
});

function balancer(table: string, name: string): NftChain {
  const count = Number(/\d+$/.exec(name)?.[0]);
  const choose = name.startsWith('st') ? `jhash ${protocolOf(table)} saddr mod ${count} seed ${HASH_SEED}` : `numgen random mod ${count}`;
  return {
    name,
    rules: [
      rule(`meta mark set ${choose}`, name.startsWith('st') ? `a client's own one of ${count}` : `choose one of ${count}`),
      rule(`dnat to ${protocolOf(table)} daddr . meta mark map @ep`, 'the chosen backend of this virtual address'),
    ],
  };
}

/** Marks of chains by the client's address begin here, behind those of any number of backends. */
const STICKY_MARK = 0x1_0000;

/** The chain that a value with backends goes by. Asked of thousands of values, so it only counts words. */
function chainOf(value: string): string {
  let words = 1;
  for (let at = value.indexOf(' '); at !== -1; at = value.indexOf(' ', at + 1)) words++;
  return value.startsWith(`${CLIENT} `) ? `st${words - 1}` : `lb${words}`;
}

/** The mark that leads to a balancing chain. */
const markOf = (chain: string): number => Number(chain.slice(2)) + (chain.startsWith('st') ? STICKY_MARK : 0);

/** The balancing chain that a mark leads to. */
export const balancerAt = (mark: number): string => (mark > STICKY_MARK ? `st${mark - STICKY_MARK}` : `lb${mark}`);

/** Chains that come and go beside the table's text. */
export const isVipChain = (name: string): boolean => /^(lb|st)\d+$|^empty_(output|prerouting)$/.test(name);

/** The maps whose elements change one by one. */
export const VIP_MAPS: readonly string[] = ['vips', 'balancers', 'ep', 'empty'];

/** A change of what is in a table's maps. */
export interface VipUpdate {
  changes: readonly VipChange[];
  /** Balancing chains that are needed and may not be there yet. */
  balancers: readonly string[];
  /** Whether some virtual address is without backends then. */
  refusing: boolean;
}

/** `changes` of a table that holds `before`, with what else they need. */
export function vipUpdate(before: VipRecord, changes: readonly VipChange[], refusing: boolean): VipUpdate {
  const needed = new Set(changes.flatMap((c) => (c.after ? [chainOf(c.after)] : [])));
  // Where one has stood it stays. Most often the first address that is looked at goes by it.
  for (const [address, value] of needed.size === 0 ? [] : (made.get(before)?.pairs ?? Object.entries(before))) {
    if (value !== '' && value === before[address]) needed.delete(chainOf(value));
    if (needed.size === 0) break;
  }
  return { changes, balancers: [...needed].sort(), refusing };
}

/** The balancing chains that `changes` need, and neither `before` has nor `balancers` bring. */
export const missingBalancers = (before: VipRecord, { changes, balancers }: VipUpdate): string[] =>
  vipUpdate(before, changes, false).balancers.filter((chain) => !balancers.includes(chain));

/** The chains beside the text that `vipScript` makes. */
export function vipChainNames(table: string, { changes, balancers, refusing }: VipUpdate): string[] {
  return [...balancers, ...(refusing && touchesEmpty(changes) ? hooksOf(table).map((hook) => refuser(table, hook).name) : [])];
}

const touchesEmpty = (changes: readonly VipChange[]): boolean => changes.some((c) => c.before === '' || c.after === '');

/** Of a table whose maps are empty. */
export const NO_VIPS: VipRecord = {};

/** What must change from `before` to `after`. */
export function vipChanges(before: VipRecord, after: VipRecord): VipChange[] {
  if (before === after) return [];
  const moved = movedAddresses(made.get(before)?.pairs, made.get(after)?.pairs);
  if (moved) return [...moved].flatMap((a) => (before[a] === after[a] ? [] : [{ address: a, before: before[a], after: after[a] }]));
  const changes: VipChange[] = [];
  if (before === NO_VIPS) return Object.entries(after).map(([address, value]) => ({ address, after: value }));
  // Both may be large: no pairs are made of them, and what is gone is only looked for when the numbers tell that something is.
  let kept = 0;
  for (const address in after) {
    const was = before[address];
    if (was !== undefined) kept++;
    if (was !== after[address]) changes.push({ address, before: was, after: after[address] });
  }
  if (Object.keys(before).length === kept) return changes;
  for (const address in before) if (after[address] === undefined) changes.push({ address, before: before[address] });
  return changes;
}

/** Those with other values; undefined unless both have the same addresses in the same order. */
function movedAddresses(before: Pairs | undefined, after: Pairs | undefined): Set<string> | undefined {
  if (!before || before.length !== after?.length) return undefined;
  const moved = new Set<string>();
  for (let i = 0; i < after.length; i++) {
    const [was, is] = [before[i], after[i]];
    if (!was || !is || was[0] !== is[0]) return undefined;
    if (was[1] !== is[1]) moved.add(is[0]);
  }
  return moved;
}

/**
 * nft commands that carry an update out; one transaction with whatever stands before. A filter chain is asked about every packet, one of
 * type nat about the first of a connection: so those that refuse stand only while there is something to refuse.
 */
export function vipScript(table: string, { changes, balancers, refusing }: VipUpdate): string {
  const gone = noElements();
  const come = noElements();
  for (const { address, before, after } of changes) {
    gatherKeys(gone, address, before);
    gather(come, address, after);
  }
  return [
    ...elementLines('delete', table, gone),
    ...balancers.flatMap((name) => balancerLines(table, name)),
    ...elementLines('add', table, come),
    ...(touchesEmpty(changes) ? hooksOf(table).flatMap((hook) => refuserLines(table, hook, refusing)) : []),
    '',
  ].join('\n');
}

/** By map, as nft writes them. */
type Elements = Record<(typeof VALUE_MAPS)[number], string[]>;

const VALUE_MAPS = ['vips', 'ep', 'empty'] as const;

const noElements = (): Elements => ({ vips: [], ep: [], empty: [] });

const elementLines = (verb: 'add' | 'delete', table: string, of: Elements): string[] =>
  VALUE_MAPS.flatMap((map) => (of[map].length === 0 ? [] : [`${verb} element ${table} ${map} { ${of[map].join(', ')} }`]));

/** Adds the elements that say that `address` has this value. */
function gather(into: Elements, address: string, value: string | undefined): void {
  if (value === undefined) return;
  if (value === '') return void into.empty.push(address);
  into.vips.push(`${address} : ${markOf(chainOf(value))}`);
  backendsIn(value).forEach((backend, i) => into.ep.push(`${address} . ${i} : ${backend}`));
}

/** Adds the keys of the same elements. */
function gatherKeys(into: Elements, address: string, value: string | undefined): void {
  if (value === undefined) return;
  if (value === '') return void into.empty.push(address);
  into.vips.push(address);
  backendsIn(value).forEach((_, i) => into.ep.push(`${address} . ${i}`));
}

/** Put right whether or not it is there. */
function chainLines(table: string, chain: NftChain): string[] {
  const hook = chain.hook === undefined ? '' : ` { type ${chain.hook}; policy accept; }`;
  return [
    `add chain ${table} ${chain.name}${hook}`,
    `flush chain ${table} ${chain.name}`,
    ...chainBody(chain).map((text) => `add rule ${table} ${chain.name} ${text}`),
  ];
}

/** Commands that make the chain `name` (of vipChainNames) in `table`. */
export function vipChainLines(table: string, name: string): string[] {
  if (!name.startsWith('empty_')) return balancerLines(table, name);
  return chainLines(table, refuser(table, name === 'empty_output' ? 'output' : 'prerouting'));
}

function balancerLines(table: string, name: string): string[] {
  return [...chainLines(table, balancer(table, name)), `add element ${table} balancers { ${markOf(name)} : goto ${name} }`];
}

function refuserLines(table: string, hook: VipHook, wanted: boolean): string[] {
  const chain = refuser(table, hook);
  const lines = chainLines(table, wanted ? chain : { ...chain, rules: [] });
  return wanted ? lines : [...lines, `delete chain ${table} ${chain.name}`];
}
