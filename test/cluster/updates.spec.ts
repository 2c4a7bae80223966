/** Health, order, jobs, updates and rollbacks of real containers on three nodes. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually, pause, TestCluster } from './cluster.js';

const cluster = new TestCluster('up');
beforeAll(() => cluster.up(3), 180_000);
afterAll(() => cluster.down(), 60_000);

interface Row {
  id: string;
  name: string;
  service: string;
  slot: number;
  node: string;
  state: string;
  health: string;
  desired: string;
  message: string;
  exitCode: number | null;
  startedAt: number | null;
}
const rows = (stack: string, ...flags: string[]): Promise<Row[]> => cluster.json<Row[]>('ps', '-p', stack, ...flags);

/** Requests from a node to a published port, from now until `stop`. */
class Load {
  readonly #child;
  #last = '{"asked":0}';
  readonly #closed: Promise<void>;

  constructor(node: string, url: string, concurrency: number) {
    const argv = [
      `--net=/run/netns/${cluster.netns(node)}`,
      '--',
      process.execPath,
      join(process.cwd(), 'test', 'cluster', 'load.mjs'),
      url,
    ];
    const env = { ...process.env };
    delete env['NODE_OPTIONS'];
    this.#child = spawn('nsenter', [...argv, String(concurrency)], { stdio: ['pipe', 'pipe', 'inherit'], env });
    createInterface({ input: this.#child.stdout }).on('line', (line) => (this.#last = line));
    this.#closed = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  /** How many requests were made, as of a moment ago. */
  get asked(): number {
    return (JSON.parse(this.#last) as { asked: number }).asked;
  }

  async stop(): Promise<{ asked: number; failures: Record<string, number> }> {
    this.#child.stdin.end();
    await this.#closed;
    return JSON.parse(this.#last) as { asked: number; failures: Record<string, number> };
  }
}

/** A web server whose health check asks it, and which says `word`. */
const site = (word: string, more: string): string => `
name: site
services:
  web:
    image: weft-demo
    command: ["sh", "-c", "mkdir /tmp/w; echo ${word} > /tmp/w/index.html; httpd -f -p 80 -h /tmp/w & trap 'kill $$!; exit 0' TERM; wait $$!"]
    ports: ["8080:80"]
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1/"], interval: 1s, start_period: 10s, start_interval: 200ms, retries: 2 }
    deploy:
      replicas: 3
      update_config: { ${more} }
`;

it('starts what depends on something when that is ready: healthy, or complete', async () => {
  cluster.write(
    'order.yaml',
    `
name: order
services:
  web:
    image: weft-demo
    depends_on:
      db: { condition: service_healthy }
      migrate: { condition: service_completed_successfully }
  migrate:
    image: weft-demo
    command: ["sh", "-c", "sleep 1; exit 0"]
    restart: "no"
    depends_on: { db: { condition: service_healthy } }
  db:
    image: weft-demo
    command: ["sh", "-c", "sleep 2; touch /tmp/ready; exec sleep 1000"]
    stop_grace_period: 0s
    healthcheck: { test: test -f /tmp/ready, interval: 300ms, retries: 3, start_period: 20s, start_interval: 200ms }
  crunch:
    image: weft-demo
    command: ["sh", "-c", "exit 0"]
    deploy: { mode: replicated-job, replicas: 3 }
`,
  );
  const { code, stderr } = await cluster.tryCtl(['up', '-f', 'order.yaml']);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stderr).toMatch(/waits for db to be healthy|migrate|crunch 3\/3 complete/);
  const found = await rows('order');
  const of = (service: string) => found.filter((r) => r.service === service);
  expect(of('db')).toMatchObject([{ state: 'running', health: 'healthy' }]);
  expect(of('migrate')).toMatchObject([{ state: 'complete', exitCode: 0 }]);
  expect(of('crunch').map((r) => r.state)).toEqual(['complete', 'complete', 'complete']);
  expect(of('web')).toMatchObject([{ state: 'running' }]);
  const startOf = (service: string) => of(service)[0]?.startedAt ?? 0;
  expect(startOf('migrate') - startOf('db')).toBeGreaterThanOrEqual(2_000);
  expect(startOf('web') - startOf('migrate')).toBeGreaterThanOrEqual(1_000);
  // Again: nothing is run again.
  await cluster.ctl('up', '-f', 'order.yaml');
  expect((await rows('order')).map((r) => r.id).sort()).toEqual(found.map((r) => r.id).sort());
}, 120_000);

it('runs a global job once on every node, also on one that comes later, and whoever depends on it waits for all', async () => {
  cluster.write(
    'fleet.yaml',
    `
name: fleet
services:
  app: { image: weft-demo, stop_grace_period: 0s, depends_on: { prepare: { condition: service_completed_successfully } } }
  prepare:
    image: weft-demo
    command: [sleep, '2']
    deploy: { mode: global-job }
`,
  );
  const jobs = async () => (await rows('fleet')).filter((r) => r.service === 'prepare');
  await cluster.ctl('node', 'drain', 'node3');
  const { code, stderr } = await cluster.tryCtl(['up', '-f', 'fleet.yaml']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('prepare 2/2 complete') });
  const first = await jobs();
  expect(first.map((r) => r.node).sort()).toEqual(['node1', 'node2']);
  expect(first.map((r) => [r.state, r.exitCode])).toEqual([
    ['complete', 0],
    ['complete', 0],
  ]);
  const app = (await rows('fleet')).find((r) => r.service === 'app');
  expect((app?.startedAt ?? 0) - Math.max(...first.map((r) => r.startedAt ?? Infinity))).toBeGreaterThanOrEqual(2_000);
  await cluster.ctl('node', 'activate', 'node3');
  const onThird = async () => (await jobs()).find((r) => r.node === 'node3');
  await eventually(30_000, async () => expect(await onThird()).toMatchObject({ state: 'complete', exitCode: 0 }));
  const others = (await jobs()).filter((r) => r.node !== 'node3');
  expect(others.map((r) => r.id).sort()).toEqual(first.map((r) => r.id).sort());
  // The work is done, and a drained node keeps no more of it than that.
  await cluster.ctl('node', 'drain', 'node3');
  await cluster.ctl('up', '-f', 'fleet.yaml');
  await cluster.ctl('node', 'activate', 'node3');
  expect((await jobs()).map((r) => r.state)).toEqual(['complete', 'complete', 'complete']);
  await cluster.ctl('down', '-p', 'fleet');
}, 120_000);

it('replaces a task that becomes unhealthy, and remembers it', async () => {
  const before = (await rows('order')).find((r) => r.service === 'db');
  await cluster.ctl('exec', '-T', '-p', 'order', 'db', 'rm', '/tmp/ready');
  await eventually(30_000, async () => {
    const now = (await rows('order')).find((r) => r.service === 'db');
    expect(now?.id).not.toBe(before?.id);
    expect(now).toMatchObject({ state: 'running', health: 'healthy' });
  });
  const gone = (await rows('order', '--all')).find((r) => r.id === before?.id);
  expect(gone).toMatchObject({ desired: 'gone', message: expect.stringContaining('unhealthy') });
  await cluster.ctl('down', '-p', 'order');
}, 90_000);

it('a task that becomes unhealthy leaves names, virtual address and published port while it waits to be replaced', async () => {
  const served = (deploy: string, more = ''): string => `
    image: weft-demo
    command: [sh, -c, 'touch /tmp/well; exec /bin/web']
    stop_grace_period: 1s
    healthcheck: { test: test -f /tmp/well, interval: 300ms, retries: 2, start_period: 20s, start_interval: 200ms }
    deploy: { replicas: 2${deploy} }
    ${more}`;
  cluster.write(
    'well.yaml',
    `name: well\nservices:\n  web:${served('', 'ports: ["8090:80"]')}\n  flat:${served(', endpoint_mode: dnsrr')}\n`,
  );
  await cluster.ctl('up', '-f', 'well.yaml');
  type Well = Row & { addresses: string };
  const slots = async (service: string) =>
    (await cluster.json<Well[]>('ps', '-p', 'well')).filter((r) => r.service === service).sort((x, y) => x.slot - y.slot);
  const fallIll = () =>
    Promise.all(['web', 'flat'].map((s) => cluster.ctl('exec', '-T', '-p', 'well', '--index', '1', s, 'rm', '/tmp/well')));
  const [first, second] = (await slots('web')) as [Well, Well];
  // The first time it is replaced at once; after that a second time only later, lest a check that always fails churns.
  await fallIll();
  const again = await eventually(30_000, async () => {
    const found = [...(await slots('web')), ...(await slots('flat'))];
    expect(found.map((r) => r.health)).toEqual(['healthy', 'healthy', 'healthy', 'healthy']);
    expect(found[0]?.id).not.toBe(first.id);
    return found;
  });
  const [web1, , flat1, flat2] = again.map((r) => r.addresses.split('=')[1]) as [string, string, string, string];
  const asked = (name: string): string[] =>
    cluster.inTask(second.id, 'dig', '+short', '+tries=1', '+time=2', '@127.0.0.11', name).stdout.trim().split('\n').sort();
  const get = (run: (...argv: string[]) => { stdout: string }, host: string): string[] => [
    ...new Set(
      Array.from(
        { length: 6 },
        () => run('timeout', '3', 'busybox', 'wget', '-q', '-O', '-', `http://${host}/`).stdout.split(' ')[0] ?? '',
      ),
    ),
  ];
  const byVip = () => get((...argv) => cluster.inTask(second.id, ...argv), asked('web')[0] ?? '').sort();
  const addresses = await Promise.all(['node1', 'node2', 'node3'].map(addressOf));
  const byPort = () =>
    [...new Set(addresses.flatMap((address) => get((...argv) => cluster.onNode('node1', ...argv), `${address}:8090`)))].sort();
  expect([byVip(), byPort(), asked('flat')]).toEqual([['well-web-1', 'well-web-2'], ['well-web-1', 'well-web-2'], [flat1, flat2].sort()]);
  await fallIll();
  await eventually(8_000, () => expect([asked('flat'), byVip(), byPort()]).toEqual([[flat2], ['well-web-2'], ['well-web-2']]));
  expect(asked('tasks.web')).toContain(web1);
  expect(asked('tasks.web')).toHaveLength(2);
  expect((await slots('web'))[0]).toMatchObject({ id: again[0]?.id, state: 'running', health: 'unhealthy', desired: 'run' });
  await eventually(30_000, async () => {
    const [next] = await slots('web');
    expect(next?.id).not.toBe(again[0]?.id);
    expect(next?.health).toBe('healthy');
  });
  await eventually(5_000, () => expect(byVip()).toEqual(['well-web-1', 'well-web-2']));
  await cluster.ctl('down', '-p', 'well');
}, 120_000);

it('an update goes as many at a time as it says, with its delay; a rollback as rollback_config says; one that fails is paused', async () => {
  const DELAY_MS = 2_000;
  const pairs = (word: string, command = '[sleep, "1000"]'): string =>
    cluster.write(
      'pairs.yaml',
      `
name: pairs
services:
  web:
    image: weft-demo
    command: ${command}
    environment: { WORD: ${word} }
    stop_grace_period: 0s
    deploy:
      replicas: 4
      update_config: { parallelism: 2, delay: ${DELAY_MS}ms, monitor: 300ms, failure_action: pause, max_failure_ratio: 0 }
      rollback_config: { parallelism: 0, monitor: 0s }
`,
    );
  const begun = async () => (await rows('pairs')).map((r) => r.startedAt ?? NaN).sort((x, y) => x - y) as [number, number, number, number];
  await cluster.ctl('up', '-f', pairs('one'));
  await cluster.ctl('up', '-f', pairs('two'));
  const [a, b, c, d] = await begun();
  // The second follows the first without the delay, the other two follow each of them with it.
  expect(b - a).toBeLessThan(DELAY_MS);
  expect(c - a).toBeGreaterThanOrEqual(DELAY_MS);
  expect(d - b).toBeGreaterThanOrEqual(DELAY_MS);
  const since = Date.now();
  await cluster.ctl('rollback', 'pairs');
  const back = await begun();
  expect(back[0]).toBeGreaterThan(since);
  expect(back[3] - back[0]).toBeLessThan(DELAY_MS);
  expect(await cluster.ctl('exec', '-T', '-p', 'pairs', '--index', '3', 'web', 'sh', '-c', 'echo $WORD')).toBe('one\n');

  const good = (await rows('pairs')).map((r) => r.id);
  const { code, stderr } = await cluster.tryCtl(['up', '-f', pairs('bad', "[sh, -c, 'exit 9']")]);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/web: its update was paused: pairs-web-\d failed: exited with code 9/),
  });
  const { stdout, stderr: said } = await cluster.tryCtl(['ps', '-p', 'pairs', '--format', 'table']);
  expect(said).toMatch(/^web: update paused: pairs-web-\d failed: exited with code 9/m);
  expect(stdout).toMatch(/exited with code 9/);
  // No more than two at a time were touched.
  expect((await rows('pairs')).filter((r) => good.includes(r.id) && r.state === 'running')).toHaveLength(2);
  await cluster.ctl('down', '-p', 'pairs');
}, 120_000);

it('a stack starts and ends in the order of what depends on what, though that is on another node', async () => {
  const told = join(cluster.dir, 'told');
  mkdirSync(told);
  chmodSync(told, 0o777);
  const service = (name: string, node: string, more: string): string => `
  ${name}:
    image: weft-demo
    command: [sh, -c, 'trap "sleep 1; echo ${name} ended >> /told/order; exit 0" TERM; echo ${name} begun >> /told/order; while :; do sleep 0.1; done']
    volumes: ['${told}:/told']
    deploy: { placement: { constraints: [node.hostname == ${node}] } }
    ${more}`;
  const chain = [
    service('front', 'node1', 'depends_on: [middle]'),
    service('middle', 'node3', 'depends_on: [back]'),
    service('back', 'node2', ''),
  ];
  cluster.write('chain.yaml', `name: chain\nservices:${chain.join('')}\n`);
  await cluster.ctl('up', '-f', 'chain.yaml');
  expect((await rows('chain')).map((r) => `${r.service} ${r.node}`).sort()).toEqual(['back node2', 'front node1', 'middle node3']);
  await cluster.ctl('down', '-p', 'chain');
  const order = ['back begun', 'middle begun', 'front begun', 'front ended', 'middle ended', 'back ended'];
  expect(readFileSync(join(told, 'order'), 'utf8')).toBe(order.map((line) => `${line}\n`).join(''));
}, 90_000);

/** Of both orders of an update together (CI: 20,000). */
const LEAST_REQUESTS = Number(process.env['REQUESTS'] ?? 8_000);
let askedInAll = 0;

it.each([
  ['start-first', LEAST_REQUESTS / 2],
  ['stop-first', LEAST_REQUESTS],
])(
  'an update, %s, loses no request',
  async (order, least) => {
    cluster.write('site.yaml', site(`one-${order}`, `order: ${order}, monitor: 500ms`));
    await cluster.ctl('up', '-f', 'site.yaml');
    const load = new Load('node1', 'http://127.0.0.1:8080/'.replace('127.0.0.1', await addressOf('node2')), 12);
    await pause(1_000);
    let round = 0;
    const began = Date.now();
    while (round < 2 || (askedInAll + load.asked < least && Date.now() - began < 150_000)) {
      cluster.write('site.yaml', site(`${order}-${++round}`, `order: ${order}, monitor: 500ms`));
      const { code, stderr } = await cluster.tryCtl(['up', '-f', 'site.yaml']);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
    const { asked, failures } = await load.stop();
    const warnings = Object.keys(failures).length === 0 ? [] : cluster.warnings(began);
    expect({ failures, warnings }).toEqual({ failures: {}, warnings: [] });
    askedInAll += asked;
    expect(askedInAll).toBeGreaterThanOrEqual(least);
    process.stderr.write(`${order}: ${asked} requests, ${round} updates, none lost\n`);
  },
  240_000,
);

async function addressOf(node: string): Promise<string> {
  const nodes = await cluster.json<{ name: string; address: string }[]>('node', 'ls');
  return nodes.find((n) => n.name === node)?.address ?? '';
}

it('an update that fails is rolled back, and up says so', async () => {
  const bad = site('bad', 'order: start-first, monitor: 3s, failure_action: rollback').replace('httpd -f -p 80', 'false; exit 9; true');
  cluster.write('site.yaml', site('good', 'monitor: 500ms'));
  await cluster.ctl('up', '-f', 'site.yaml');
  const good = (await rows('site')).map((r) => r.id).sort();
  cluster.write('bad.yaml', bad);
  const { code, stderr } = await cluster.tryCtl(['up', '-f', 'bad.yaml']);
  expect({ code, stderr }).toMatchObject({ code: 1 });
  expect(stderr).toMatch(/rolled back: site-web-1 failed: exited with code 9/);
  expect((await rows('site')).map((r) => r.id).sort()).toEqual(good);
}, 120_000);

it('rollback goes back to what was before', async () => {
  cluster.write('site.yaml', site('newer', 'monitor: 500ms'));
  await cluster.ctl('up', '-f', 'site.yaml');
  const { code, stderr } = await cluster.tryCtl(['rollback', 'site', 'web']);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const answer = cluster.onNode('node1', 'busybox', 'wget', '-q', '-O', '-', `http://${await addressOf('node3')}:8080/`);
  expect(answer.stdout.trim()).toBe('good');
}, 120_000);

it('rebalance spreads the tasks again after nodes came back: no more of them than have to, and without losing a request', async () => {
  cluster.write('site.yaml', site('spread', 'order: start-first, monitor: 500ms'));
  await cluster.ctl('up', '-f', 'site.yaml');
  const running = async () => (await rows('site')).filter((r) => r.health === 'healthy' && r.desired === 'run');
  const away = ['node2', 'node3'];
  for (const node of away) await cluster.ctl('node', 'drain', node);
  await eventually(90_000, async () => expect((await running()).map((r) => r.node)).toEqual(['node1', 'node1', 'node1']));
  for (const node of away) await cluster.ctl('node', 'activate', node);
  const before = await running();
  const plan = await cluster.json<{ id: string; from: string; to: string; why: string }[]>('rebalance', '-p', 'site', '--dry-run');
  expect(plan.map(({ from, to, why }) => ({ from, to, why }))).toEqual([
    { from: 'node1', to: 'node2', why: 'node1 has 3 of web, node2 has 0' },
    { from: 'node1', to: 'node3', why: 'node1 has 2 of web, node3 has 0' },
  ]);
  // Nothing moves without the command.
  expect((await rows('site')).map((r) => r.id)).toEqual(before.map((r) => r.id));
  const load = new Load('node1', `http://${await addressOf('node2')}:8080/`, 8);
  await eventually(30_000, () => expect(load.asked).toBeGreaterThan(100));
  const { code, stdout, stderr } = await cluster.tryCtl(['rebalance', '-p', 'site']);
  const { asked, failures } = await load.stop();
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('stack site is spread: 2 tasks moved') });
  expect(stdout).toMatch(/TASK +FROM +TO +WHY/);
  expect(failures).toEqual({});
  expect(asked).toBeGreaterThan(200);
  const after = await running();
  expect(after.map((r) => r.node).sort()).toEqual(['node1', 'node2', 'node3']);
  const moved = plan.map((m) => m.id);
  expect(after.filter((r) => before.some((b) => b.id === r.id)).map((r) => r.id)).toEqual(
    before.filter((b) => !moved.includes(b.id)).map((b) => b.id),
  );
  expect((await cluster.tryCtl(['rebalance', '-p', 'site'])).stderr).toBe('nothing to move\n');
  const { stdout: told } = await cluster.tryCtl(['events', '-p', 'site', '--since', '1h', '--until', '0s']);
  expect(told).toMatch(/from node1: rebalanced by command/);
}, 240_000);
