/** What the OCI spec needs to know of the machine. */
import { existsSync, readFileSync } from 'node:fs';
import { rmdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { capabilitiesOfMask } from './capabilities.js';
import type { HostFacts } from './oci-spec.js';

const CGROUP_ROOT = '/sys/fs/cgroup';

/** `cgroupsPath` is where a container of this id goes, below each hierarchy. */
export function hostFacts(namespace: string, id: string): HostFacts {
  return {
    arch: process.arch,
    // Only the unified hierarchy has this file at the top.
    cgroupV2: existsSync(join(CGROUP_ROOT, 'cgroup.controllers')),
    capabilities: capabilitiesOfMask(/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'),
    cgroupsPath: `/weft/${namespace}/${id}`,
  };
}

/**
 * runc removes a container's cgroup but not the directories above it. For taking a node away: removes ours, if no container is in them.
 * Not while containers may be created.
 */
export async function removeEmptyCgroups(namespace: string): Promise<void> {
  const hierarchies = existsSync(join(CGROUP_ROOT, 'cgroup.controllers')) ? ['.'] : await readdir(CGROUP_ROOT).catch(() => []);
  for (const hierarchy of hierarchies) {
    // rmdir of a cgroup that holds processes or children fails, which is what we want.
    await rmdir(join(CGROUP_ROOT, hierarchy, 'weft', namespace)).catch(() => undefined);
    await rmdir(join(CGROUP_ROOT, hierarchy, 'weft')).catch(() => undefined);
  }
}
