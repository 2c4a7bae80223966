/** Device nodes of the machine, as a container is given them. */
import type { Stats, BigIntStats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { WeftError, messageOf } from '#base/errors.js';
import type { DeviceWish } from '#model/container-keys.js';
import type { OciDevice } from './oci-types.js';

export interface HostDevice {
  node: OciDevice;
  /** Some of r, w and m. */
  permissions: string;
}

/** Directories of /dev that every container has of its own. */
const OWN = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'core', 'stdin', 'stdout', 'stderr', '.udev', '.lxc', '.lxd-mounts']);
const MAX_DEPTH = 8;
const MODE_BITS = 0o7777n;

/** Numbers of a device in `st_rdev`, as glibc packs them (gnu_dev_major(3)). */
export const majorOf = (rdev: bigint): number => Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n));
export const minorOf = (rdev: bigint): number => Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n));

const typeOf = (stats: Stats | BigIntStats): 'c' | 'b' | undefined =>
  stats.isCharacterDevice() ? 'c' : stats.isBlockDevice() ? 'b' : undefined;

const nodeOf = (path: string, type: 'c' | 'b', stats: BigIntStats): OciDevice => ({
  path,
  type,
  major: majorOf(stats.rdev),
  minor: minorOf(stats.rdev),
  fileMode: Number(stats.mode & MODE_BITS),
  uid: Number(stats.uid),
  gid: Number(stats.gid),
});

/** What the wishes stand for on this machine; a directory stands for every device below it. @throws NOT_FOUND, BAD_VALUE */
export async function readDevices(wishes: readonly DeviceWish[]): Promise<HostDevice[]> {
  return (await Promise.all(wishes.map(devicesOf))).flat();
}

async function devicesOf({ source, target, permissions }: DeviceWish): Promise<HostDevice[]> {
  const stats = await stat(source, { bigint: true }).catch((cause: unknown) => {
    throw new WeftError('NOT_FOUND', {
      what: `this node has no device ${source}`,
      why: messageOf(cause),
      hint: 'Constrain the service to the nodes that have it (deploy.placement.constraints).',
      cause,
    });
  });
  const type = typeOf(stats);
  if (type) return [{ node: nodeOf(target, type, stats), permissions }];
  if (!stats.isDirectory())
    throw new WeftError('BAD_VALUE', { what: `${source} is not a device`, hint: 'Mount it under `volumes` instead.' });
  const nodes = await nodesBelow(await realpath(source), target);
  if (nodes.length === 0) throw new WeftError('NOT_FOUND', { what: `there are no devices in ${source} of this node` });
  return nodes.map((node) => ({ node, permissions }));
}

/** Every device of the machine, where it is in its own /dev. */
export const allDevices = async (): Promise<HostDevice[]> =>
  (await nodesBelow('/dev', '/dev')).map((node) => ({ node, permissions: 'rwm' }));

/** Links are not followed: they lead to nodes that have a place of their own. */
async function nodesBelow(directory: string, target: string, depth = 0): Promise<OciDevice[]> {
  if (depth > MAX_DEPTH) return [];
  const entries = await readdir(directory, { withFileTypes: true });
  const found = entries.map(async (entry): Promise<OciDevice[]> => {
    const from = join(directory, entry.name);
    const to = posix.join(target, entry.name);
    if (depth === 0 && directory === '/dev' && OWN.has(entry.name)) return [];
    if (entry.isDirectory()) return nodesBelow(from, to, depth + 1);
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
    // It may be pulled out meanwhile.
    const stats = await stat(from, { bigint: true }).catch(() => undefined);
    const type = stats && typeOf(stats);
    return type ? [nodeOf(to, type, stats)] : [];
  });
  return (await Promise.all(found)).flat();
}

/** Numbers of the block devices at these paths; those that are none are left out. */
export async function readBlockDevices(paths: readonly string[]): Promise<Map<string, { major: number; minor: number }>> {
  const found = new Map<string, { major: number; minor: number }>();
  for (const path of paths) {
    const stats = await stat(path, { bigint: true }).catch(() => undefined);
    if (stats?.isBlockDevice()) found.set(path, { major: majorOf(stats.rdev), minor: minorOf(stats.rdev) });
  }
  return found;
}
