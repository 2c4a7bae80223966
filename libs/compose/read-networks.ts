/** Networks: declared at the top level, named by services. */
import { isMac } from '#base/address.js';
import { familyOf } from '#base/ip.js';
import { GLOBAL_NAME_PATTERN, HOSTNAME_PATTERN, SERVICE_PATTERN } from '#model/names.js';
import type { Attachment } from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import {
  defined,
  entriesOf,
  isNull,
  readBoolean,
  readChoice,
  readInteger,
  readMatching,
  readString,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { ProjectDraft, ServiceDraft, StaticAddress } from './draft.js';
import { formatPlace, quote, type Position } from './issue.js';
import { NETWORK, objectAt } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readDriverOptions } from './read-driver-opts.js';
import { overlaps, readAddress, readIpam, type PlacedSubnet } from './read-ipam.js';
import { readLabels, readUniqueList } from './read-pairs.js';

const KEY_RULE = 'letters, digits, "-" and "_", beginning with a letter or digit, 63 characters at most';
export const GLOBAL_NAME_RULE = 'letters, digits, "-", "_" and ".", beginning with a letter or digit, 128 characters at most';

const MAX_PRIORITY = 1_000_000;
const INTERFACE_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}$/;
const KEPT_INTERFACES: ReadonlySet<string> = new Set(['lo', 'all', 'default', 'weft0']);

interface NetworkDraft {
  given: Partial<NetworkWish>;
  subnets: PlacedSubnet[];
  options?: Field;
  /** The first key that says how the network is made. */
  making?: Field;
}

/** Of a network that is there already, nothing but its name can be said. */
const making =
  (read: (c: Context, field: Field, draft: NetworkDraft) => void) =>
  (c: Context, field: Field, draft: NetworkDraft): void => {
    draft.making ??= field;
    read(c, field, draft);
  };

const NETWORK_KEYS: KeyTable<NetworkDraft> = {
  shape: NETWORK,
  keys: {
    name: (c, field, { given }) => void (given.name = readMatching(c, field, GLOBAL_NAME_PATTERN, GLOBAL_NAME_RULE)),
    external: (c, field, { given }) => void (given.external = readBoolean(c, field) || undefined),
    driver: making(
      (c, field, { given }) =>
        void (given.driver = readChoice(c, field, ['overlay', 'bridge', 'macvlan', 'ipvlan'], 'Weft has no other drivers')),
    ),
    driver_opts: making((_, field, draft) => void (draft.options = field)),
    internal: making((c, field, { given }) => void (given.internal = readBoolean(c, field))),
    attachable: making((c, field, { given }) => void (given.attachable = readBoolean(c, field))),
    labels: making((c, field, { given }) => void (given.labels = readLabels(c, field))),
    ipam: making((c, field, { subnets }) => void subnets.push(...readIpam(c, field))),
    enable_ipv4: making((c, field) => {
      if (readBoolean(c, field) === false)
        reject(c, field, 'every network has IPv4', 'leave it out; services may use IPv6 alone all the same');
    }),
    enable_ipv6: making((c, field, { given }) => void (given.ipv6 = readBoolean(c, field) || undefined)),
  },
};

/** Entries of a map whose keys the user chose. */
export function namedEntries(c: Context, field: Field, what: string): (Field & { key: string })[] {
  return (entriesOf(c, field, `a map of ${what}s`) ?? []).filter((entry) => isKey(c, entry, what));
}

function isKey(c: Context, entry: Field & { key: string }, what: string): boolean {
  if (SERVICE_PATTERN.test(entry.key)) return true;
  report(c, entry.at, entry.path, `${quote(entry.key)} is not a valid name for a ${what}`, KEY_RULE);
  return false;
}

export function readNetworks(c: Context, field: Field, project: ProjectDraft): void {
  for (const entry of namedEntries(c, field, 'network')) {
    const draft: NetworkDraft = { given: {}, subnets: [] };
    if (!isNull(entry.value)) readByTable(c, entry, NETWORK_KEYS, draft);
    const wish = { ...defaultNetwork(project.name, entry.key), ...defined({ ...draft.given, ...subnetsOf(c, draft) }) };
    const options = draft.options && readDriverOptions(c, draft.options, wish.driver);
    checkParent(c, entry, wish, options);
    if (options && Object.keys(options).length > 0) wish.options = options;
    if (wish.external && draft.making)
      report(
        c,
        draft.making.at,
        draft.making.path,
        'the network is external: it is made elsewhere, and that is said there',
        'keep "name" alone beside "external"',
      );
    checkGlobalName(c, entry, wish.name, 'network', project.networks);
    for (const subnet of draft.subnets) checkOverlap(c, subnet, project);
    project.networks.set(entry.key, { wish, at: draft.subnets[0]?.at ?? entry.at, subnets: draft.subnets });
  }
}

