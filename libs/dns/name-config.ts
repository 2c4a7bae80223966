/**
 * What a name server is told: the whole of it, each time. Written by the agent, kept in the name server's state file.
 *
 * The codec is by hand and not by zod: the name server runs on every node and zod alone would add 12 MB to its 45 MB, and a
 * large zone would stall answers while it is checked.
 */
import { WeftError } from '#base/errors.js';
import { DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS } from '#model/name-ttl.js';
import { parseAddress, parsePrefix } from './ip.js';
import { isWireName, normalName } from './name.js';

export type TransportProtocol = 'tcp' | 'udp' | 'sctp';

export interface PortConfig {
  port: number;
  protocol: TransportProtocol;
  /** In lower case. */
  name?: string;
}

export interface NameRecordConfig {
  /** Service, alias, task, container host name, `tasks.web`, `web.shop`: with or without a dot at the end, in any case. */
  name: string;
  /** IPv4 and IPv6; empty for a name that exists but has no address now. */
  addresses: string[];
  /** Where the service behind the name listens: SRV records are made of it. */
  ports?: PortConfig[];
  /** Names that the SRV records point at; the name itself if left out. */
  targets?: string[];
  /** The configuration's if left out. */
  ttlSeconds?: number;
}

export interface PointerConfig {
  address: string;
  name: string;
}

export interface NetworkNamesConfig {
  id: string;
  /** The network's name as Compose knows it; `web.<name>` resolves too, as in Docker. */
  name: string;
  stack: string;
  /** No way out: who is on such networks only gets no names from outside. */
  internal: boolean;
  /** Where the network's tasks send their questions. */
  listen: { address: string; port: number };
  subnet: string;
  /** Further subnets of the network, of either family. */
  moreSubnets?: string[];
  /** This node's own addresses on the network: they may ask, too. */
  nodeAddresses: string[];
  /** Addresses of this node's tasks on the network. Nobody else may ask. */
  clients: string[];
  records: NameRecordConfig[];
  ptr: PointerConfig[];
  /** `web.<searchSuffix>` is the same as `web`. */
  searchSuffix?: string;
}

export interface TaskNamesConfig {
  id: string;
  /** On all its networks: how a client that asks on one network is known to be on the others. */
  addresses: string[];
  /** Resolvers of its own for names that are not ours, in place of the node's. */
  upstreams?: string[];
}

export interface NameConfig {
  ttlSeconds: number;
  networks: NetworkNamesConfig[];
  tasks: TaskNamesConfig[];
  /** Resolvers for names that are not ours, tried in this order: an address, `address:port`, or `[v6]:port`. */
  upstreams: string[];
}

export const EMPTY_NAME_CONFIG: NameConfig = { ttlSeconds: DEFAULT_TTL_SECONDS, networks: [], tasks: [], upstreams: [] };

type Fields = Record<string, unknown>;

function bad(where: string, wanted: string): never {
  throw new WeftError('BAD_VALUE', { what: `the name configuration is not valid`, why: `${where} is not ${wanted}` });
}

function fields(value: unknown, where: string): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : bad(where, 'an object');
}

function text(value: unknown, where: string): string {
  return typeof value === 'string' ? value : bad(where, 'a string');
}

function whole(value: unknown, where: string, min: number, max: number): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
    ? value
    : bad(where, `a whole number from ${min} to ${max}`);
}

function list<T>(value: unknown, where: string, item: (value: unknown, where: string) => T): T[] {
  const array: unknown[] = value === undefined ? [] : Array.isArray(value) ? value : bad(where, 'a list');
  return array.map((v, i) => item(v, `${where}.${i}`));
}

function address(value: unknown, where: string): string {
  const string = text(value, where);
  return parseAddress(string) ? string : bad(where, 'an IP address');
}

function domainName(value: unknown, where: string): string {
  const string = text(value, where);
  return isWireName(normalName(string)) ? string : bad(where, 'a domain name');
}

