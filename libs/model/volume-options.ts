/**
 * What a named volume is a mount of: `driver_opts` of the driver `local`, as Docker has them (`type`, `o`, `device`). They end as
 * arguments of mount(8), so only options that are known here are taken. Pure.
 *
 * Options: mount(8) for all file systems, tmpfs(5), nfs(5).
 */
import { z } from 'zod';
import { isIpv4 } from '#base/address.js';
import { HOSTNAME_PATTERN } from './name-patterns.js';

/** none: a directory of the node (`o: bind`). */
export const VOLUME_TYPES = ['nfs', 'nfs4', 'tmpfs', 'none'] as const;
type VolumeType = (typeof VOLUME_TYPES)[number];

interface RawVolumeOptions {
  type: VolumeType;
  device: string;
  options: readonly string[];
}

export interface OptionFault {
  /** The key of `driver_opts` that it is about. */
  key: 'type' | 'o' | 'device';
  message: string;
  hint?: string;
}

const MAX_PATH_LENGTH = 4096;
const MAX_OPTIONS = 64;
const NUMBER = /^\d{1,10}$/;
const PORT = /^\d{1,5}$/;
const AMOUNT = /^\d{1,15}[kmg]?$/i;
const PROTOCOL = /^(tcp|udp|rdma|tcp6|udp6|rdma6)$/;
const NFS_VERSION = /^(3|4|4\.[0-2])$/;
const ADDRESS = /^[0-9a-fA-F:.]+(%[a-zA-Z0-9_.-]{1,15})?$/;

/** An address, or a name that the node looks up. */
const isHost = (text: string): boolean => isIpv4(text) || HOSTNAME_PATTERN.test(text) || (text.includes(':') && ADDRESS.test(text));

type Rule = 'flag' | RegExp | ((value: string) => boolean);
type Rules = Readonly<Record<string, Rule>>;

const flags = (...names: string[]): Rules => Object.fromEntries(names.map((name) => [name, 'flag']));

const ANY_TYPE: Rules = {
  ...flags('ro', 'rw', 'suid', 'nosuid', 'dev', 'nodev', 'exec', 'noexec', 'sync', 'async', 'dirsync', 'lazytime'),
  ...flags('atime', 'noatime', 'diratime', 'nodiratime', 'relatime', 'norelatime', 'strictatime'),
};

const NFS: Rules = {
  ...ANY_TYPE,
  ...flags('soft', 'hard', 'softerr', 'softreval', 'intr', 'nointr', 'lock', 'nolock', 'cto', 'nocto', 'ac', 'noac', 'acl', 'noacl'),
  ...flags('tcp', 'udp', 'rdma', 'rdirplus', 'nordirplus', 'sharecache', 'nosharecache', 'resvport', 'noresvport', 'fsc', 'nofsc'),
  ...flags('migration', 'nomigration'),
  addr: isHost,
  mountaddr: ADDRESS,
  clientaddr: ADDRESS,
  vers: NFS_VERSION,
  nfsvers: NFS_VERSION,
  minorversion: /^[0-2]$/,
  mountvers: /^[1-3]$/,
  proto: PROTOCOL,
  mountproto: PROTOCOL,
  port: PORT,
  mountport: PORT,
  local_lock: /^(all|flock|posix|none)$/,
  lookupcache: /^(all|none|pos|positive)$/,
  sec: /^(none|sys|krb5|krb5i|krb5p)$/,
  ...Object.fromEntries(
    [
      'timeo',
      'retrans',
      'rsize',
      'wsize',
      'bsize',
      'acregmin',
      'acregmax',
      'acdirmin',
      'acdirmax',
      'actimeo',
      'nconnect',
      'max_connect',
    ].map((name) => [name, NUMBER]),
  ),
};

const RULES: Readonly<Record<VolumeType, Rules>> = {
  nfs: NFS,
  nfs4: NFS,
  tmpfs: {
    ...ANY_TYPE,
    size: /^\d{1,15}[kmg%]?$/i,
    nr_blocks: AMOUNT,
    nr_inodes: AMOUNT,
    mode: /^[0-7]{1,5}$/,
    uid: NUMBER,
    gid: NUMBER,
    huge: /^(never|always|within_size|advise)$/,
    ...flags('noswap'),
  },
  none: flags('bind', 'rbind', 'ro', 'rw', 'nosuid', 'nodev', 'noexec'),
};

const NFS_DEVICE = /^(\[[0-9a-fA-F:.]+\]|[^/:[\]\s,]*):(\/[^\0\n\r]*)$/;