/** macvlan and ipvlan are parts of a device. */
function checkParent(c: Context, entry: Field, wish: NetworkWish, options: NetworkWish['options']): void {
  if ((wish.driver !== 'macvlan' && wish.driver !== 'ipvlan') || wish.external || options?.parent !== undefined) return;
  report(c, entry.at, entry.path, `the driver ${wish.driver} needs a parent`, 'driver_opts: { parent: eth0 }, or eth0.50 for VLAN 50');
}

function subnetsOf(c: Context, { given, subnets }: NetworkDraft): Pick<NetworkWish, 'subnet' | 'ipam'> {
  const six = subnets.find((s) => familyOf(s.wish.subnet) === 6);
  if (six && !given.ipv6) report(c, six.at, six.path, 'an IPv6 subnet on a network without IPv6', 'add "enable_ipv6: true" to the network');
  const subnet = subnets.find((s) => s !== six)?.wish.subnet;
  const isPlain = subnets.length === 1 && !six && Object.keys(subnets[0]?.wish ?? {}).length === 1;
  return { subnet, ipam: subnets.length === 0 || isPlain ? undefined : subnets.map((s) => s.wish) };
}

const defaultNetwork = (stack: string, key: string): NetworkWish => ({
  key,
  name: `${stack}_${key}`,
  driver: 'overlay',
  internal: false,
  labels: {},
});

function checkOverlap(c: Context, subnet: PlacedSubnet, project: ProjectDraft): void {
  for (const [key, { subnets }] of project.networks) {
    const other = subnets.find((s) => overlaps(s, subnet));
    if (!other) continue;
    report(
      c,
      subnet.at,
      subnet.path,
      `the subnet ${subnet.wish.subnet} overlaps ${other.wish.subnet} of networks.${key} at ${formatPlace(other.at)}`,
    );
  }
}

export function checkGlobalName(
  c: Context,
  entry: Field,
  name: string,
  what: string,
  others: Map<string, { wish: { name: string }; at: Position }>,
): void {
  for (const [key, other] of others) {
    if (other.wish.name === name)
      report(c, entry.at, entry.path, `the ${what} name ${quote(name)} is already that of ${what}s.${key} at line ${other.at.line}`);
  }
}

/** One attachment, and the addresses in it with their places. */
interface AttachmentDraft {
  attachment: Attachment;
  fixed: Pick<StaticAddress, 'kind' | 'text' | 'at' | 'path'>[];
}

const ALIAS_RULE = 'a name of one label: letters, digits, "-" and "_"';

const ATTACHMENT_KEYS: KeyTable<AttachmentDraft> = {
  shape: objectAt(SERVICE, 'networks'),
  keys: {
    aliases: (c, field, { attachment }) => {
      attachment.aliases = readUniqueList(c, field, (_, item) => readAlias(c, item));
    },
    gw_priority: (c, field, { attachment }) => void (attachment.gwPriority = readInteger(c, field, -MAX_PRIORITY, MAX_PRIORITY)),
    priority: (c, field, { attachment }) => void (attachment.priority = readInteger(c, field, -MAX_PRIORITY, MAX_PRIORITY)),
    interface_name: (c, field, { attachment }) => void (attachment.interfaceName = readInterfaceName(c, field)),
    ipv4_address: (c, field, draft) => void (draft.attachment.ipv4 = readStatic(c, field, draft, 4)),
    ipv6_address: (c, field, draft) => void (draft.attachment.ipv6 = readStatic(c, field, draft, 6)),
    mac_address: (c, field, draft) => {
      const text = readMac(c, field);
      if (text === undefined) return;
      draft.attachment.mac = text;
      draft.fixed.push({ kind: 'mac', text, at: field.value.at, path: field.path });
    },
  },
};

