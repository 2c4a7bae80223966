/** A running stack is operated: real containers on two nodes, through `ctl` as a person would. */
import { jest } from '@jest/globals';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, TestCluster } from './cluster.js';

jest.setTimeout(180_000);

const cluster = new TestCluster('ops');
const STACK = `
name: ops
services:
  web:
    image: weft-demo:latest
    command: [sh, -c, 'trap "exit 0" TERM; echo up; while true; do sleep 0.1; done']
    deploy: { replicas: 2 }
  db:
    image: weft-demo:latest
    command: [sh, -c, 'trap "exit 0" TERM; trap "echo hup >> /tmp/signals" HUP; while true; do sleep 0.1; done']
`;

interface Row {
  id: string;
  name: string;
  service: string;
  node: string;
  state: string;
  address: string;
  desired: string;
}

let file: string;
beforeAll(async () => {
  await cluster.up(2);
  file = cluster.write('ops.yaml', STACK);
  await cluster.ctl('up', '-f', file);
}, 180_000);
afterAll(() => cluster.down(), 60_000);

const rows = (...more: string[]) => cluster.json<Row[]>('ps', '-p', 'ops', ...more);
const of = async (service: string) => (await rows()).filter((row) => row.service === service);
const ctl = (verb: string, ...args: string[]) => cluster.ctl(verb, '-p', 'ops', ...args);

test('cp brings files into every task and out of one, and a hostile archive nowhere', async () => {
  mkdirSync(join(cluster.dir, 'site/deep'), { recursive: true });
  writeFileSync(join(cluster.dir, 'site/deep/page'), 'x'.repeat(600_000));
  await ctl('cp', 'site/.', 'web:/tmp');
  for (const index of ['1', '2']) expect(await ctl('exec', '--index', index, 'web', 'sh', '-c', 'wc -c < /tmp/deep/page')).toBe('600000\n');
  await ctl('exec', 'db', 'sh', '-c', 'mkdir /tmp/out; echo one > /tmp/out/one; ln -s /etc /tmp/out/link');
  await ctl('cp', 'db:/tmp/out', 'got');
  expect(readFileSync(join(cluster.dir, 'got/one'), 'utf8')).toBe('one\n');
  // A link of the container that leads out of it leads nowhere else either.
  await ctl('exec', 'db', 'ln', '-s', cluster.dir, '/tmp/away');
  const refused = await cluster.tryCtl(['cp', '-p', 'ops', 'site/deep/page', 'db:/tmp/away/page']);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no directory') });
  expect(existsSync(join(cluster.dir, 'page'))).toBe(false);
});

test('scale goes up and down, and up says the file again', async () => {
  const before = (await of('web')).map((row) => row.id);
  await ctl('scale', 'web=4');
  const four = await of('web');
  expect(four.map((row) => row.state)).toEqual(['running', 'running', 'running', 'running']);
  expect(four.map((row) => row.id)).toEqual(expect.arrayContaining(before));
  await cluster.ctl('up', '-f', file);
  await eventually(15_000, async () => expect(await of('web')).toHaveLength(2));
});

test('stop keeps slots and addresses; start brings them back', async () => {
  const before = await of('web');
  await ctl('stop', 'web');
  expect(await of('web')).toEqual([]);
  expect((await rows('--all')).filter((row) => row.service === 'web' && row.desired === 'stop').map((row) => row.state)).toEqual([
    'stopped',
    'stopped',
  ]);
  expect((await of('db'))[0]?.state).toBe('running');
  await ctl('start', 'web');
  const after = await of('web');
  expect(after.map(({ name, node, address, state }) => ({ name, node, address, state }))).toEqual(
    before.map(({ name, node, address, state }) => ({ name, node, address, state })),
  );
  expect(after.map((row) => row.id)).not.toEqual(before.map((row) => row.id));
});

test('restart brings new tasks in the same places, and leaves others alone', async () => {
  const [web, db] = [await of('web'), await of('db')];
  await ctl('restart', 'web');
  const after = await of('web');
  expect(after.map((row) => row.address)).toEqual(web.map((row) => row.address));
  expect(after.filter((row) => web.some((w) => w.id === row.id))).toEqual([]);
  expect((await of('db')).map((row) => row.id)).toEqual(db.map((row) => row.id));
});