/** Everything that is wrong with them. */
export function faultsOf({ type, device, options }: RawVolumeOptions): OptionFault[] {
  const faults = options.flatMap((option) => faultOf(type, option) ?? []);
  if (options.length > MAX_OPTIONS) faults.push({ key: 'o', message: `at most ${MAX_OPTIONS} options can be given` });
  if (device.length > MAX_PATH_LENGTH) faults.push({ key: 'device', message: `it has at most ${MAX_PATH_LENGTH} characters` });
  const ofDevice = faultOfDevice(type, device);
  if (ofDevice) faults.push({ key: 'device', ...ofDevice });
  else if (isNfs({ type }) && serverOf({ device, options }) === undefined)
    faults.push({ key: 'o', message: 'nothing says where the server is', hint: 'add addr=ADDRESS to "o"' });
  if (type === 'none' && !options.includes('bind') && !options.includes('rbind'))
    faults.push({ key: 'o', message: 'the type none mounts nothing', hint: 'say "o: bind" for a directory of the node' });
  return faults;
}

function faultOf(type: VolumeType, option: string): OptionFault | undefined {
  const equals = option.indexOf('=');
  const [name, value] = equals < 0 ? [option, undefined] : [option.slice(0, equals), option.slice(equals + 1)];
  const rule = Object.hasOwn(RULES[type], name) ? RULES[type][name] : undefined;
  const shown = JSON.stringify(option.slice(0, 80));
  if (name === 'bg') return { key: 'o', message: `${shown} is refused: Weft itself tries a mount that failed again`, hint: 'remove it' };
  if (rule === undefined) {
    const of = type === 'none' ? 'a directory of the node' : type;
    return {
      key: 'o',
      message: `${shown} is not an option of ${of} that Weft takes`,
      hint: `it takes ${Object.keys(RULES[type]).join(', ')}`,
    };
  }
  const fits = rule === 'flag' ? value === undefined : value !== undefined && (rule instanceof RegExp ? rule.test(value) : rule(value));
  if (fits) return undefined;
  if (rule === 'flag') return { key: 'o', message: `the option ${name} has no value, found ${shown}` };
  return { key: 'o', message: `${shown} is not a value that the option ${name} can have` };
}

function faultOfDevice(type: VolumeType, device: string): Omit<OptionFault, 'key'> | undefined {
  if (type === 'tmpfs')
    return /^[a-zA-Z0-9_.-]{1,64}$/.test(device) ? undefined : { message: 'a tmpfs has no device', hint: 'write tmpfs, or leave it out' };
  if (type === 'none') {
    if (/^\/[^\0\n\r]*$/.test(device) && !device.split('/').includes('..')) return undefined;
    return { message: 'it has to be an absolute path on the node, without ".."' };
  }
  const [, host = '', path] = NFS_DEVICE.exec(device) ?? [];
  if (path !== undefined && (host === '' || host.startsWith('[') || isHost(host))) return undefined;
  return { message: 'it has to be what the server exports, like ":/export"', hint: 'the server is named by addr=… in "o"' };
}

/** Where the server of an nfs mount is: an address, or a name. */
export function serverOf({ device, options }: Pick<VolumeOptions, 'device'> & { options: readonly string[] }): string | undefined {
  const addr = options.find((option) => option.startsWith('addr='))?.slice('addr='.length);
  return addr ?? (NFS_DEVICE.exec(device)?.[1]?.replace(/^\[(.*)\]$/, '$1') || undefined);
}

export const volumeOptionsSchema = z
  .object({
    type: z.enum(VOLUME_TYPES),
    /** nfs: what the server exports (`:/export`); none: a path on the node; tmpfs: any word. */
    device: z.string(),
    /** Of mount(8), one each. */
    options: z.array(z.string()),
  })
  .superRefine((value, context) => {
    for (const { key, message } of faultsOf(value)) context.addIssue({ code: 'custom', path: [key], message });
  });

export type VolumeOptions = z.infer<typeof volumeOptionsSchema>;

export const isNfs = ({ type }: Pick<VolumeOptions, 'type'>): boolean => type === 'nfs' || type === 'nfs4';

/** Whether every node that mounts it sees the same files: such a volume is on no node. */
export const isShared = (options: VolumeOptions | undefined): boolean => options !== undefined && isNfs(options);

export const isReadOnly = ({ options }: Pick<VolumeOptions, 'options'>): boolean =>
  options.filter((option) => option === 'ro' || option === 'rw').at(-1) === 'ro';

/** As a person reads it: `nfs :/export (addr=10.0.0.1, ro)`. */
export const describeVolumeOptions = ({ type, device, options }: VolumeOptions): string =>
  [type === 'none' ? '' : type, type === 'tmpfs' ? '' : device, options.length > 0 ? `(${options.join(', ')})` : '']
    .filter((part) => part !== '')
    .join(' ');
