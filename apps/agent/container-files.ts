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
  /** An address of the node that the task can reach: what `host-gateway` stands for. */
  gateway?: string;
}

/** As in Docker: with a shared namespace comes the owner's name, with the node's the node's. */
export const hostnameOf = (task: Task, { owner, host }: FilesPlace = {}): string =>
  task.container.hostname ?? (owner ? hostnameOf(owner) : (host?.name ?? task.name));

/** File name → content, for one task. Pure. */
export function containerFiles(task: Task, place: FilesPlace = {}): Record<'resolv.conf' | 'hosts' | 'hostname', string> {
  const hostname = hostnameOf(task, place);
  if (place.owner) return { ...containerFiles(place.owner, { links: place.links }), hostname: `${hostname}\n` };
  const more = [...(place.links ?? []), ...extraHosts(task, place)];
  if (place.host) return { 'resolv.conf': place.host.resolvConf, hosts: joined(place.host.hosts, more), hostname: `${hostname}\n` };
  const { domainname } = task.container;
  const names = [...new Set([...(domainname === undefined ? [] : [`${hostname}.${domainname}`]), hostname, task.name])].join(' ');
  const addresses = task.endpoints.flatMap((e) => [e.ipv4, ...(e.ipv6 === undefined ? [] : [e.ipv6])]);
  const own = (addresses.length > 0 ? addresses : ['127.0.1.1']).map((address) => `${address}\t${names}`);
  return {
    // Without networks there is nobody to ask, but a resolver that is refused fails faster than one that is missing.
    'resolv.conf': resolvConf(task),
    hosts: ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', ...own, ...more, ''].join('\n'),
    hostname: `${hostname}\n`,
  };
}

/**
 * resolv.conf(5). The resolver is always ours: `dns` of the service is whom that asks. ndots:0 unless the service says
 * otherwise, as in Docker, so that a service's name is asked for as it stands first.
 */
function resolvConf({ container: { dnsSearch = [], dnsOptions = [] } }: Task): string {
  const options = dnsOptions.some((o) => o.startsWith('ndots:')) ? dnsOptions : [...dnsOptions, 'ndots:0'];
  const search = dnsSearch.length > 0 ? [`search ${dnsSearch.join(' ')}`] : [];
  return [`nameserver ${RESOLVER}`, ...search, `options ${options.join(' ')}`, ''].join('\n');
}

/** A `host-gateway` that is not known yet is left out: the files follow what is known. */
const extraHosts = (task: Task, { gateway }: FilesPlace): string[] =>
  (task.container.extraHosts ?? []).flatMap(({ name, address }) => {
    const ip = address === 'host-gateway' ? gateway : address;
    return ip === undefined ? [] : [`${ip}\t${name}`];
  });

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
