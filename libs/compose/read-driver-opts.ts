/** `driver_opts` of a network: Docker's names and short ones, checked, and only those that the driver has. */
import { WeftError } from '#base/errors.js';
import type { NetworkDriver, NetworkOptions } from '#model/network-wish.js';
import {
  entriesOf,
  newContext,
  readChoice,
  readInteger,
  readMatching,
  readText,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import { quote, type Position } from './issue.js';
import { nearest } from './nearest.js';
import { scalarAt } from './short-forms.js';

/** RFC 791: every host takes datagrams of this size; the length field of an IP packet has 16 bits. */
const MIN_MTU_BYTES = 576;
const MAX_MTU_BYTES = 65_535;

type Take = (c: Context, field: Field, options: NetworkOptions) => void;

interface Option {
  drivers: readonly NetworkDriver[];
  take: Take;
}

const ALL: readonly NetworkDriver[] = ['overlay', 'bridge', 'macvlan', 'ipvlan'];
const BRIDGED: readonly NetworkDriver[] = ['overlay', 'bridge'];

const mtu: Option = { drivers: ALL, take: (c, field, options) => void (options.mtu = readInteger(c, field, MIN_MTU_BYTES, MAX_MTU_BYTES)) };

/** On: `true`, or nothing at all, as with Docker's `--opt encrypted`. */
function readSwitch(c: Context, field: Field): boolean | undefined {
  const text = readText(c, field, 'true or false')?.toLowerCase();
  if (text === undefined || text === 'true' || text === '') return text === undefined ? undefined : true;
  return text === 'false' ? false : void reject(c, field, `expected true or false, found ${quote(text)}`);
}

/** IEEE 802.1Q: 0 and 4095 are reserved. */
const MAX_VLAN = 4094;
const PARENT = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}(\.[0-9]{1,10})?$/;

/** A device of the nodes, or one VLAN of it. */
function readParent(c: Context, field: Field): string | undefined {
  const text = readMatching(c, field, PARENT, 'a device like eth0, or eth0.50 for a VLAN of it');
  const vlan = text?.split('.')[1];
  if (vlan === undefined || (Number(vlan) >= 1 && Number(vlan) <= MAX_VLAN && !vlan.startsWith('0'))) return text;
  return void reject(c, field, `there is no VLAN ${vlan}`, `VLANs have numbers from 1 to ${MAX_VLAN}`);
}

export const DRIVER_OPTIONS: Readonly<Record<string, Option>> = {
  mtu,
  'com.docker.network.driver.mtu': mtu,
  ipv6_routed: { drivers: BRIDGED, take: (c, field, options) => void (options.ipv6Routed = readSwitch(c, field)) },
  encrypted: { drivers: ['overlay'], take: (c, field, options) => void (options.encrypted = readSwitch(c, field)) },
  multicast: { drivers: ['overlay'], take: (c, field, options) => void (options.multicast = readSwitch(c, field)) },
  parent: { drivers: ['macvlan', 'ipvlan'], take: (c, field, options) => void (options.parent = readParent(c, field)) },
  macvlan_mode: {
    drivers: ['macvlan'],
    take: (c, field, options) => void (options.macvlanMode = readChoice(c, field, ['bridge', 'private', 'vepa', 'passthru'])),
  },
  ipvlan_mode: { drivers: ['ipvlan'], take: (c, field, options) => void (options.ipvlanMode = readChoice(c, field, ['l2', 'l3', 'l3s'])) },
};

/** Docker's own that mean nothing here, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  'com.docker.network.driver.overlay.vxlanid_list': 'Weft gives every network a VNI that no other has',
  'com.docker.network.bridge.name': 'Weft names its bridges itself',
  'com.docker.network.bridge.enable_ip_masquerade': 'say "internal: true" for a network without a way out',
  'com.docker.network.bridge.enable_icc': 'give services that may not meet networks of their own',
  'com.docker.network.bridge.host_binding_ipv4': 'name the address where the port is published',
};

export function readDriverOptions(c: Context, field: Field, driver: NetworkDriver): NetworkOptions {
  const options: NetworkOptions = {};
  for (const entry of entriesOf(c, field, 'a map of options') ?? []) {
    const option = Object.hasOwn(DRIVER_OPTIONS, entry.key) ? DRIVER_OPTIONS[entry.key] : undefined;
    if (!option) report(c, entry.at, entry.path, ...unknown(entry.key, driver));
    else if (!option.drivers.includes(driver))
      report(
        c,
        entry.at,
        entry.path,
        `the driver ${driver} has no option ${quote(entry.key)}`,
        `it belongs to ${option.drivers.join(', ')}`,
      );
    else option.take(c, entry, options);
  }
  return options;
}

function unknown(key: string, driver: NetworkDriver): [message: string, hint: string] {
  const why = Object.hasOwn(REFUSED, key) ? REFUSED[key] : undefined;
  if (why !== undefined) return [`Weft refuses the option ${quote(key)}`, why];
  const own = Object.keys(DRIVER_OPTIONS).filter((name) => DRIVER_OPTIONS[name]?.drivers.includes(driver));
  const near = nearest(key, own);
  return [
    `${quote(key)} is not an option of the driver ${driver}`,
    near === undefined ? `it has ${own.join(', ')}` : `did you mean "${near}"?`,
  ];
}

/** The same for options that come from a command. @throws BAD_VALUE with every fault */
export function networkOptionsOf(given: Readonly<Record<string, string>>, driver: NetworkDriver): NetworkOptions {
  const at: Position = { file: '', line: 1, column: 1 };
  const c = newContext('', {}, '/');
  const entries = Object.entries(given).map(([key, text]) => ({ key, at, value: scalarAt(at, text) }));
  const options = readDriverOptions(c, { at, path: '', value: { kind: 'map', at, entries } }, driver);
  const [issue] = c.issues;
  if (issue) throw new WeftError('BAD_VALUE', { what: `--opt is not valid`, why: `${issue.path}: ${issue.message}`, hint: issue.hint });
  return options;
}
