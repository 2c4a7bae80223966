/** An etcd that lost everything must not take the containers with it. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, pause, PingFlood, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('qu');
let tasks: TaskLine[] = [];
let pids: number[] = [];

interface NodeLine {
  name: string;
  state: string;
}
const nodes = (): Promise<NodeLine[]> => cluster.json<NodeLine[]>('node', 'ls');
const running = (): number[] => tasks.map((t) => cluster.pidOf(t.id));

beforeAll(async () => {
  await cluster.up();
  cluster.write('t.yaml', 'name: t\nservices:\n  web:\n    image: weft-demo\n    deploy: {replicas: 6}\n');
  await cluster.ctl('up', '-f', 't.yaml');
  tasks = await cluster.tasks('t');
  pids = running();
}, 180_000);
afterAll(() => cluster.down(), 60_000);

/** Pings across nodes in both directions while `what` happens; none may be lost. */
async function undisturbed(what: () => Promise<void>): Promise<void> {
  const on = (node: string): TaskLine => tasks.find((t) => t.node === node) as TaskLine;
  const pairs = [
    [on('node1'), on('node2')],
    [on('node2'), on('node3')],
    [on('node3'), on('node1')],
  ] as const;
  const floods = pairs.map(([a, b]) => new PingFlood(cluster.taskNetns(a.id), Object.values(b.addresses)[0] as string));
  try {
    await what();
    // Long enough after it for a late consequence to show.
    await pause(2_000);
  } finally {
    const counts = await Promise.all(floods.map((f) => f.stop()));
    for (const { sent, received } of counts) {
      expect(sent).toBeGreaterThan(50);
      expect({ lost: sent - received }).toEqual({ lost: 0 });
    }
  }
}

async function everybodyQuarantined(): Promise<void> {
  await eventually(30_000, async () => {
    expect((await nodes()).map((n) => `${n.name} ${n.state}`).sort()).toEqual([
      'node1 quarantined',
      'node2 quarantined',
      'node3 quarantined',
    ]);
  });
}

it('every key deleted under traffic: no packet is lost, no container stops, the nodes say why they do not follow', async () => {
  await undisturbed(async () => {
    const pki = join(cluster.libDir, 'node1', 'controller', 'pki', 'etcd');
    const tls = ['--cacert', join(pki, 'ca.pem'), '--cert', join(pki, 'cert.pem'), '--key', join(pki, 'key.pem')];
    const wiped = cluster.onNode(
      'node1',
      'env',
      'ETCDCTL_API=3',
      'etcdctl',
      '--endpoints',
      'https://127.0.0.1:7704',
      ...tls,
      'del',
      '',
      '--prefix',
    );
    expect(wiped).toMatchObject({ code: 0 });
    expect(Number(wiped.stdout.trim())).toBeGreaterThan(20);
    await everybodyQuarantined();
    expect(running()).toEqual(pids);
  });
  const web = tasks[0] as TaskLine;
  expect(cluster.inTask(web.id, 'dig', '+short', '@127.0.0.11', 'tasks.web').stdout.trim().split('\n')).toHaveLength(6);
  const inspected = await cluster.ctl('node', 'inspect', 'node1');
  expect(inspected).toMatch(/cluster/i);
}, 120_000);

it('an etcd made anew under traffic: the same', async () => {
  await undisturbed(async () => {
    cluster.kill('/controller/main.js');
    cluster.kill('etcd', '--data-dir');
    rmSync(join(cluster.libDir, 'node1', 'controller', 'etcd'), { recursive: true, force: true });
    await cluster.repair();
    await everybodyQuarantined();
    expect(running()).toEqual(pids);
  });
}, 120_000);

it('a container that crashes meanwhile is started again all the same', async () => {
  const web = tasks[0] as TaskLine;
  const before = cluster.pidOf(web.id);
  process.kill(before, 'SIGKILL');
  await eventually(15_000, () => expect(cluster.pidOf(web.id)).not.toBe(before));
}, 30_000);

it('a node that is told to accept follows the new state: what it does not hold is removed, there and nowhere else', async () => {
  await cluster.ctl('node', 'accept', 'node1');
  await eventually(30_000, async () => {
    expect((await nodes()).find((n) => n.name === 'node1')?.state).toBe('ready');
    for (const t of tasks) {
      if (t.node === 'node1') expect(() => cluster.pidOf(t.id)).toThrow();
      else expect(cluster.pidOf(t.id)).toBeGreaterThan(1);
    }
  });
}, 60_000);
