/**
 * What a container uses, read from its cgroups (Linux: admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/) and from the network
 * namespace of its process (proc(5), /proc/net/dev). Both versions of cgroups, and the hybrid of the two.
 */
import { readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerUsage } from './runtime.js';

/** Directories of one process's cgroup, by controller; `unified` of version 2. */
export type CgroupPlaces = Partial<Record<'unified' | 'memory' | 'cpuacct' | 'pids' | 'blkio', string>>;

const CONTROLLERS = ['memory', 'cpuacct', 'pids', 'blkio'] as const;
/** A limit that is none: version 1 has a very large number for it. */
const NO_LIMIT_BYTES = 2 ** 60;
const NANOSECONDS_A_MS = 1_000_000;
const MICROSECONDS_A_MS = 1_000;
const KIB = 1024;

/**
 * Pure.
 * @param mountinfo of /proc/self/mountinfo
 * @param cgroup of /proc/<pid>/cgroup
 */
export function cgroupPlaces(mountinfo: string, cgroup: string): CgroupPlaces {
  const mounts = mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root = '/', point = ''] = before.split(' ');
    const [type = '', , options = ''] = after.split(' ');
    return type === 'cgroup' || type === 'cgroup2' ? [{ type, root, point, options: options.split(',') }] : [];
  });
  const places: CgroupPlaces = {};
  for (const line of cgroup.split('\n')) {
    const [, names, ...rest] = line.split(':');
    if (names === undefined) continue;
    const path = rest.join(':');
    if (names === '') {
      const mount = mounts.find((m) => m.type === 'cgroup2');
      if (mount) places.unified = below(mount, path);
    }
    for (const name of CONTROLLERS) {
      const mount = mounts.find((m) => m.type === 'cgroup' && m.options.includes(name));
      if (mount && names.split(',').includes(name)) places[name] = below(mount, path);
    }
  }
  return places;
}

/** Where a mount shows a part of the hierarchy only, paths begin at that part. */
const below = ({ root, point }: { root: string; point: string }, path: string): string =>
  join(point, root !== '/' && path.startsWith(root) ? path.slice(root.length) : path);

/** `key value` lines. Pure. */
export function valueIn(text: string, key: string): number {
  const line = text.split('\n').find((l) => l.startsWith(`${key} `));
  return Number(line?.slice(key.length + 1) ?? 0) || 0;
}

/** Of /proc/<pid>/net/dev: bytes in and out of all interfaces but the loopback. Pure. */
export function networkBytes(text: string): { in: number; out: number } {
  const sum = { in: 0, out: 0 };
  for (const line of text.split('\n').slice(2)) {
    const [name = '', rest = ''] = line.split(':');
    if (name.trim() === 'lo' || rest === '') continue;
    const numbers = rest.trim().split(/\s+/).map(Number);
    sum.in += numbers[0] ?? 0;
    sum.out += numbers[8] ?? 0;
  }
  return sum;
}

/** Of io.stat (`8:0 rbytes=1 wbytes=2 …`) or blkio.throttle.io_service_bytes (`8:0 Read 1`). Pure. */
export function blockBytes(text: string): { in: number; out: number } {
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].reduce((sum, [, n]) => sum + Number(n), 0);
  return { in: all(/(?:rbytes=|\bRead )(\d+)/g), out: all(/(?:wbytes=|\bWrite )(\d+)/g) };
}

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
const numberOf = async (path: string): Promise<number> => Number((await textOf(path)).trim()) || 0;

/** @param pid of the container's main process */
export async function usageOf(pid: number): Promise<ContainerUsage> {
  const places = await placesOf(pid);
  const [memory, cpuMs, block, pids, network] = await Promise.all([
    memoryOf(places),
    cpuMsOf(places),
    blockOf(places),
    numberOf(join(places.pids ?? places.unified ?? '', 'pids.current')),
    networkOf(pid),
  ]);
  return {
    cpuMs: Math.round(cpuMs),
    ...memory,
    networkInBytes: network.in,
    networkOutBytes: network.out,
    blockInBytes: block.in,
    blockOutBytes: block.out,
    pids,
  };
}

export const placesOf = async (pid: number): Promise<CgroupPlaces> =>
  cgroupPlaces(await textOf('/proc/self/mountinfo'), await textOf(`/proc/${pid}/cgroup`));

async function memoryOf({ memory, unified }: CgroupPlaces): Promise<Pick<ContainerUsage, 'memoryBytes' | 'memoryLimitBytes'>> {
  const directory = memory ?? unified ?? '';
  const [used, limit, reclaimable] = memory
    ? (['memory.usage_in_bytes', 'memory.limit_in_bytes', 'total_inactive_file'] as const)
    : (['memory.current', 'memory.max', 'inactive_file'] as const);
  const [bytes, most, stat] = await Promise.all([
    numberOf(join(directory, used)),
    numberOf(join(directory, limit)),
    textOf(join(directory, 'memory.stat')),
  ]);
  const whole = valueIn((await textOf('/proc/meminfo')).replace(/:\s+/g, ' ').replace(/ kB/g, ''), 'MemTotal') * KIB;
  return {
    memoryBytes: Math.max(0, bytes - valueIn(stat, reclaimable)),
    memoryLimitBytes: most > 0 && most < NO_LIMIT_BYTES ? Math.min(most, whole || most) : whole,
  };
}

async function cpuMsOf({ cpuacct, unified }: CgroupPlaces): Promise<number> {
  if (cpuacct) return (await numberOf(join(cpuacct, 'cpuacct.usage'))) / NANOSECONDS_A_MS;
  return valueIn(await textOf(join(unified ?? '', 'cpu.stat')), 'usage_usec') / MICROSECONDS_A_MS;
}

async function blockOf({ blkio, unified }: CgroupPlaces): Promise<{ in: number; out: number }> {
  if (!blkio) return blockBytes(await textOf(join(unified ?? '', 'io.stat')));
  const recursive = await textOf(join(blkio, 'blkio.throttle.io_service_bytes_recursive'));
  return blockBytes(recursive || (await textOf(join(blkio, 'blkio.throttle.io_service_bytes'))));
}

/** Whoever lives in the node's own network has no traffic that is its own. */
async function networkOf(pid: number): Promise<{ in: number; out: number }> {
  const [own, node] = await Promise.all([`/proc/${pid}/ns/net`, '/proc/self/ns/net'].map((p) => readlink(p).catch(() => '')));
  return own === node ? { in: 0, out: 0 } : networkBytes(await textOf(`/proc/${pid}/net/dev`));
}