function readMac(c: Context, field: Field): string | undefined {
  const text = readString(c, field, 'a MAC address')?.toLowerCase().replaceAll('-', ':');
  if (text === undefined) return undefined;
  if (!isMac(text) || text === '00:00:00:00:00:00')
    return void reject(c, field, `expected a MAC address like 02:42:ac:11:00:02, found ${quote(text)}`);
  if (Number.parseInt(text.slice(0, 2), 16) & 1) return void reject(c, field, `${text} is a group address: no interface has one`);
  return text;
}

/** `mac_address` of a service: kept until its networks are known. */
export function readServiceMac(c: Context, field: Field, draft: ServiceDraft): void {
  const text = readMac(c, field);
  if (text !== undefined) draft.mac = { text, at: field.value.at, path: field.path };
}

/** It is that of the service's first interface: on the network of the highest priority, then the first by key. */
export function placeServiceMac(c: Context, draft: ServiceDraft): void {
  const { mac, networkMode } = draft;
  if (!mac) return;
  if (networkMode && networkMode.mode.kind !== 'networks')
    return report(c, mac.at, mac.path, 'a service with a network_mode has no interface that could have this address', 'leave it out');
  const [first] = [...draft.networks].sort(([a, x], [b, y]) => (y.priority ?? 0) - (x.priority ?? 0) || (a < b ? -1 : 1));
  // That a network is wrong has been told.
  if (!first) return;
  const [key, attachment] = first;
  if (attachment.mac === mac.text) return;
  if (attachment.mac !== undefined)
    return report(c, mac.at, mac.path, `network ${key} of the service says ${attachment.mac}`, 'keep one of the two');
  draft.networks.set(key, { ...attachment, mac: mac.text });
  draft.project.statics.push({ kind: 'mac', text: mac.text, at: mac.at, path: mac.path, service: draft.name, network: key });
}

/** As Linux has it (15 characters), and none that a task has anyway. */
function readInterfaceName(c: Context, field: Field): string | undefined {
  const rule = 'a name for an interface: letters, digits, "-" and "_", beginning with a letter or digit, 15 characters at most';
  const text = readMatching(c, field, INTERFACE_NAME, rule);
  const isKept = text !== undefined && KEPT_INTERFACES.has(text);
  return isKept ? void reject(c, field, `every task has an interface ${quote(text)} already`) : text;
}

/** Of one service: a name means one interface. */
function checkInterfaceNames(c: Context, field: Field, draft: ServiceDraft): void {
  const seen = new Map<string, string>();
  for (const [key, { interfaceName }] of draft.networks) {
    if (interfaceName === undefined) continue;
    const other = seen.get(interfaceName);
    if (other !== undefined) reject(c, field, `the networks ${other} and ${key} have the same interface_name ${quote(interfaceName)}`);
    seen.set(interfaceName, key);
  }
}

/** A name with a dot would hide one of the world's, or one of another stack. */
function readAlias(c: Context, item: Field): string | undefined {
  const hint = 'a dot is what tells "service.stack" and names of the world from services';
  const text = readMatching(c, item, HOSTNAME_PATTERN, ALIAS_RULE);
  return text?.includes('.') ? void reject(c, item, `expected ${ALIAS_RULE}, found ${quote(text)}`, hint) : text;
}

function readStatic(c: Context, field: Field, draft: AttachmentDraft, family: 4 | 6): string | undefined {
  const text = readAddress(c, field);
  if (text === undefined) return undefined;
  if (familyOf(text) !== family) return void reject(c, field, `expected an IPv${family} address, found ${quote(text)}`);
  draft.fixed.push({ kind: 'address', text, at: field.value.at, path: field.path });
  return text;
}

/** `networks` of a service. */
export function readAttachments(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const entry of entriesOf(c, field, 'a map of networks') ?? []) {
    const one: AttachmentDraft = { attachment: { aliases: [] }, fixed: [] };
    if (!isNull(entry.value)) readByTable(c, entry, ATTACHMENT_KEYS, one);
    // That one is not declared has been told.
    if (!draft.project.networks.has(entry.key)) continue;
    draft.networks.set(entry.key, defined(one.attachment) as Attachment);
    draft.project.statics.push(...one.fixed.map((f) => ({ ...f, service: draft.name, network: entry.key })));
  }
  checkInterfaceNames(c, field, draft);
}
