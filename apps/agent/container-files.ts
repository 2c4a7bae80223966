/**
 * The files of a task that the agent writes and bind-mounts: /etc/resolv.conf, /etc/hosts, /etc/hostname. A bind mount
 * holds the inode, so a changed file is overwritten in place (one write, then the length), never renamed.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Task } from '#model/task.js';
import type { Mount } from '#runtime/runtime.js';

/** As in Docker: images and proxies have this address built in. The task's namespace sends it to the gateway's responder. */
const RESOLVER = '127.0.0.11';

/** What a task's files depend on besides the task. */
export interface FilesPlace {
  /** The task in whose namespace it lives; itself if left out. */
  owner?: Task;
  /** Of the node, for a task that lives in the node's own namespace. */
  host?: { name: string; resolvConf: string; hosts: string };
  /** Lines of /etc/hosts: whom the task knows by a link. */
  links?: readonly string[];
}

/** As in Docker: with a shared namespace comes the owner's name, with the node's the node's. */
export const hostnameOf = (task: Task, { owner, host }: FilesPlace = {}): string =>
  task.container.hostname ?? (owner ? hostnameOf(owner) : (host?.name ?? task.name));

/** File name → content, for one task. Pure. */
export function containerFiles(task: Task, place: FilesPlace = {}): Record<'resolv.conf' | 'hosts' | 'hostname', string> {
  const hostname = hostnameOf(task, place);
  if (place.owner) return { ...containerFiles(place.owner, { links: place.links }), hostname: `${hostname}\n` };
  if (place.host) return { 'resolv.conf': place.host.resolvConf, hosts: joined(place.host.hosts, place.links), hostname: `${hostname}\n` };
  const names = [...new Set([hostname, task.name])].join(' ');
  const own = task.endpoints.length > 0 ? task.endpoints.map((e) => `${e.ipv4}\t${names}`) : [`127.0.1.1\t${names}`];
  return {
    // Without networks there is nobody to ask, but a resolver that is refused fails faster than one that is missing.
    'resolv.conf': `nameserver ${RESOLVER}\noptions ndots:0\n`,
    hosts: ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', ...own, ...(place.links ?? []), ''].join('\n'),
    hostname: `${hostname}\n`,
  };
}

const joined = (text: string, lines: readonly string[] = []): string =>
  lines.length === 0 ? text : `${text.replace(/\n?$/, '\n')}${lines.join('\n')}\n`;

/** Writes the files into `dir` and returns the mounts that put them in place. */
export async function writeContainerFiles(dir: string, task: Task, place: FilesPlace = {}): Promise<Mount[]> {
  await mkdir(dir, { recursive: true, mode: 0o755 });
  const mounts: Mount[] = [];
  for (const [name, text] of Object.entries(containerFiles(task, place))) {
    const path = join(dir, name);
    await overwriteInPlace(path, text);
    mounts.push({ type: 'bind', source: path, target: `/etc/${name}` });
  }
  return mounts;
}

async function overwriteInPlace(path: string, text: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before === text) return;
  const bytes = Buffer.from(text);
  const file = await open(path, before === undefined ? 'w' : 'r+', 0o644);
  try {
    await file.write(bytes, 0, bytes.length, 0);
    await file.truncate(bytes.length);
    await file.chmod(0o644);
  } finally {
    await file.close();
  }
}

export const removeContainerFiles = (dir: string): Promise<void> => rm(dir, { recursive: true, force: true });
