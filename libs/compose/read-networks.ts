/** Networks and volumes: declared at the top level, named by services. */
import { cidrsOverlap, parseCidr } from '#base/address.js';
import { messageOf, WeftError } from '#base/errors.js';
import { GLOBAL_NAME_PATTERN, HOSTNAME_PATTERN, SERVICE_PATTERN } from '#model/names.js';
import type { NetworkWish, VolumeWish } from '#model/stack.js';
import {
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readChoice,
  readMatching,
  readString,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { ProjectDraft, ServiceDraft } from './draft.js';
import { quote, type Position } from './issue.js';
import { NETWORK, objectAt, VOLUME } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readLabels, readUniqueList } from './read-pairs.js';

const KEY_RULE = 'letters, digits, "-" and "_", beginning with a letter or digit, 63 characters at most';
const GLOBAL_NAME_RULE = 'letters, digits, "-", "_" and ".", beginning with a letter or digit, 128 characters at most';
/** The smallest subnet that holds a gateway, a node's address, a VIP and a task. */
const MAX_PREFIX = 29;

type NetworkDraft = Partial<NetworkWish> & { subnetAt?: Position };

const IPAM = objectAt(NETWORK, 'ipam');

const IPAM_CONFIG_KEYS: KeyTable<NetworkDraft> = {
  shape: objectAt(IPAM, 'config'),
  keys: { subnet: readSubnet },
};

const IPAM_KEYS: KeyTable<NetworkDraft> = {
  shape: IPAM,
  keys: {
    config: (c, field, network) => {
      const items = itemsOf(c, field, 'a list with one subnet') ?? [];
      if (items.length > 1) reject(c, field, `expected one subnet, found ${items.length}`);
      for (const item of items.slice(0, 1)) readByTable(c, item, IPAM_CONFIG_KEYS, network);
    },
  },
};

const NETWORK_KEYS: KeyTable<NetworkDraft> = {
  shape: NETWORK,
  keys: {
    name: (c, field, network) => void (network.name = readMatching(c, field, GLOBAL_NAME_PATTERN, GLOBAL_NAME_RULE)),
    driver: (c, field, network) =>
      void (network.driver = readChoice(c, field, ['overlay', 'bridge'], 'Weft does not support other drivers yet')),
    internal: (c, field, network) => void (network.internal = readBoolean(c, field)),
    labels: (c, field, network) => void (network.labels = readLabels(c, field)),
    ipam: (c, field, network) => readByTable(c, field, IPAM_KEYS, network),
  },
};

const VOLUME_KEYS: KeyTable<Partial<VolumeWish>> = {
  shape: VOLUME,
  keys: {
    name: (c, field, volume) => void (volume.name = readMatching(c, field, GLOBAL_NAME_PATTERN, GLOBAL_NAME_RULE)),
    driver: (c, field) => void readChoice(c, field, ['local'], 'Weft does not support other drivers yet'),
    labels: (c, field, volume) => void (volume.labels = readLabels(c, field)),
  },
};

function readSubnet(c: Context, field: Field, network: NetworkDraft): void {
  const text = readString(c, field, 'an IPv4 subnet like 10.1.0.0/24');
  if (text === undefined) return;
  try {
    const { prefix } = parseCidr(text);
    if (prefix > MAX_PREFIX) return reject(c, field, `a subnet of a network is /${MAX_PREFIX} or larger, found ${quote(text)}`);
    network.subnet = text;
    network.subnetAt = field.value.at;
  } catch (error) {
    reject(c, field, `expected an IPv4 subnet like 10.1.0.0/24: ${messageOf(error)}`, error instanceof WeftError ? error.hint : undefined);
  }
}

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
    const draft: NetworkDraft = {};
    if (!isNull(entry.value)) readByTable(c, entry, NETWORK_KEYS, draft);
    const { subnetAt, ...given } = draft;
    const wish = { ...defaultNetwork(project.name, entry.key), ...defined(given) };
    checkGlobalName(c, entry, wish.name, 'network', project.networks);
    if (wish.subnet !== undefined) checkOverlap(c, subnetAt ?? entry.at, entry.path, wish.subnet, project);
    project.networks.set(entry.key, { wish, at: subnetAt ?? entry.at });
  }
}

const defined = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as Partial<T>;

const defaultNetwork = (stack: string, key: string): NetworkWish => ({
  key,
  name: `${stack}_${key}`,
  driver: 'overlay',
  internal: false,
  labels: {},
});

function checkOverlap(c: Context, at: Position, path: string, subnet: string, project: ProjectDraft): void {
  for (const [key, other] of project.networks) {
    if (other.wish.subnet === undefined || !cidrsOverlap(parseCidr(subnet), parseCidr(other.wish.subnet))) continue;
    report(
      c,
      at,
      path,
      `the subnet ${subnet} overlaps ${other.wish.subnet} of networks.${key} at ${c.file}:${other.at.line}:${other.at.column}`,
    );
  }
}

function checkGlobalName(
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

export function readVolumeWishes(c: Context, field: Field, project: ProjectDraft): void {
  for (const entry of namedEntries(c, field, 'volume')) {
    const draft: Partial<VolumeWish> = {};
    if (!isNull(entry.value)) readByTable(c, entry, VOLUME_KEYS, draft);
    const wish: VolumeWish = { key: entry.key, name: `${project.name}_${entry.key}`, labels: {}, ...defined(draft) };
    checkGlobalName(c, entry, wish.name, 'volume', project.volumes);
    project.volumes.set(entry.key, { wish, at: entry.at });
  }
}

const ATTACHMENT_KEYS: KeyTable<{ aliases: string[] }> = {
  shape: objectAt(SERVICE, 'networks'),
  keys: {
    aliases: (c, field, attachment) => {
      const rule = 'a host name: letters, digits, "-", "_" and "."';
      attachment.aliases = readUniqueList(c, field, (_, item) => readMatching(c, item, HOSTNAME_PATTERN, rule));
    },
  },
};

/** `networks` of a service. */
export function readAttachments(c: Context, field: Field, draft: ServiceDraft): void {
  if (isNull(field.value)) return;
  for (const entry of entriesOf(c, field, 'a map of networks') ?? []) {
    const attachment = { aliases: [] as string[] };
    if (!isNull(entry.value)) readByTable(c, entry, ATTACHMENT_KEYS, attachment);
    // That one is not declared has been told.
    if (draft.project.networks.has(entry.key)) draft.networks.set(entry.key, attachment.aliases);
  }
}
