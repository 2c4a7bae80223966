/** Who reaches whom indeed: asked from inside every client, by name and by address. What should be stands in reachability.ts. */
import { spawn } from 'node:child_process';
import type { TestCluster } from './cluster.js';
import { addressesOf, firstOf, NO_ANSWER, spaceOf, type Cell, type Cells, type World } from './reachability.js';

/** Whom nobody answers need not be waited for as long as whom somebody should. */
const REFUSED_S = 1.5;
const ANSWERED_S = 5;
/** Clients that ask at a time; each asks everybody at once. */
const AT_ONCE = 5;

/** What is seen of a client that has no process: its task ended after `world` was read. */
const GONE = 'the task that asks has no process';

/** Asks everything, every client at once what it has to ask. */
export async function observedCells(cluster: TestCluster, world: World, cells: Cells): Promise<Map<string, string>> {
  const byClient = new Map<string, [string, Cell][]>();
  for (const [key, cell] of cells) byClient.set(cell.client, [...(byClient.get(cell.client) ?? []), [key, cell]]);
  const seen = new Map<string, string>();
  const queue = [...byClient];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [client, asked] = next;
      const entry = entryOf(cluster, world, client);
      if (entry === undefined) {
        for (const [key] of asked) seen.set(key, GONE);
        continue;
      }
      const answers = await ask(
        entry,
        asked.map(([, cell]) => cell),
      );
      asked.forEach(([key, cell], i) => seen.set(key, answerOf(world, cell, answers.get(i) ?? NO_ANSWER)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return seen;
}

/** Into the container: its network, and its files with the resolver and hosts it was given; nothing where it has no process. */
function entryOf(cluster: TestCluster, world: World, client: string): string[] | undefined {
  if (client === 'outside') return ['busybox', 'sh'];
  const pid = cluster.findPid(firstOf(world, client).id);
  return pid === undefined ? undefined : ['nsenter', '-t', String(pid), '-m', '-n', '--', '/bin/busybox', 'sh'];
}

function ask(entry: readonly string[], cells: readonly Cell[]): Promise<Map<number, string>> {
  const lines = cells.map(({ host, port, expected }, i) => {
    const limit = expected === NO_ANSWER ? REFUSED_S : ANSWERED_S;
    return `{ r=$(timeout ${limit} busybox wget -qO- http://${host}:${port}/ 2>/dev/null); echo "${i} $r"; } &`;
  });
  return new Promise((resolve, reject) => {
    const [file = '', ...args] = entry;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    const out: Buffer[] = [];
    child.stdout.on('data', (b: Buffer) => out.push(b));
    child.once('error', reject);
    child.once('close', () => {
      const answers = Buffer.concat(out).toString().trim().split('\n');
      resolve(new Map(answers.map((a) => [Number(a.split(' ')[0]), a.slice(a.indexOf(' ') + 1)])));
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(`${lines.join('\n')}\nwait\n`);
  });
}

/** `NAME saw ADDRESS` in the words of what is expected. */
function answerOf(world: World, cell: Cell, said: string): string {
  const [, name = '', address = ''] = /^(\S+) saw (\S+)$/.exec(said) ?? [];
  if (name === '') return NO_ANSWER;
  const from = spaceOf(world, cell.client);
  const own = from.kind === 'task' ? [...Object.values(from.task.addresses), ...Object.values(from.task.six)] : [];
  const service = world.tasks.find((t) => t.name === name)?.service ?? name;
  // A node is met by several of its addresses, and not every one of them is behind a translation.
  if (world.nodes.some((n) => n.name === name)) return name;
  const byTask = world.tasks.some((t) => addressesOf(t).some((a) => a.host === cell.host));
  return `${byTask ? name : service}${own.includes(address.replaceAll(/::ffff:|[[\]]/g, '')) ? ' itself' : ''}`;
}
