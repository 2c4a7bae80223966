/**
 * Whether the kernel killed a process of a container for want of memory, as the container's cgroup counts it: known from its
 * first moment on, and until its task is deleted. (containerd's own event comes from a watch that its shim begins a moment
 * after the start, and misses what is killed before.)
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerdClient } from './client.js';
import { inspectContainer } from './containers.js';
import type { RuntimeEvent } from './runtime.js';
import { cgroupPlaces, valueIn } from './usage.js';

/** An end is told no later than this after it was heard, in milliseconds, though containerd does not say where the cgroup is. */
const READ_DEADLINE_MS = 2_000;

/**
 * Where the kernel counts the kills of a cgroup, as `oom_kill N`: memory.oom_control of version 1 (Linux:
 * admin-guide/cgroup-v1/memory.rst), memory.events of version 2 (admin-guide/cgroup-v2.rst). Pure.
 * @param mountinfo of /proc/self/mountinfo
 * @param cgroupsPath of the container's OCI spec: from the top of the hierarchy, whatever cgroup namespace the container has
 * @returns undefined where no memory controller is mounted
 */
export function oomCounterOf(mountinfo: string, cgroupsPath: string): string | undefined {
  const { memory, unified } = cgroupPlaces(mountinfo, `1:memory:${cgroupsPath}\n0::${cgroupsPath}`);
  if (memory !== undefined) return join(memory, 'memory.oom_control');
  return unified === undefined ? undefined : join(unified, 'memory.events');
}

/** How many processes below it were killed so; 0 where nothing is counted (any more). */
export async function oomKillsOf(cgroupsPath: string): Promise<number> {
  const counter = oomCounterOf(await readFile('/proc/self/mountinfo', 'utf8'), cgroupsPath);
  return counter === undefined ? 0 : valueIn(await readFile(counter, 'utf8').catch(() => ''), 'oom_kill');
}

type Told = (event: RuntimeEvent) => void;

/** Tells what it is told, and before the end of a container that it ran out of memory, where that was not told yet. */
export function withOomKills(client: ContainerdClient, onEvent: Told): Told {
  const told = new Set<string>();
  const atExit = async (event: RuntimeEvent & { type: 'exit' }): Promise<void> => {
    const { containerId, exitCode } = event;
    // What ended well was not ended by that. A cgroup that cannot be read says nothing.
    if (!told.has(containerId) && exitCode !== 0 && (await ranOutOfMemory(client, containerId).catch(() => false)))
      onEvent({ type: 'oom', containerId });
    told.delete(containerId);
    onEvent(event);
  };
  return (event) => {
    if (event.type === 'exit') return void atExit(event);
    if (event.type === 'oom') told.add(event.containerId);
    else told.clear();
    onEvent(event);
  };
}

async function ranOutOfMemory(client: ContainerdClient, id: string): Promise<boolean> {
  const { spec } = await inspectContainer(client, id, READ_DEADLINE_MS);
  return (await oomKillsOf(spec.linux.cgroupsPath)) > 0;
}
