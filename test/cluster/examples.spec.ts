/**
 * The example stacks on three nodes, without a registry and without the internet: a queue whose workers are scaled, a stack with a
 * secret, health checks and an order of start, and one whose image is built (shop.yaml runs in stack.spec.ts). And an image that only
 * some nodes have gets to the others.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasBuildah, NO_BUILDAH, testBuilder, type TestBuilder } from '../contract/build/builder.js';
import { eventually, sh, TestCluster, type TaskLine } from './cluster.js';

const cluster = new TestCluster('ex');
const NODES = ['node1', 'node2', 'node3'] as const;

beforeAll(async () => {
  await cluster.up();
  cpSync(join(process.cwd(), 'deploy/examples'), cluster.dir, { recursive: true });
}, 180_000);
afterAll(() => cluster.down(), 60_000);

const of = (tasks: TaskLine[], service: string): TaskLine[] => tasks.filter((t) => t.service === service);
/** What a published port says at a node. */
const ask = (node: string, path: string): string =>
  cluster.onNode(node, 'timeout', '5', 'busybox', 'wget', '-qO-', `http://127.0.0.1:${path}`).stdout;

describe('queue.yaml', () => {
  interface Done {
    job: string;
    worker: string;
  }
  const done = async (): Promise<Done[]> => {
    const text = await cluster.ctl('exec', '-T', '-p', 'queue', 'queue', 'sh', '-c', 'cat /data/done');
    return text
      .trim()
      .split('\n')
      .map((line) => ({ job: line.split(' ')[0] ?? '', worker: line.split(' ')[1] ?? '' }));
  };

  it('each job is done once, by workers on several nodes; scaled, more of them work', async () => {
    await cluster.ctl('up', '-f', 'queue.yaml');
    await eventually(30_000, async () => expect(await done()).toHaveLength(20));
    const first = await done();
    expect(new Set(first.map(({ job }) => job)).size).toBe(20);
    const workers = new Set(first.map(({ worker }) => worker)).size;
    // Others: either one was replaced, and the events say why, or what they wrote is not whole.
    if (workers !== 2)
      throw new Error(
        `${workers} workers did jobs\n${JSON.stringify(first)}\n${await cluster.ctl('events', '-p', 'queue', '--since', '5m', '--until', '0s')}`,
      );

    writeFileSync(join(cluster.dir, 'more.yaml'), 'services: { worker: { deploy: { replicas: 5 } } }\n');
    await cluster.ctl('up', '-f', 'queue.yaml', '-f', 'more.yaml');
    const scaled = of(await cluster.tasks('queue'), 'worker');
    expect(scaled).toHaveLength(5);
    expect(new Set(scaled.map(({ node }) => node)).size).toBe(3);
    const fill = 'for n in $(seq 30); do wget -qO- --post-data="more-$n" http://127.0.0.1/cgi-bin/jobs; done';
    await cluster.ctl('exec', '-T', '-p', 'queue', 'queue', 'sh', '-c', fill);
    await eventually(30_000, async () => expect(await done()).toHaveLength(50));
    expect(new Set((await done()).slice(20).map(({ worker }) => worker)).size).toBeGreaterThan(2);
    await cluster.ctl('down', '-p', 'queue');
  }, 120_000);
});

describe('guarded.yaml', () => {
  it('starts in order, and the data is for those who have the secret', async () => {
    await cluster.ctl('up', '-f', 'guarded.yaml');
    for (const node of NODES) expect(ask(node, '8081/')).toBe('in stock: apples\n');
    const db = of(await cluster.tasks('guarded'), 'db')[0] as TaskLine;
    const inside = cluster.inTask(db.id, 'busybox', 'wget', '-qO-', 'http://127.0.0.1/cgi-bin/db?guess');
    expect(inside.stdout).toBe('refused\n');
    const password = readFileSync(join(cluster.dir, 'guarded/db-password.txt'), 'utf8').trim();
    const { stdout, stderr } = await cluster.tryCtl(['up', '-f', 'guarded.yaml', '--dry-run']);
    expect(stdout + stderr + cluster.logs(1_000)).not.toContain(password);
    await cluster.ctl('down', '-p', 'guarded');
  }, 120_000);
});

