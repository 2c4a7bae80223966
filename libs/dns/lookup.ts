/**
 * What a client gets for a question. Pure: the turn of the round-robin is an argument.
 *
 * Ours, and never asked outside: names in the records of the client's networks, names without a dot, `tasks.…` of a service or
 * stack, reverse names of the node's subnets, `localhost`. Everything else with a dot goes upstream, unless all networks of
 * the client are internal: a question, too, can carry data out (CVE-2024-29018).
 */
import { Class, Type } from './constants.js';
import { parseAddress, prefixContains, prefixOfReverseName } from './ip.js';
import type { Question, RecordData, ResourceRecord } from './message.js';
import type { AddressSet, View, Zone } from './zone.js';

export type LookupResult =
  | {
      kind: 'answer';
      records: ResourceRecord[];
      authoritative: true;
      /** In how many orders the records can come. */
      turns: number;
    }
  /** The name exists, with no record of this type. */
  | { kind: 'nodata' }
  | { kind: 'nxdomain' }
  /** Not for this client, or not for anybody. */
  | { kind: 'refused' }
  | { kind: 'upstream' }
  /** A name from outside, for a client that may not reach it. */
  | { kind: 'servfail' };

const NODATA: LookupResult = { kind: 'nodata' };
const NXDOMAIN: LookupResult = { kind: 'nxdomain' };
const REFUSED: LookupResult = { kind: 'refused' };

/** Questions about zones, not hosts: a validating resolver asks them of top-level domains. */
const ZONE_TYPES = new Set<number>([Type.NS, Type.DS, Type.DNSKEY]);
const LOOPBACK: AddressSet = { v4: [Uint8Array.of(127, 0, 0, 1)], v6: [parseAddress('::1') as Uint8Array] };

/**
 * `clientAddress` in canonical text (as the kernel gives it); `turn` rotates the addresses: 0 is the configured order.
 */
export function lookup(zone: Zone, question: Question, clientAddress: string, turn = 0): LookupResult {
  const view = zone.views.get(clientAddress);
  return view ? lookupInView(view, question, turn) : REFUSED;
}

/** The same for a client whose view is known. */
export function lookupInView(view: View, question: Question, turn = 0): LookupResult {
  const { name, type } = question;
  if (question.class !== Class.IN && question.class !== Class.ANY) return REFUSED;
  if (type === Type.AXFR || type === Type.IXFR || type === Type.OPT) return REFUSED;
  if (name.endsWith('.in-addr.arpa') || name.endsWith('.ip6.arpa')) return reverse(view, question);
  const found = name === 'localhost' || name.endsWith('.localhost') ? LOOPBACK : addressesOf(view, name);
  if (found) return addressAnswer(view, question, found, turn);
  if (isOurs(view, name) && !ZONE_TYPES.has(type)) return exists(view, name) ? NODATA : NXDOMAIN;
  return outside(view);
}

const outside = (view: View): LookupResult => (view.mayAskOutside ? { kind: 'upstream' } : { kind: 'servfail' });

/** The union over the client's networks, asked network first; undefined if none knows the name. */
function addressesOf(view: View, name: string): AddressSet | undefined {
  const sets = view.networks.flatMap((network) => {
    const names = [name, ...network.suffixes.filter((s) => name.endsWith(`.${s}`)).map((s) => name.slice(0, -s.length - 1))];
    return names.flatMap((n) => network.records.get(n) ?? []);
  });
  if (sets.length < 2) return sets[0];
  return { v4: unique(sets.flatMap((s) => s.v4)), v6: unique(sets.flatMap((s) => s.v6)) };
}

const unique = (addresses: Uint8Array[]): Uint8Array[] => [...new Map(addresses.map((a) => [a.join('.'), a])).values()];

/** Names that nobody outside is asked for, whether they exist or not. */
function isOurs(view: View, name: string): boolean {
  const labels = name.split('.');
  if (name !== '' && labels.length === 1) return true;
  if (view.networks.some((n) => n.searchSuffix && (name === n.searchSuffix || name.endsWith(`.${n.searchSuffix}`)))) return true;
  if (labels[0] !== 'tasks') return false;
  return labels.length === 2 || (labels.length === 3 && view.networks.some((n) => n.stack === labels[2]));
}

const exists = (view: View, name: string): boolean => view.networks.some((n) => n.parents.has(name));

function addressAnswer(view: View, question: Question, set: AddressSet, turn: number): LookupResult {
  const { name, type } = question;
  if (type === Type.A) return rotated(view, name, 'A', set.v4, turn);
  if (type === Type.AAAA) return rotated(view, name, 'AAAA', set.v6, turn);
  if (type === Type.ANY) return anyAnswer(view, name);
  return NODATA;
}

function rotated(view: View, name: string, kind: 'A' | 'AAAA', addresses: Uint8Array[], turn: number): LookupResult {
  const first = addresses.length === 0 ? 0 : turn % addresses.length;
  return answer(
    view,
    name,
    [...addresses.slice(first), ...addresses.slice(0, first)].map((address) => ({ kind, address })),
  );
}

function answer(view: View, name: string, data: RecordData[]): LookupResult {
  if (data.length === 0) return NODATA;
  const records = data.map((d) => ({ name, ttlSeconds: view.zone.ttlSeconds, data: d }));
  return { kind: 'answer', records, authoritative: true, turns: data.length };
}

/** RFC 8482 §4.2: one HINFO record in place of everything. */
const anyAnswer = (view: View, name: string): LookupResult => answer(view, name, [{ kind: 'HINFO', cpu: 'RFC8482', os: '' }]);

function reverse(view: View, { name, type }: Question): LookupResult {
  const asked = prefixOfReverseName(name);
  if (!asked || !view.zone.subnets.some((subnet) => prefixContains(subnet, asked))) return outside(view);
  if (asked.bits < asked.bytes.length * 8) return NODATA;
  const targets = [...new Set(view.networks.flatMap((n) => n.pointers.get(name) ?? []))];
  if (targets.length === 0) return NXDOMAIN;
  if (type === Type.PTR)
    return answer(
      view,
      name,
      targets.map((target) => ({ kind: 'PTR', target })),
    );
  return type === Type.ANY ? anyAnswer(view, name) : NODATA;
}
