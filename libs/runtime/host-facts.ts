/** What the OCI spec needs to know of the machine. */
import { existsSync, readFileSync } from 'node:fs';
import { rmdir, readdir } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { capabilitiesOfMask } from './capabilities.js';
import { allDevices, readBlockDevices, readDevices, type HostDevice } from './host-devices.js';
import { findInitProgram } from './init-program.js';
import type { ContainerSpec } from './runtime.js';

const CGROUP_ROOT = '/sys/fs/cgroup';

/** What depends on the machine and not on the container alone. */
export interface HostFacts {
  /** Node's name: x64, arm64. */
  arch: string;
  /** Release of the kernel. */
  kernel: string;
  /** True if the machine has only the unified hierarchy. */
  cgroupV2: boolean;
  /** The kernel counts swap, and can limit it. */
  swapAccounting: boolean;
  /** Capabilities that can be handed out at all: the bounding set of this process. */
  capabilities: string[];
  /** Path under each cgroup hierarchy, e.g. /weft/<namespace>/<id>. */
  cgroupsPath: string;
  /** Those that the container is given. */
  devices: HostDevice[];
  /** By path: those that its rates and weights name. */
  blockDevices: ReadonlyMap<string, { major: number; minor: number }>;
  /** Path of an init on the node, for a container that wants one. */
  initProgram?: string;
}

/** @throws NOT_FOUND, BAD_VALUE for devices or an init program that the node does not have */
export async function hostFacts(namespace: string, spec: ContainerSpec): Promise<HostFacts> {
  const { cgroup, privileged, devices = [], init } = spec;
  const { weightDevice = [], readBps = [], writeBps = [], readIops = [], writeIops = [] } = cgroup?.blockIo ?? {};
  const paths = [weightDevice, readBps, writeBps, readIops, writeIops].flat().map(({ path }) => path);
  const [own, all, blockDevices, initProgram] = await Promise.all([
    readDevices(devices),
    privileged ? allDevices() : [],
    readBlockDevices(paths),
    init ? findInitProgram() : undefined,
  ]);
  const taken = new Set(own.map(({ node }) => node.path));
  return {
    arch: process.arch,
    kernel: release(),
    cgroupV2: isUnified(),
    swapAccounting: countsSwap(),
    capabilities: hostCapabilities(),
    cgroupsPath: cgroup?.parent === undefined ? `/weft/${namespace}/${spec.id}` : `/${cgroup.parent.replace(/^\//, '')}/${spec.id}`,
    devices: [...own, ...all.filter(({ node }) => !taken.has(node.path))],
    blockDevices,
    ...(initProgram === undefined ? {} : { initProgram }),
  };
}

/** Every capability that this process could hand on. */
export const hostCapabilities = (): string[] =>
  capabilitiesOfMask(/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0');

/** Only the unified hierarchy has this file at the top. */
const isUnified = (): boolean => existsSync(join(CGROUP_ROOT, 'cgroup.controllers'));

/** v1 has the file at its root; v2 has it in every cgroup but the root, and our own is one unless we run in a container. */
function countsSwap(): boolean {
  if (!isUnified()) return existsSync(join(CGROUP_ROOT, 'memory', 'memory.memsw.limit_in_bytes'));
  const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  return own === '/' || existsSync(join(CGROUP_ROOT, own, 'memory.swap.max'));
}

/**
 * runc removes a container's cgroup but not the directories above it. For taking a node away: removes ours, if no container is in them.
 * Not while containers may be created.
 */
export async function removeEmptyCgroups(namespace: string): Promise<void> {
  const hierarchies = isUnified() ? ['.'] : await readdir(CGROUP_ROOT).catch(() => []);
  for (const hierarchy of hierarchies) {
    // rmdir of a cgroup that holds processes or children fails, which is what we want.
    await rmdir(join(CGROUP_ROOT, hierarchy, 'weft', namespace)).catch(() => undefined);
    await rmdir(join(CGROUP_ROOT, hierarchy, 'weft')).catch(() => undefined);
  }
}