(hasBuildah() ? describe : describe.skip)(hasBuildah() ? 'built.yaml' : `built.yaml: ${NO_BUILDAH}`, () => {
  let builder: TestBuilder;
  beforeAll(async () => {
    builder = await testBuilder('weft-demo');
  }, 60_000);
  afterAll(() => builder?.remove());

  const up = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'built.yaml', ...args], { env: builder.env, timeoutMs: 120_000 });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return stderr;
  };

  it('is built, reaches every node without a registry, and is rolled out again only when something has changed', async () => {
    expect(await up()).toContain('image built-greeter: building with buildah');
    const tasks = await cluster.tasks('built');
    expect(new Set(tasks.map(({ node }) => node)).size).toBe(3);
    for (const node of NODES) expect(ask(node, '8082/greeting') + ask(node, '8082/word')).toBe('good morning\nhello\n');

    const again = await up('--build');
    expect(again).toContain('image built-greeter: the nodes have all of it');
    expect(again).toContain('stack built: nothing to change');

    writeFileSync(join(cluster.dir, 'greeter/greeting'), 'good evening\n');
    // Of an image of megabytes, some kilobytes.
    expect(await up('--build')).toMatch(/image built-greeter: [\d.]+ KiB of [\d.]+ MiB to send/);
    for (const node of NODES) expect(ask(node, '8082/greeting')).toBe('good evening\n');
    expect((await cluster.tasks('built')).filter(({ id }) => tasks.some((old) => old.id === id))).toEqual([]);
  }, 180_000);

  it('watched, a changed file is copied into what runs, and a changed Dockerfile builds it anew', async () => {
    const before = await cluster.tasks('built');
    const watching = cluster.startCtl(['watch', '-f', 'built.yaml', '--no-up'], builder.env);
    try {
      await eventually(20_000, () => expect(watching.said()).toContain('watching the files of greeter'));
      writeFileSync(join(cluster.dir, 'greeter/greeting'), 'good night\n');
      await eventually(20_000, () => {
        for (const node of NODES) expect(ask(node, '8082/greeting')).toBe('good night\n');
      });
      await eventually(5_000, async () => expect(watching.said()).toContain('greeter: copied greeting to /www/greeting of 3 task(s)'));
      expect((await cluster.tasks('built')).map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort());

      const dockerfile = join(cluster.dir, 'greeter/Dockerfile');
      writeFileSync(dockerfile, `${readFileSync(dockerfile, 'utf8')}LABEL changed=yes\n`);
      await eventually(60_000, async () => {
        expect(watching.said()).toContain('stack built is up');
        expect((await cluster.tasks('built')).filter(({ id }) => before.some((old) => old.id === id))).toEqual([]);
      });
      expect(ask('node1', '8082/greeting')).toBe('good night\n');
    } finally {
      expect(await watching.end('SIGINT')).toBe(0);
    }
    await cluster.ctl('down', '-p', 'built');
  }, 180_000);
});

describe('an image that one node lacks', () => {
  interface ImageLine {
    name: string;
    nodes: string;
  }

  it('comes from the others when a stack needs it', async () => {
    // As on a node that came later: nobody loaded it there.
    const socket = join(cluster.runDir, 'containerd.sock');
    const gone = sh(
      'ctr',
      '-a',
      socket,
      '-n',
      `weft-${cluster.name}-node3`,
      'images',
      'rm',
      '--sync',
      'docker.io/library/weft-demo:latest',
    );
    expect(gone).toMatchObject({ code: 0 });
    const nodes = async () => (await cluster.json<ImageLine[]>('image', 'ls')).find(({ name }) => name.includes('weft-demo'))?.nodes ?? '';
    expect(await nodes()).not.toContain('node3');
    const placement = 'deploy: { placement: { constraints: ["node.hostname == node3"] } }';
    cluster.write('late.yaml', `name: late\nservices: { web: { image: weft-demo, ${placement} } }\n`);
    await cluster.ctl('up', '-f', 'late.yaml', '--pull', 'never');
    expect((await cluster.tasks('late'))[0]).toMatchObject({ node: 'node3', state: 'running' });
    expect(await nodes()).toContain('node3');
  }, 90_000);
});
