/**
 * `ports`: short `[ip:]published:target[/protocol]`, ranges of equal length, or the long form. The port on the node is
 * always named: Weft does not pick one, since a port that changes at every `up` cannot be told to anybody.
 *
 * `mode: ingress` (Compose's default) and `mode: host` mean the same for now: the port is open on the nodes where a task
 * of the service runs.
 */
import { isIpv4 } from '#base/address.js';
import type { Port } from '#model/stack.js';
import {
  entriesOf,
  isNull,
  itemsOf,
  readChoice,
  readInteger,
  readString,
  readText,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { PlacedPort, ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { later, readByTable, type KeyTable } from './key-table.js';

const MAX_PORT = 65_535;
const PUBLISH_HINT = 'write "PORT_OF_THE_NODE:PORT_OF_THE_CONTAINER", e.g. "8080:80"';

export function readPorts(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const item of itemsOf(c, field, 'a list of ports') ?? []) {
    const ports = item.value.kind === 'map' ? readLong(c, item) : readShort(c, item);
    for (const port of ports) draft.ports.push({ port, at: item.at, path: item.path });
  }
}

interface Range {
  first: number;
  last: number;
}

function readShort(c: Context, field: Field): Port[] {
  const text = readText(c, field, 'a port like "8080:80" or a map');
  if (text === undefined) return [];
  const fail = (message: string, hint?: string): Port[] => {
    reject(c, field, `${message}, found ${quote(text)}`, hint);
    return [];
  };
  const [address, protocol = 'tcp', ...rest] = text.split('/');
  if (rest.length > 0 || (protocol !== 'tcp' && protocol !== 'udp')) return fail('the protocol after "/" must be tcp or udp');
  const parts = (address ?? '').split(':');
  if (parts.length > 3) return fail('expected [IP:]PUBLISHED:TARGET[/PROTOCOL]', 'host addresses are IPv4 for now');
  const [target, published, ip] = [...parts].reverse();
  if (published === undefined || published === '') return fail('the port of the node is missing', PUBLISH_HINT);
  const inside = parseRange(target ?? '');
  const outside = parseRange(published);
  if (!inside || !outside) return fail(`ports are numbers from 1 to ${MAX_PORT}, or ranges like 8000-8010`);
  if (inside.last - inside.first !== outside.last - outside.first) return fail('the two ranges must have the same length');
  if (ip !== undefined && !isIpv4(ip)) return fail(`${quote(ip)} is not an IPv4 address of the node`);
  return pairUp(inside, outside, { protocol, ...hostIp(ip) });
}

function pairUp(inside: Range, outside: Range, common: Pick<Port, 'protocol' | 'hostIp'>): Port[] {
  return Array.from({ length: inside.last - inside.first + 1 }, (_, i) => ({
    target: inside.first + i,
    published: outside.first + i,
    ...common,
  }));
}

/** 0.0.0.0 is every address: the same as none. */
const hostIp = (ip: string | undefined): { hostIp?: string } => (ip === undefined || ip === '0.0.0.0' ? {} : { hostIp: ip });

function parseRange(text: string): Range | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && last <= MAX_PORT && first <= last ? { first, last } : undefined;
}

const PORT_KEYS: KeyTable<Partial<Port>> = {
  place: 'a port',
  keys: {
    target: (c, field, port) => void (port.target = readInteger(c, field, 1, MAX_PORT)),
    published: (c, field, port) => void (port.published = readInteger(c, field, 1, MAX_PORT)),
    protocol: (c, field, port) => void (port.protocol = readChoice(c, field, ['tcp', 'udp'])),
    host_ip: (c, field, port) => {
      const ip = readString(c, field, 'an IPv4 address of the node');
      if (ip !== undefined && !isIpv4(ip)) reject(c, field, `expected an IPv4 address of the node, found ${quote(ip)}`);
      else port.hostIp = hostIp(ip).hostIp;
    },
    mode: (c, field) => void readChoice(c, field, ['host', 'ingress']),
    name: later,
    app_protocol: later,
  },
};

function readLong(c: Context, field: Field): Port[] {
  const port: Partial<Port> = {};
  readByTable(c, field, PORT_KEYS, port);
  const given = new Set((entriesOf(c, field) ?? []).map((entry) => entry.key));
  if (!given.has('target')) reject(c, field, 'the key "target" is missing', 'the port in the container');
  if (!given.has('published')) reject(c, field, 'the key "published" is missing', 'the port of the node; Weft does not pick one');
  const { target, published, protocol = 'tcp', ...rest } = port;
  if (target === undefined || published === undefined) return [];
  return [{ target, published, protocol, ...hostIp(rest.hostIp) }];
}

/** Tells of every two entries that want the same port of a node. An entry without an address wants it on all of them. */
export function checkPortClashes(c: Context, ports: readonly PlacedPort[]): void {
  const byPort = new Map<string, PlacedPort[]>();
  for (const placed of ports) {
    const key = `${placed.port.published}/${placed.port.protocol}`;
    const others = byPort.get(key) ?? [];
    const first = others.find(
      ({ port }) => port.hostIp === undefined || placed.port.hostIp === undefined || port.hostIp === placed.port.hostIp,
    );
    if (first)
      report(
        c,
        placed.at,
        placed.path,
        `port ${key} of the node is already published by ${first.path} at ${c.file}:${first.at.line}:${first.at.column}`,
      );
    byPort.set(key, [...others, placed]);
  }
}