test('kill sends any signal; what it ends is restarted by its policy', async () => {
  await ctl('kill', '-s', 'HUP', 'db');
  await eventually(15_000, async () => expect(await ctl('exec', 'db', 'cat', '/tmp/signals')).toBe('hup\n'));
  await ctl('kill', 'web');
  await eventually(15_000, async () => {
    const web = await cluster.json<{ service: string; restarts: number; state: string }[]>('ps', '-p', 'ops', 'web');
    expect(web.map(({ restarts, state }) => [restarts, state])).toEqual([
      [1, 'running'],
      [1, 'running'],
    ]);
  });
});

test('a scale shows in ps --watch and in events as it happens', async () => {
  const events = cluster.startCtl(['events', '-p', 'ops', '--since', '1h', 'web']);
  const ps = cluster.startCtl(['ps', '-p', 'ops', '--watch', 'web']);
  try {
    await eventually(20_000, () => {
      expect(events.said()).toContain('task start ops-web-1');
      expect(ps.said()).toContain('ops-web-2');
    });
    expect(ps.said()).not.toContain('ops-web-5');
    await ctl('scale', 'web=5');
    await eventually(20_000, () => {
      expect(ps.said()).toMatch(/ops-web-5 .*running/);
      expect(events.said()).toMatch(/task create ops-web-5[^]*task start ops-web-5/);
    });
    await ctl('scale', 'web=2');
    await eventually(20_000, () => {
      expect(events.said()).toContain('task destroy ops-web-5');
      const last = ps.said().slice(ps.said().lastIndexOf('NAME'));
      expect(last).toContain('ops-web-2');
      expect(last).not.toContain('ops-web-5');
    });
  } finally {
    await Promise.all([events, ps].map((started) => started.end('SIGINT')));
  }
});

test('wait gives the exit codes of what ends; port and images tell of what runs; pull of what is everywhere does nothing', async () => {
  cluster.write(
    'some.yaml',
    `
name: some
services:
  work: { image: weft-demo:latest, command: [sh, -c, 'sleep 2; exit 3'], restart: 'no' }
  web:
    image: weft-demo:latest
    ports: ['8070:80', '8071:53/udp', { target: 81, published: 8072, mode: host }]
    stop_grace_period: 0s
`,
  );
  await cluster.ctl('up', '-d', '-f', 'some.yaml');
  const some = (...args: string[]) => cluster.tryCtl([args[0] ?? '', '-p', 'some', ...args.slice(1)]);
  expect(await some('wait', 'work')).toMatchObject({ code: 3, stdout: 'some-work-1 3\n' });
  const [web] = await cluster.json<Row[]>('ps', '-p', 'some', 'web');
  expect(web?.state).toBe('running');
  const nodes = await cluster.json<{ name: string; address: string }[]>('node', 'ls');
  const address = nodes.find(({ name }) => name === web?.node)?.address ?? '';
  expect((await some('port', 'web', '80')).stdout).toBe('0.0.0.0:8070\n');
  expect((await some('port', '--protocol', 'udp', 'web', '53')).stdout).toBe('0.0.0.0:8071\n');
  expect((await some('port', 'web', '81')).stdout).toBe(`${address}:8072\n`);
  expect(await some('port', 'web', '82')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('it publishes 80/tcp, 53/udp, 81/tcp'),
  });
  const image = { repository: 'weft-demo', tag: 'latest', digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) };
  expect(await cluster.json<unknown[]>('images', '-p', 'some', 'web')).toMatchObject([
    { container: 'some-web-1', node: web?.node, ...image },
  ]);
  const quiet = (await some('images', '--quiet')).stdout;
  expect(quiet).toMatch(/^sha256:[0-9a-f]{64}\n$/);
  expect(await cluster.tryCtl(['pull', '--policy', 'missing', '-f', 'some.yaml'])).toMatchObject({ code: 0 });
  await cluster.ctl('down', '-p', 'some');
});