/** Host and port of an upstream, the port 53 unless given; undefined if it is none. A link-local address may have its `%zone`. */
export function parseUpstream(value: string): { address: string; port: number } | undefined {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(value) ?? /^([\d.]+)(?::(\d{1,5}))?$/.exec(value) ?? /^(.*:.*)$/.exec(value);
  const [host, port] = [match?.[1] ?? '', Number(match?.[2] ?? 53)];
  return parseAddress(host.replace(/%[\w.-]+$/, '')) && port > 0 && port < 65_536 ? { address: host, port } : undefined;
}

function subnetText(value: unknown, where: string): string {
  const string = text(value, where);
  return parsePrefix(string) ? string : bad(where, 'a subnet');
}

function port(value: unknown, where: string): PortConfig {
  const f = fields(value, where);
  const protocol = f['protocol'];
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return bad(`${where}.protocol`, 'tcp, udp or sctp');
  const name = f['name'] === undefined ? {} : { name: text(f['name'], `${where}.name`) };
  return { port: whole(f['port'], `${where}.port`, 1, 65_535), protocol, ...name };
}

/** The property, read if it is there. */
function optional<K extends string, T>(
  f: Fields,
  key: K,
  where: string,
  read: (value: unknown, where: string) => T,
): Partial<Record<K, T>> {
  return f[key] === undefined ? {} : ({ [key]: read(f[key], `${where}.${key}`) } as Record<K, T>);
}

function network(value: unknown, where: string): NetworkNamesConfig {
  const f = fields(value, where);
  const listen = fields(f['listen'], `${where}.listen`);
  return {
    id: text(f['id'], `${where}.id`),
    name: text(f['name'], `${where}.name`),
    stack: text(f['stack'], `${where}.stack`),
    internal: typeof f['internal'] === 'boolean' ? f['internal'] : bad(`${where}.internal`, 'true or false'),
    listen: {
      address: address(listen['address'], `${where}.listen.address`),
      port: whole(listen['port'], `${where}.listen.port`, 1, 65_535),
    },
    subnet: subnetText(f['subnet'], `${where}.subnet`),
    ...optional(f, 'moreSubnets', where, (v, at) => list(v, at, subnetText)),
    nodeAddresses: list(f['nodeAddresses'], `${where}.nodeAddresses`, address),
    clients: list(f['clients'], `${where}.clients`, address),
    records: list(f['records'], `${where}.records`, record),
    ptr: list(f['ptr'], `${where}.ptr`, pointer),
    ...optional(f, 'searchSuffix', where, domainName),
  };
}

function record(value: unknown, where: string): NameRecordConfig {
  const f = fields(value, where);
  const name = domainName(f['name'], `${where}.name`);
  return {
    name: normalName(name) === '' ? bad(`${where}.name`, 'a domain name') : name,
    addresses: list(f['addresses'], `${where}.addresses`, address),
    ...optional(f, 'ports', where, (v, at) => list(v, at, port)),
    ...optional(f, 'targets', where, (v, at) => list(v, at, domainName)),
    ...optional(f, 'ttlSeconds', where, (v, at) => whole(v, at, 0, MAX_TTL_SECONDS)),
  };
}

function pointer(value: unknown, where: string): PointerConfig {
  const f = fields(value, where);
  return { address: address(f['address'], `${where}.address`), name: domainName(f['name'], `${where}.name`) };
}

function task(value: unknown, where: string): TaskNamesConfig {
  const f = fields(value, where);
  return {
    id: text(f['id'], `${where}.id`),
    addresses: list(f['addresses'], `${where}.addresses`, address),
    ...optional(f, 'upstreams', where, (v, at) => list(v, at, upstream)),
  };
}

function upstream(value: unknown, where: string): string {
  const string = text(value, where);
  return parseUpstream(string) ? string : bad(where, 'the address of a resolver');
}

/** Lists that are missing are empty, unknown keys are left out. @throws BAD_VALUE saying where */
export function decodeNameConfig(value: unknown): NameConfig {
  const f = fields(value, 'it');
  return {
    ttlSeconds: f['ttlSeconds'] === undefined ? DEFAULT_TTL_SECONDS : whole(f['ttlSeconds'], 'ttlSeconds', 0, MAX_TTL_SECONDS),
    networks: list(f['networks'], 'networks', network),
    tasks: list(f['tasks'], 'tasks', task),
    upstreams: list(f['upstreams'], 'upstreams', upstream),
  };
}
