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
  readMatching,
  readString,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { PlacedPort, ServiceDraft } from './draft.js';
import { formatPlace, quote } from './issue.js';
import { objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';

const MAX_PORT = 65_535;
/** At most 63 letters, digits and single hyphens, with a letter among them. */
const PORT_NAME = /^(?=.*[a-zA-Z])[a-zA-Z0-9](-?[a-zA-Z0-9]){0,61}$/;
const PUBLISH_HINT = 'write "PORT_OF_THE_NODE:PORT_OF_THE_CONTAINER", e.g. "8080:80"';

export function readPorts(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const item of itemsOf(c, field, 'a list of ports') ?? []) {
    for (const port of readLong(c, item)) draft.ports.push({ port, at: item.at, path: item.path });
  }
}

/** 0.0.0.0 is every address: the same as none. */
const hostIp = (ip: string | undefined): { hostIp?: string } => (ip === undefined || ip === '0.0.0.0' ? {} : { hostIp: ip });

const PORT_KEYS: KeyTable<Partial<Port>> = {
  shape: objectAt(SERVICE, 'ports'),
  keys: {
    name: (c, field, port) => void (port.name = readMatching(c, field, PORT_NAME, 'a name like "http" (RFC 6335)')),
    target: (c, field, port) => void (port.target = readInteger(c, field, 1, MAX_PORT)),
    published: (c, field, port) => void (port.published = readInteger(c, field, 1, MAX_PORT)),
    protocol: (c, field, port) => void (port.protocol = readChoice(c, field, ['tcp', 'udp'])),
    host_ip: (c, field, port) => {
      const ip = readString(c, field, 'an IPv4 address of the node');
      if (ip !== undefined && !isIpv4(ip)) reject(c, field, `expected an IPv4 address of the node, found ${quote(ip)}`);
      else port.hostIp = hostIp(ip).hostIp;
    },
    mode: (c, field) => void readChoice(c, field, ['host', 'ingress']),
  },
};

function readLong(c: Context, field: Field): Port[] {
  const port: Partial<Port> = {};
  readByTable(c, field, PORT_KEYS, port);
  const given = new Set((entriesOf(c, field) ?? []).map((entry) => entry.key));
  if (!given.has('published')) reject(c, field, 'the port of the node is missing', PUBLISH_HINT);
  const { target, published, protocol = 'tcp', ...rest } = port;
  if (target === undefined || published === undefined) return [];
  return [{ target, published, protocol, ...hostIp(rest.hostIp), ...(rest.name === undefined ? {} : { name: rest.name }) }];
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
      report(c, placed.at, placed.path, `port ${key} of the node is already published by ${first.path} at ${formatPlace(first.at)}`);
    byPort.set(key, [...others, placed]);
  }
}
