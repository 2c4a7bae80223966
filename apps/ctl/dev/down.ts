/**
 * `ctl dev down`: ends every process of the cluster and removes every trace: containers, mounts, namespaces, cgroups,
 * sockets, nft tables, files, the context. Works on whatever is left of a cluster, in whatever state.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { listTaskNamespaces } from '#linux/netns.js';
import { run } from '#linux/runner.js';
import { removeContext } from '../context.js';
import { isContainerd } from './containerd.js';
import { removeLan } from './lan.js';
import type { DevLayout, DevNode } from './layout.js';
import { endProcesses, findProcesses, processesOf } from './processes.js';
import { readLayout, type Say } from './up.js';

const list = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : []);

/** The agent keeps a directory a task, named by its id; and namespaces for tasks to come, which the node knows of. */
async function taskNamespaces(l: DevLayout): Promise<string[]> {
  const recorded = l.nodes.flatMap((n) => list(join(n.dataDir, 'agent', 'tasks'))).map((id) => `weft-${id.slice(0, 12)}`);
  const known = await Promise.all(l.nodes.map((n) => namespacesKnownTo(n)));
  return [...new Set([...recorded, ...known.flat()])];
}

async function namespacesKnownTo({ netns }: DevNode): Promise<string[]> {
  const path = `/run/netns/${netns}`;
  return existsSync(path) ? listTaskNamespaces((argv, options) => run(['nsenter', `--net=${path}`, '--', ...argv], options)) : [];
}

/** containerd's shims listen on sockets in a fixed place; each task's state directory names its own. */
function shimSockets(l: DevLayout): string[] {
  const root = join(l.runDir, 'containerd', 'io.containerd.runtime.v2.task');
  return list(root).flatMap((namespace) =>
    list(join(root, namespace)).flatMap((id) => {
      const file = join(root, namespace, id, 'address');
      return existsSync(file)
        ? [
            readFileSync(file, 'utf8')
              .trim()
              .replace(/^unix:\/\//, ''),
          ]
        : [];
    }),
  );
}

const cgroupsOf = (l: DevLayout): string[] => l.nodes.map((n) => `/weft/${n.containerdNamespace}/`);

/** Containers are found by their cgroup: their command lines may say anything. */
const containerProcesses = (l: DevLayout) => {
  const groups = cgroupsOf(l);
  return findProcesses((_argv, cgroup) => groups.some((g) => cgroup().includes(g)));
};

async function unmountBelow(dirs: string[]): Promise<void> {
  const below = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
    .filter((path) => dirs.some((dir) => path.startsWith(`${dir}/`)))
    .sort((a, b) => b.length - a.length);
  for (const path of below) await run(['umount', '-l', path]);
}

/** Empty directories of our containers in every cgroup hierarchy, deepest first. The kernel refuses one that is in use. */
function removeCgroups(l: DevLayout): void {
  const roots = ['/sys/fs/cgroup', ...list('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name))];
  const prune = (dir: string): void => {
    for (const entry of existsSync(dir) ? readdirSync(dir, { withFileTypes: true }) : [])
      if (entry.isDirectory()) prune(join(dir, entry.name));
    try {
      rmdirSync(dir);
    } catch {
      // In use by another cluster, or not there.
    }
  };
  for (const root of roots) {
    for (const group of cgroupsOf(l)) if (existsSync(join(root, group))) prune(join(root, group));
    if (existsSync(join(root, 'weft')) && list(join(root, 'weft')).every((name) => !existsSync(join(root, 'weft', name, 'cgroup.procs'))))
      prune(join(root, 'weft'));
  }
}

/** What runs inside the nodes' namespaces without a word of the cluster in its command line. */
const INSIDERS = /(^|\/)(wireguard-go|ip|nft)$/;

/**
 * wireguard-go, one a node with encrypted networks, and the `ip monitor` and `nft monitor` of agents whose command helper was
 * killed. They are known by the namespace that they are in, which would live on with them.
 */
function insideProcesses(l: DevLayout) {
  const inside = new Set(l.nodes.flatMap((n) => inodeOf(`/run/netns/${n.netns}`)));
  return findProcesses((argv) => INSIDERS.test(argv[0] ?? '')).filter(({ pid }) =>
    inodeOf(`/proc/${pid}/ns/net`).some((inode) => inside.has(inode)),
  );
}

function inodeOf(path: string): number[] {
  try {
    return [statSync(path).ino];
  } catch {
    // Gone meanwhile.
    return [];
  }
}

/** What was being started while its parents were ended: looked for until a look finds nothing. */
async function endLateComers(l: DevLayout, dirs: string[]): Promise<void> {
  for (let sweep = 0; sweep < 10; sweep++) {
    const late = [...processesOf(dirs), ...containerProcesses(l)];
    if (late.length === 0) return;
    await endProcesses(late, 'SIGKILL', 0);
  }
}

/** @returns false when there was no such cluster */
export async function devDown(name: string, say: Say): Promise<boolean> {
  const l = readLayout(name);
  if (!l) return false;
  const dirs = [l.dir, l.runDir];
  const sockets = shimSockets(l);
  const containerd = isContainerd(l);

  // Agents first: whoever repairs must not see things go. Then their companions, controllers and etcd.
  const weft = processesOf(dirs).filter(({ argv }) => !containerd(argv) && !/containerd-shim/.test(argv[0] ?? ''));
  await endProcesses(weft, 'SIGKILL', 0);
  await endProcesses(containerProcesses(l), 'SIGKILL', 0);
  // In order: wireguard-go then removes its control socket.
  await endProcesses(insideProcesses(l), 'SIGTERM', 2_000);
  await endProcesses(findProcesses(containerd), 'SIGTERM', 3_000);
  const shims = findProcesses((argv) => /containerd-shim/.test(argv[0] ?? '') && argv.includes(l.containerdSocket));
  await endProcesses(shims, 'SIGTERM', 1_000);
  await endLateComers(l, dirs);
  say(`processes   ${weft.length + shims.length} ended`);

  await unmountBelow(dirs);
  // Of whoever made them nobody is left.
  const namespaces = await taskNamespaces(l);
  await removeLan(l, namespaces);
  removeCgroups(l);
  for (const socket of sockets) rmSync(socket, { force: true });
  say(`network     ${l.nodes.length} nodes and ${namespaces.length} task namespaces removed`);

  await removeContext(l.context);
  // What was killed a moment ago may have been making a file.
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  for (const parent of ['/var/lib/weft-dev', '/run/weft-dev']) {
    try {
      rmdirSync(parent);
    } catch {
      // Another development cluster is there, or the directory is not.
    }
  }
  say('files       removed');
  return true;
}
