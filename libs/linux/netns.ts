/** Network namespaces by name, as `ip netns` keeps them below /run/netns. */
import { z } from 'zod';
import { isOurNamespace } from '#overlay/names.js';
import type { Run } from './runner.js';
import { run } from './runner.js';

const netnsSchema = z.object({ name: z.string(), id: z.number().optional() });

/** Makes a namespace that this one knows by an id (see listTaskNamespaces). @throws COMMAND_FAILED if it exists */
export async function addNamespace(name: string, runner: Run = run): Promise<void> {
  await runner(['ip', 'netns', 'add', name]);
  await runner(['ip', 'netns', 'set', name, 'auto']);
}

/** Removes the name; the namespace itself lives on while a process is in it. @throws COMMAND_FAILED if there is none */
export async function removeNamespace(name: string, runner: Run = run): Promise<void> {
  await runner(['ip', 'netns', 'del', name]);
}

/**
 * Namespaces of this node's tasks: named like ours, and known to the namespace we run in by an id. Simulated nodes on one
 * machine share /run/netns, and each has ids for its own tasks only.
 */
export async function listTaskNamespaces(runner: Run = run): Promise<string[]> {
  const { stdout } = await runner(['ip', '-j', 'netns', 'list']);
  const list = z.array(netnsSchema).parse(JSON.parse(stdout.trim() || '[]'));
  return list.flatMap((n) => (n.id !== undefined && isOurNamespace(n.name) ? [n.name] : [])).sort();
}
