/** `ipam` of a network: its subnets of both families, each fault at its own place in the file. */
import { WeftError, messageOf } from '#base/errors.js';
import { canonicalAddress, canonicalSubnet, familyOf, parseSubnet, subnetsOverlap } from '#base/ip.js';
import type { SubnetWish } from '#model/network-wish.js';
import { subnetFaults, type SubnetFault } from '#model/subnet-rules.js';
import { entriesOf, itemsOf, readString, reject, report, type Context, type Field } from './context.js';
import { quote, type Position } from './issue.js';
import { NETWORK, objectAt } from './key-table.js';
import { readByTable, type KeyTable } from './read-by-table.js';

/** A subnet and where its parts stand. */
export interface PlacedSubnet {
  wish: SubnetWish;
  at: Position;
  path: string;
}

interface PoolDraft {
  subnet?: string;
  ipRange?: string;
  gateway?: string;
  auxAddresses?: Record<string, string>;
  places: Map<string, Field>;
}

const IPAM = objectAt(NETWORK, 'ipam');
const SUBNET_EXAMPLE = 'a subnet like 10.1.0.0/24 or fd00:1::/64';
const ADDRESS_EXAMPLE = 'an address like 10.1.0.7 or fd00:1::7';

/** The text in its canonical spelling; a fault is told. */
function canonical(c: Context, field: Field, example: string, read: (text: string) => string): string | undefined {
  const text = readString(c, field, example);
  if (text === undefined) return undefined;
  try {
    return read(text);
  } catch (error) {
    return void reject(c, field, `expected ${example}: ${messageOf(error)}`, error instanceof WeftError ? error.hint : undefined);
  }
}

/** An address of either family. */
export const readAddress = (c: Context, field: Field): string | undefined => canonical(c, field, ADDRESS_EXAMPLE, canonicalAddress);

const readSubnet = (c: Context, field: Field): string | undefined => canonical(c, field, SUBNET_EXAMPLE, canonicalSubnet);

const POOL_KEYS: KeyTable<PoolDraft> = {
  shape: objectAt(IPAM, 'config'),
  keys: {
    subnet: (c, field, pool) => void (pool.subnet = placed(pool, 'subnet', field, readSubnet(c, field))),
    ip_range: (c, field, pool) => void (pool.ipRange = placed(pool, 'ipRange', field, readSubnet(c, field))),
    gateway: (c, field, pool) => void (pool.gateway = placed(pool, 'gateway', field, readAddress(c, field))),
    aux_addresses: (c, field, pool) => {
      pool.auxAddresses = {};
      for (const entry of entriesOf(c, field, 'a map of addresses') ?? []) {
        const address = placed(pool, `auxAddresses.${entry.key}`, entry, readAddress(c, entry));
        if (address !== undefined) pool.auxAddresses[entry.key] = address;
      }
    },
  },
};

function placed<T>(pool: PoolDraft, part: string, field: Field, value: T): T {
  pool.places.set(part, field);
  return value;
}

const IPAM_KEYS: KeyTable<PlacedSubnet[]> = {
  shape: IPAM,
  keys: {
    driver: (c, field) => {
      const text = readString(c, field, '"default"');
      if (text !== undefined && text !== 'default')
        reject(c, field, `expected "default", found ${quote(text)}`, 'Weft gives out addresses itself');
    },
    config: (c, field, subnets) => {
      for (const item of itemsOf(c, field, 'a list of subnets') ?? []) {
        const subnet = readPool(c, item);
        if (subnet) subnets.push(subnet);
      }
    },
  },
};

function readPool(c: Context, item: Field): PlacedSubnet | undefined {
  const pool: PoolDraft = { places: new Map() };
  const before = c.issues.length;
  readByTable(c, item, POOL_KEYS, pool);
  if (c.issues.length > before) return undefined;
  const { subnet, ipRange, gateway, auxAddresses, places } = pool;
  if (subnet === undefined) {
    const said = [...places.values()][0];
    if (said) report(c, said.at, said.path, 'the subnet that this belongs to is missing', 'add "subnet" beside it');
    return undefined;
  }
  const wish: SubnetWish = {
    subnet,
    ...(ipRange === undefined ? {} : { ipRange }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(auxAddresses === undefined ? {} : { auxAddresses }),
  };
  const faults = subnetFaults(wish);
  for (const fault of faults) tell(c, places.get(partOf(fault)) ?? item, fault.message);
  return faults.length > 0 ? undefined : { wish, at: places.get('subnet')?.value.at ?? item.at, path: item.path };
}

const partOf = ({ part, key }: SubnetFault): string => (key === undefined ? part : `${part}.${key}`);

const tell = (c: Context, field: Field, message: string): void => reject(c, field, message);

/** Reads `ipam`; subnets of one network that overlap are told. */
export function readIpam(c: Context, field: Field): PlacedSubnet[] {
  const subnets: PlacedSubnet[] = [];
  readByTable(c, field, IPAM_KEYS, subnets);
  for (const [i, later] of subnets.entries()) {
    const earlier = subnets.slice(0, i).find((s) => overlaps(s, later));
    if (earlier) report(c, later.at, later.path, `the subnet ${later.wish.subnet} overlaps ${earlier.wish.subnet} of the same network`);
  }
  const six = subnets.filter((s) => familyOf(s.wish.subnet) === 6);
  const [, second] = six;
  if (second) report(c, second.at, second.path, 'a network has one IPv6 subnet', 'make it larger instead: a /64 holds more than enough');
  return subnets;
}

export const overlaps = (a: PlacedSubnet, b: PlacedSubnet): boolean =>
  subnetsOverlap(parseSubnet(a.wish.subnet), parseSubnet(b.wish.subnet));
