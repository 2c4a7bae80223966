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
      /** Addresses of what the records point at, sent along if there is room. */
      additionals?: ResourceRecord[];
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
  const services = servicesOf(view, name);
  if (services) return serviceAnswer(view, question, services, turn);
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
  const ttls = sets.flatMap((s) => s.ttlSeconds ?? []);
  const targets = sets.flatMap((s) => s.targets ?? []);
  return {
    v4: unique(sets.flatMap((s) => s.v4)),
    v6: unique(sets.flatMap((s) => s.v6)),
    ports: sets.flatMap((s) => s.ports ?? []),
    ...(targets.length > 0 ? { targets: [...new Set(targets)] } : {}),
    ...(ttls.length > 0 ? { ttlSeconds: Math.min(...ttls) } : {}),
  };
}

const unique = (addresses: Uint8Array[]): Uint8Array[] => [...new Map(addresses.map((a) => [a.join('.'), a])).values()];

/** Names that nobody outside is asked for, whether they exist or not. */
function isOurs(view: View, asked: string): boolean {
  // A service of a name of ours is ours, too; `_web._tcp` alone asks for the service `web`.
  const name = SERVICE_NAME.exec(asked)?.[3] ?? asked;
  if (SERVICE_NAME.test(asked) && (name === asked || addressesOf(view, name))) return true;
  const labels = name.split('.');
  if (name !== '' && labels.length === 1) return true;
  if (view.networks.some((n) => n.searchSuffix && (name === n.searchSuffix || name.endsWith(`.${n.searchSuffix}`)))) return true;
  if (labels[0] !== 'tasks') return false;
  return labels.length === 2 || (labels.length === 3 && view.networks.some((n) => n.stack === labels[2]));
}

const exists = (view: View, name: string): boolean => view.networks.some((n) => n.parents.has(name));

function addressAnswer(view: View, question: Question, set: AddressSet, turn: number): LookupResult {
  const { name, type } = question;
  const ttl = set.ttlSeconds ?? view.zone.ttlSeconds;
  if (type === Type.A || type === Type.AAAA) return answer(name, ttl, rotated(addressData(set, type), turn));
  return type === Type.ANY ? anyAnswer(view, name) : NODATA;
}

const addressData = (set: AddressSet, type: number): RecordData[] =>
  type === Type.A ? set.v4.map((address) => ({ kind: 'A', address })) : set.v6.map((address) => ({ kind: 'AAAA', address }));

function rotated<T>(items: readonly T[], turn: number): T[] {
  const first = items.length === 0 ? 0 : turn % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

function answer(name: string, ttlSeconds: number, data: RecordData[]): Extract<LookupResult, { kind: 'answer' | 'nodata' }> {
  if (data.length === 0) return { kind: 'nodata' };
  const records = data.map((d) => ({ name, ttlSeconds, data: d }));
  return { kind: 'answer', records, authoritative: true, turns: data.length };
}

/** `_http._tcp.web`, `_80._tcp.web`; `_web._tcp`, and that before a suffix (RFC 2782, "The format of the SRV RR"). */
const SERVICE_NAME = /^_([^.]+)\._(tcp|udp|sctp)(?:\.(.+))?$/;

interface Services {
  /** The name whose service it is. */
  owner: string;
  set: AddressSet;
  ports: number[];
}

/** What an SRV name stands for: the ports of a name of ours. Undefined if it has none of that kind. */
function servicesOf(view: View, name: string): Services | undefined {
  const [, label = '', protocol, rest] = SERVICE_NAME.exec(name) ?? [];
  if (protocol === undefined) return undefined;
  const isWhole = rest === undefined || view.networks.some((n) => n.suffixes.includes(rest));
  const owner = isWhole ? label : rest;
  const set = addressesOf(view, owner);
  const ofProtocol = (set?.ports ?? []).filter((p) => p.protocol === protocol);
  const wanted = isWhole ? ofProtocol : ofProtocol.filter((p) => p.name === label || String(p.port) === label);
  const ports = [...new Set(wanted.map((p) => p.port))].sort((a, b) => a - b);
  return set && ports.length > 0 ? { owner, set, ports } : undefined;
}

function serviceAnswer(view: View, { name, type }: Question, { owner, set, ports }: Services, turn: number): LookupResult {
  if (type === Type.ANY) return anyAnswer(view, name);
  if (type !== Type.SRV) return NODATA;
  const ttl = set.ttlSeconds ?? view.zone.ttlSeconds;
  const targets = set.targets ?? [owner];
  // RFC 2782: weight 0 where there is nothing to choose.
  const weight = targets.length > 1 ? 1 : 0;
  const data = targets.flatMap((target) => ports.map((port): RecordData => ({ kind: 'SRV', priority: 0, weight, port, target })));
  const additionals = targets.flatMap((target) => {
    const there = addressesOf(view, target);
    const addresses = there ? [...addressData(there, Type.A), ...addressData(there, Type.AAAA)] : [];
    return addresses.map((d): ResourceRecord => ({ name: target, ttlSeconds: ttl, data: d }));
  });
  const found = answer(name, ttl, rotated(data, turn));
  return found.kind === 'answer' ? { ...found, additionals } : found;
}

/** RFC 8482 §4.2: one HINFO record in place of everything. */
const anyAnswer = (view: View, name: string): LookupResult =>
  answer(name, view.zone.ttlSeconds, [{ kind: 'HINFO', cpu: 'RFC8482', os: '' }]);

function reverse(view: View, { name, type }: Question): LookupResult {
  const asked = prefixOfReverseName(name);
  if (!asked || !view.zone.subnets.some((subnet) => prefixContains(subnet, asked))) return outside(view);
  if (asked.bits < asked.bytes.length * 8) return NODATA;
  const targets = [...new Set(view.networks.flatMap((n) => n.pointers.get(name) ?? []))];
  if (targets.length === 0) return NXDOMAIN;
  if (type === Type.PTR)
    return answer(
      name,
      view.zone.ttlSeconds,
      targets.map((target) => ({ kind: 'PTR', target })),
    );
  return type === Type.ANY ? anyAnswer(view, name) : NODATA;
}
