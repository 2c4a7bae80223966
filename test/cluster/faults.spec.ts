/** Processes die while traffic flows: running containers lose no packet, and soon everything agrees again. */
import { existsSync } from 'node:fs';
import { eventually, pause, PingFlood, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('fa');
let a: TaskLine;
let b: TaskLine;
let before: string[] = [];

/** What mounts a directory of its node stays there, however long an agent takes to come back on a busy machine. */
const STACK = `name: t
services:
  web:
    image: weft-demo
    ports: ["8080:80"]
    volumes: ["/usr/share:/of-the-node:ro"]
    deploy: {replicas: 3}
`;

const taskIds = async (): Promise<string[]> => (await cluster.tasks('t')).map((t) => `${t.id} ${t.state}`).sort();
const nodesReady = async (): Promise<void> => {
  const nodes = await cluster.json<{ name: string; state: string }[]>('node', 'ls');
  expect(nodes.map((n) => n.state)).toEqual(['ready', 'ready', 'ready']);
};

beforeAll(async () => {
  await cluster.up();
  cluster.write('t.yaml', STACK);
  await cluster.ctl('up', '-f', 't.yaml');
  const tasks = await cluster.tasks('t');
  a = tasks.find((t) => t.node === 'node2') as TaskLine;
  b = tasks.find((t) => t.node === 'node3') as TaskLine;
  before = await taskIds();
}, 180_000);
afterAll(() => cluster.down(), 60_000);

/** Runs `fault` between the two halves of a ping flood across nodes; nothing may be lost. */
async function withoutLoss(fault: () => Promise<void>): Promise<void> {
  const there = new PingFlood(cluster.taskNetns(a.id), Object.values(b.addresses)[0] as string);
  const back = new PingFlood(cluster.taskNetns(b.id), Object.values(a.addresses)[0] as string);
  try {
    await fault();
    // Long enough after the fault for a late consequence to show.
    await pause(1_500);
  } finally {
    const [x, y] = await Promise.all([there.stop(), back.stop()]);
    expect(x.sent).toBeGreaterThan(50);
    expect({ lost: x.sent - x.received }).toEqual({ lost: 0 });
    expect({ lost: y.sent - y.received }).toEqual({ lost: 0 });
  }
}

/** After the return of what was killed, within 10 s: same tasks, all nodes ready, names resolve, the port answers. */
async function agreesAgain(): Promise<void> {
  await eventually(10_000, async () => {
    await nodesReady();
    expect(await taskIds()).toEqual(before);
    expect((await cluster.tryCtl(['exec', '-T', '-p', 't', 'web', 'wget', '-qO-', 'http://web/'])).code).toBe(0);
  });
}

describe('kill -9 while traffic flows', () => {
  it('of an agent: names go on resolving, a container that crashes meanwhile is started again after', async () => {
    await withoutLoss(async () => {
      cluster.kill('/agent/main.js', '/node2/agent');
      expect(cluster.inTask(a.id, 'dig', '+short', '+time=1', '+tries=1', '@127.0.0.11', 'web').stdout).toMatch(/^\d+\./);
      await cluster.repair();
      await agreesAgain();
    });
  }, 90_000);

  it('of the controller: containers crash and come back without it, and it takes up where it was', async () => {
    await withoutLoss(async () => {
      cluster.kill('/controller/main.js');
      expect(cluster.inTask(a.id, 'dig', '+short', '+time=1', '+tries=1', '@127.0.0.11', 'web').stdout).toMatch(/^\d+\./);
      await cluster.repair();
      await agreesAgain();
    });
  }, 90_000);

  it('of etcd: it is started again by itself', async () => {
    await withoutLoss(async () => {
      cluster.kill('etcd', '--data-dir');
      await agreesAgain();
    });
  }, 90_000);

  it('of the name server and the log keeper: they are started again by their agent', async () => {
    await withoutLoss(async () => {
      const killed = [...cluster.kill('/name-server/main.js', '/node2/'), ...cluster.kill('/log-keeper/main.js', '/node2/')];
      await eventually(10_000, () => {
        expect(cluster.inTask(a.id, 'dig', '+short', '+time=1', '+tries=1', '@127.0.0.11', 'web').stdout).toMatch(/^\d+\./);
        const now = cluster.pids('/log-keeper/main.js', '/node2/');
        expect(now.length).toBe(1);
        expect(killed).not.toContain(now[0]);
      });
    });
  }, 60_000);
});

describe('a container that ends', () => {
  it('is started again with its address and name, and ps says how often', async () => {
    const address = Object.values(a.addresses)[0];
    await cluster.tryCtl(['exec', '-T', '-u', 'root', '-p', 't', '--index', String(a.name.split('-').pop()), 'web', 'kill', '-9', '1']);
    // Pid 1 of a namespace ignores signals from inside; end it from outside instead.
    const pid = cluster.pidOf(a.id);
    process.kill(pid, 'SIGKILL');
    await eventually(15_000, async () => {
      const now = (await cluster.tasks('t')).find((t) => t.id === a.id);
      expect(now?.state).toBe('running');
      expect(cluster.pidOf(a.id)).not.toBe(pid);
      expect(Object.values(now?.addresses ?? {})[0]).toBe(address);
    });
    expect((await cluster.tryCtl(['exec', '-T', '-p', 't', 'web', 'wget', '-qO-', `http://${a.name}/`])).stdout).toContain(a.name);
  }, 60_000);
});

const OFF_THE_CONTROLLER = '{ placement: { constraints: ["node.hostname != node1"] }';

/** The task of `only` is not to run twice, whatever happens; one of `any` is on each of the two nodes. */
const PARTED = `name: p
services:
  only: { image: weft-demo, stop_grace_period: 0s, x-weft: { on-partition: stop }, deploy: ${OFF_THE_CONTROLLER} } }
  any: { image: weft-demo, stop_grace_period: 0s, deploy: ${OFF_THE_CONTROLLER}, replicas: 2 } }
`;

const isThere = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** When a process of the cluster last said something, in milliseconds since the epoch. */
function toldAt(...words: string[]): number {
  const line = cluster
    .logs(5_000)
    .split('\n')
    .findLast((l) => words.every((word) => l.includes(word)));
  return Date.parse((JSON.parse(line ?? '{}') as { time?: string }).time ?? '');
}

describe('a node that is cut off', () => {
  it('stops what is to stop there before that runs elsewhere, and goes on with the rest', async () => {
    cluster.write('p.yaml', PARTED);
    await cluster.ctl('up', '-f', 'p.yaml');
    const tasks = await cluster.tasks('p');
    const only = tasks.find((t) => t.service === 'only') as TaskLine;
    const any = tasks.find((t) => t.service === 'any' && t.node === only.node) as TaskLine;
    const [onlyPid, anyPid] = [cluster.pidOf(only.id), cluster.pidOf(any.id)];
    cluster.cable(only.node, 'down');
    const next = await eventually(60_000, async () => {
      const found = (await cluster.json<(TaskLine & { startedAt: number | null; orphan: boolean })[]>('ps', '-p', 'p')).find(
        (t) => t.service === 'only' && !t.orphan && t.id !== only.id,
      );
      expect(found).toMatchObject({ state: 'running', node: expect.not.stringContaining(only.node) });
      return found;
    });
    expect(isThere(onlyPid)).toBe(false);
    expect(isThere(anyPid)).toBe(true);
    // Its own agent says when it had gone, on the clock of this machine.
    expect(toldAt('this node is cut off: stopped', only.id)).toBeLessThan(next?.startedAt ?? 0);
    cluster.cable(only.node, 'up');
    await eventually(30_000, async () => {
      await nodesReady();
      expect((await cluster.tasks('p')).map((t) => t.state)).toEqual(['running', 'running', 'running']);
    });
    expect(isThere(anyPid)).toBe(false);
    await cluster.ctl('down', '-p', 'p');
  }, 240_000);
});
