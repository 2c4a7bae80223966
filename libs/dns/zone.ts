/** The names of a node's networks, indexed by who may see them. */
import { formatAddress, parseAddress, parsePrefix, prefixContains, reverseNameOf, type Prefix } from './ip.js';
import { normalName } from './name.js';
import { parseUpstream, type NameConfig, type NetworkNamesConfig, type PortConfig } from './name-config.js';

export type { NameConfig } from './name-config.js';

export interface AddressSet {
  v4: Uint8Array[];
  v6: Uint8Array[];
  /** What SRV records are made of. */
  ports?: PortConfig[];
  targets?: string[];
  /** The zone's if left out. */
  ttlSeconds?: number;
}

export interface NetworkZone {
  id: string;
  /** What may stand behind a name and its dot: the network's name, and the search suffix if there is one. */
  suffixes: string[];
  /** Nothing below it is asked outside; the network's name is no such suffix, as it may well be that of a real domain. */
  searchSuffix: string | undefined;
  stack: string;
  internal: boolean;
  subnets: Prefix[];
  records: Map<string, AddressSet>;
  /** Reverse name → names. */
  pointers: Map<string, string[]>;
  /** Last labels of names with dots: they exist, though they have no records (RFC 8020). */
  parents: Set<string>;
}

/** What one client sees. */
export interface View {
  /** The network it asks on first, then the others it is on. */
  networks: NetworkZone[];
  /** Whether names that are not ours may be asked outside. */
  mayAskOutside: boolean;
  /** Resolvers of its own; undefined: the node's. */
  upstreams: readonly string[] | undefined;
  zone: Zone;
}

export interface Zone {
  ttlSeconds: number;
  /** Subnets of all networks of this node: what lies in them is never asked outside. */
  subnets: Prefix[];
  /** By the client's address, in its canonical text. Clients that see the same share one view. */
  views: Map<string, View>;
}

/** Indexes `config` (decoded before). Networks whose subnet does not parse do not exist after decoding. */
export function buildZone(config: NameConfig): Zone {
  const networks = new Map(config.networks.map((n) => [n.id, networkZone(n)]));
  const zone: Zone = { ttlSeconds: config.ttlSeconds, subnets: [...networks.values()].flatMap((n) => n.subnets), views: new Map() };
  const networksOfClient = new Map<string, string[]>();
  for (const { id, clients } of config.networks) for (const c of clients.map(canonical)) push(networksOfClient, c, id);
  const taskOf = new Map(config.tasks.flatMap((task) => task.addresses.map((a) => [canonical(a), task] as const)));
  const shared = new Map<string, View>();
  const viewOf = (asked: string, others: Iterable<string>, upstreams?: readonly string[]): View => {
    const ids = [...new Set([asked, ...others])];
    const key = [...ids, '', ...(upstreams ?? ['-'])].join('\n');
    const view =
      shared.get(key) ??
      makeView(
        zone,
        ids.flatMap((id) => networks.get(id) ?? []),
        upstreams,
      );
    shared.set(key, view);
    return view;
  };
  for (const { id, listen, nodeAddresses, clients } of config.networks) {
    for (const own of [listen.address, ...nodeAddresses]) zone.views.set(canonical(own), viewOf(id, []));
    for (const client of clients.map(canonical)) {
      const task = taskOf.get(client);
      const all = task?.addresses.flatMap((a) => networksOfClient.get(canonical(a)) ?? []) ?? [];
      zone.views.set(client, viewOf(id, all, task?.upstreams));
    }
  }
  return zone;
}

function makeView(zone: Zone, networks: NetworkZone[], own: readonly string[] | undefined): View {
  const isOutside = networks.some((n) => !n.internal);
  const upstreams = own?.filter((text) => mayAsk(zone, networks, isOutside, text));
  return { zone, networks, upstreams, mayAskOutside: upstreams ? upstreams.length > 0 : isOutside };
}

/**
 * A task's own resolver is asked by the node, but only where the task itself could ask: on its own networks, and beyond them if one
 * of them leads out. Else a resolver on somebody else's network would be in reach through the node.
 */
function mayAsk(zone: Zone, networks: readonly NetworkZone[], isOutside: boolean, upstream: string): boolean {
  const bytes = parseAddress(parseUpstream(upstream)?.address ?? '');
  // The node's own loopback is nobody else's.
  if (!bytes || bytes[0] === 127 || formatAddress(bytes) === '::1') return false;
  const host = { bytes, bits: bytes.length * 8 };
  const holds = (subnets: readonly Prefix[]) => subnets.some((subnet) => prefixContains(subnet, host));
  return networks.some((n) => holds(n.subnets)) || (isOutside && !holds(zone.subnets));
}

/** One text for one address: `FD00:0::1` and `fd00::1` are the same client. */
function canonical(address: string): string {
  const bytes = parseAddress(address);
  return bytes ? formatAddress(bytes) : address;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

function networkZone(config: NetworkNamesConfig): NetworkZone {
  const records = new Map<string, AddressSet>();
  const parents = new Set<string>();
  for (const { name, addresses, ports, targets, ttlSeconds } of config.records) {
    const key = normalName(name);
    const set: AddressSet = records.get(key) ?? { v4: [], v6: [] };
    records.set(key, set);
    for (const address of addresses) addAddress(set, address);
    if (ports) set.ports = ports;
    if (targets) set.targets = targets.map(normalName);
    if (ttlSeconds !== undefined) set.ttlSeconds = ttlSeconds;
    if (key.includes('.')) parents.add(key.slice(key.lastIndexOf('.') + 1));
  }
  const pointers = new Map<string, string[]>();
  for (const { address, name } of config.ptr) push(pointers, reverseNameOf(parseAddress(address) ?? new Uint8Array(4)), normalName(name));
  const searchSuffix = config.searchSuffix === undefined ? undefined : normalName(config.searchSuffix);
  return {
    id: config.id,
    suffixes: [normalName(config.name), ...(searchSuffix ? [searchSuffix] : [])],
    searchSuffix: searchSuffix || undefined,
    stack: normalName(config.stack),
    internal: config.internal,
    subnets: [config.subnet, ...(config.moreSubnets ?? [])].flatMap((text) => parsePrefix(text) ?? []),
    records,
    pointers,
    parents,
  };
}

function addAddress(set: AddressSet, address: string): void {
  const bytes = parseAddress(address);
  if (!bytes) return;
  const family = bytes.length === 4 ? set.v4 : set.v6;
  if (!family.some((known) => known.every((b, i) => b === bytes[i]))) family.push(bytes);
}