test('watch copies a changed file and restarts the tasks in place; what they wrote stays, also when they crash', async () => {
  mkdirSync(join(cluster.dir, 'words'));
  writeFileSync(join(cluster.dir, 'words/word'), 'old\n');
  cluster.write(
    'watched.yaml',
    `
name: watched
services:
  app:
    image: weft-demo:latest
    command: [sh, -c, 'trap "exit 0" TERM; echo began >> /tmp/begun; echo "the word is $$(cat /words/word 2>&1)"; while true; do sleep 0.1; done']
    restart: on-failure:1
    deploy: { replicas: 2 }
    develop: { watch: [{ action: sync+restart, path: ./words, target: /words }] }
  after:
    image: weft-demo:latest
    command: [sh, -c, 'trap "exit 0" TERM; while true; do sleep 0.1; done']
    depends_on: { app: { condition: service_started, restart: true } }
`,
  );
  await cluster.ctl('up', '-f', 'watched.yaml');
  type Line = Row & { restarts: number };
  const tasks = async (service = 'app') => (await cluster.json<Line[]>('ps', '-p', 'watched')).filter((row) => row.service === service);
  const places = (all: readonly Line[]) => all.map(({ id, node, address }) => ({ id, node, address }));
  const begun = (index: string) => cluster.ctl('exec', '-p', 'watched', '--index', index, 'app', 'cat', '/tmp/begun');
  const before = await tasks();
  const watching = cluster.startCtl(['watch', '-f', 'watched.yaml', '--no-up']);
  try {
    await eventually(20_000, () => expect(watching.said()).toContain('watching the files of app'));
    writeFileSync(join(cluster.dir, 'words/word'), 'new\n');
    await eventually(30_000, () => expect(watching.said()).toContain('after: restarted 1 task(s)'));
    expect(watching.said()).toMatch(
      /app: copied word to \/words of 2 task\(s\)\napp: restarting\napp: restarted 2 task\(s\)\nafter: restarting\n/,
    );
  } finally {
    expect(await watching.end('SIGINT')).toBe(0);
  }
  const after = await tasks();
  expect(places(after)).toEqual(places(before));
  expect(after.map(({ restarts, state }) => [restarts, state])).toEqual([
    [1, 'running'],
    [1, 'running'],
  ]);
  for (const index of ['1', '2']) expect(await begun(index)).toBe('began\nbegan\n');
  const logs = await cluster.ctl('logs', '-p', 'watched', 'app');
  expect(logs.match(/the word is new/g)).toHaveLength(2);
  expect((await tasks('after')).map(({ restarts }) => restarts)).toEqual([1]);
  // Of the one restart that its policy allows, none was used.
  await cluster.ctl('kill', '-p', 'watched', 'app');
  await eventually(15_000, async () =>
    expect((await tasks()).map(({ restarts, state }) => `${restarts} ${state}`)).toEqual(['2 running', '2 running']),
  );
  for (const index of ['1', '2']) expect(await begun(index)).toBe('began\nbegan\nbegan\n');
  const events = await cluster.ctl('events', '-p', 'watched', '--since', '1h', '--until', '0s');
  expect(events.match(/task restart watched-app-[12]/g)).toHaveLength(2);
  await cluster.ctl('down', '-p', 'watched');
});

test('top and stats tell of every node', async () => {
  const processes = await cluster.json<{ task: string; node: string; command: string; ppid: number }[]>('top', '-p', 'ops');
  expect([...new Set(processes.map((p) => p.task))].sort()).toEqual(['ops-db-1', 'ops-web-1', 'ops-web-2']);
  expect([...new Set(processes.map((p) => p.node))].length).toBe(2);
  expect(processes.filter((p) => p.command.includes('trap'))).toHaveLength(3);
  const stats = await cluster.json<Record<string, number>[]>('stats', '--no-stream', '-p', 'ops');
  expect(stats).toHaveLength(3);
  for (const row of stats) {
    expect(row).toMatchObject({ error: '', cpuPercent: expect.any(Number) });
    for (const key of ['cpuMs', 'memoryBytes', 'memoryLimitBytes', 'pids']) expect(row[key]).toBeGreaterThan(0);
  }
});

test('events tell what happened, from before too, and how it went on', async () => {
  const seen = (await ctl('events', '--since', '1h', '--until', '0s', '--json'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; action: string; name: string; message: string; sequence: number });
  expect(seen.map((e) => e.sequence)).toEqual(seen.map((e) => e.sequence).sort((a, b) => a - b));
  const lines = seen.map((e) => `${e.kind} ${e.action} ${e.name}: ${e.message}`);
  for (const line of [
    'stack create ops: ',
    'task start ops-web-3: ',
    'task stop ops-web-3: scaled down to 2',
    'task stop ops-web-1: stopped by command',
    'task stop ops-web-2: restarted by command',
    'task destroy ops-web-2: restarted by command',
  ])
    expect(lines).toContain(line);
  expect(lines).toContainEqual(expect.stringMatching(/^task die ops-web-1: exited with code 137/));
});
