/**
 * `ports`: short `[ip:][published:]target[/protocol]`, ranges, or the long form. A port of the node that the file leaves open (none,
 * or a range for one port of the container) is chosen by the cluster at the first `up`, the lowest that nobody has, and kept: a port
 * that changes at every `up` cannot be told to anybody.
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
import { parseRange } from './short-ports.js';

const MAX_PORT = 65_535;
/** At most 63 letters, digits and single hyphens, with a letter among them. */
const PORT_NAME = /^(?=.*[a-zA-Z])[a-zA-Z0-9](-?[a-zA-Z0-9]){0,61}$/;
/** As Docker Swarm chooses. Below what the kernel gives to outgoing connections, so that none of those is in the way. */
const CHOICE = { first: 30_000, last: 32_767 };

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
    published: readPublished,
    protocol: (c, field, port) => void (port.protocol = readChoice(c, field, ['tcp', 'udp', 'sctp'])),
    host_ip: (c, field, port) => {
      const ip = readString(c, field, 'an IPv4 address of the node');
      if (ip !== undefined && !isIpv4(ip)) reject(c, field, `expected an IPv4 address of the node, found ${quote(ip)}`);
      else port.hostIp = hostIp(ip).hostIp;
    },
    mode: (c, field, port) => void (port.mode = readChoice(c, field, ['host', 'ingress'])),
    // A hint, and nothing that Weft does depends on it.
    app_protocol: () => undefined,
  },
};

/** A number, or a range to choose from. */
function readPublished(c: Context, field: Field, port: Partial<Port>): void {
  const range = field.value.kind === 'scalar' && field.value.text.includes('-') ? parseRange(field.value.text) : undefined;
  if (range && range.first < range.last) Object.assign(port, { published: range.first, chosenFrom: range });
  else port.published = range ? range.first : readInteger(c, field, 1, MAX_PORT);
}

function readLong(c: Context, field: Field): Port[] {
  const port: Partial<Port> = {};
  readByTable(c, field, PORT_KEYS, port);
  const given = new Set((entriesOf(c, field) ?? []).map((entry) => entry.key));
  if (!given.has('published')) Object.assign(port, { published: CHOICE.first, chosenFrom: CHOICE });
  const { target, published, protocol = 'tcp', name, chosenFrom } = port;
  if (target === undefined || published === undefined) return [];
  return [
    {
      ...{ target, published, protocol, ...hostIp(port.hostIp) },
      ...(name === undefined ? {} : { name }),
      ...(chosenFrom === undefined ? {} : { chosenFrom }),
      ...(port.mode === 'host' ? { mode: port.mode } : {}),
    },
  ];
}

/** Tells of every two entries that want the same port of a node. An entry without an address wants it on all of them. */
export function checkPortClashes(c: Context, ports: readonly PlacedPort[]): void {
  const byPort = new Map<string, PlacedPort[]>();
  for (const placed of ports) {
    if (placed.port.chosenFrom) continue;
    const key = `${placed.port.published}/${placed.port.protocol}`;
    const others = byPort.get(key) ?? [];
    const first = others.find(
      ({ port }) =>
        !(port.mode === 'host' && placed.port.mode === 'host') &&
        (port.hostIp === undefined || placed.port.hostIp === undefined || port.hostIp === placed.port.hostIp),
    );
    if (first)
      report(c, placed.at, placed.path, `port ${key} of the node is already published by ${first.path} at ${formatPlace(first.at)}`);
    byPort.set(key, [...others, placed]);
  }
}
