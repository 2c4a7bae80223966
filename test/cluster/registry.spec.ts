/** Images from a registry that asks for a password: resolved to a digest once, fetched by every node, credentials kept to that call. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startRegistry, type RegistryProcess } from '../contract/runtime/registry-process.js';
import { eventually, readQuietly, TestCluster } from './cluster.js';

const cluster = new TestCluster('re');
const nodes = ['node1', 'node2'];
let registry: RegistryProcess;
const onNodes: ChildProcess[] = [];

beforeAll(async () => {
  await cluster.up(nodes.length);
  registry = await startRegistry();
  // Plain http is for loopback only: the same registry stands on each node's own.
  for (const node of nodes) {
    onNodes.push(
      spawn('nsenter', [`--net=/run/netns/${cluster.netns(node)}`, '--', 'docker-registry', 'serve', registry.configFile], {
        stdio: 'ignore',
      }),
    );
  }
  await eventually(10_000, () => {
    for (const node of nodes) expect(cluster.onNode(node, 'busybox', 'nc', '-w', '1', ...registry.host.split(':')).code).toBe(0);
  });
}, 180_000);

afterAll(async () => {
  for (const child of onNodes) child.kill('SIGTERM');
  await registry?.destroy();
  await cluster.down();
}, 60_000);

const stack = (tag: string): string =>
  cluster.write(
    'r.yaml',
    `name: r\nservices:\n  app:\n    image: ${registry.host}/team/app:${tag}\n    command: ["sleep", "1000"]\n    stop_grace_period: 0s\n    deploy: {replicas: 2}\n`,
  );

function dockerConfig(name: string, auth: { username: string; password: string } | undefined): string {
  const dir = join(cluster.dir, name);
  mkdirSync(dir, { recursive: true });
  const auths = auth ? { [registry.host]: { auth: Buffer.from(`${auth.username}:${auth.password}`).toString('base64') } } : {};
  cluster.write(`${name}/config.json`, JSON.stringify({ auths }));
  return dir;
}

const up = (file: string, config: string, ...flags: string[]) =>
  cluster.tryCtl(['up', '-f', file, ...flags], { env: { DOCKER_CONFIG: config } });

/** Everything the cluster wrote to disk but image content. */
function everythingWritten(): string {
  const texts: string[] = [];
  const walk = (dir: string): void => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) {
        if (path !== join(cluster.libDir, 'containerd')) walk(path);
      } else if (entry.isFile()) texts.push(readQuietly(path));
    }
  };
  walk(cluster.libDir);
  return texts.join('\n');
}

it('is refused without credentials and with wrong ones, and nothing starts', async () => {
  await registry.push('team/app', '1', { 'etc/version': 'one' });
  const file = stack('1');
  for (const config of [dockerConfig('none', undefined), dockerConfig('wrong', { username: 'reader', password: 'falsch' })]) {
    const { code, stderr } = await up(file, config);
    expect(code).toBe(1);
    expect(stderr).toMatch(/login|credential|password|unauthori[sz]ed|authenticat/i);
    expect(stderr).not.toContain('falsch');
  }
  expect(await cluster.json<unknown[]>('ls')).toEqual([]);
}, 60_000);

it('runs on every node with the credentials of the docker config, which are kept nowhere', async () => {
  const { digest } = await registry.push('team/app', '1', { 'etc/version': 'one' });
  const { code, stderr } = await up(stack('1'), dockerConfig('right', registry.auth));
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const tasks = await cluster.tasks('r');
  expect(new Set(tasks.map((t) => t.node))).toEqual(new Set(nodes));
  expect(tasks.map((t) => t.state)).toEqual(['running', 'running']);
  expect(await cluster.ctl('exec', '-T', '-p', 'r', 'app', 'cat', '/etc/version')).toBe('one');
  expect(await cluster.ctl('image', 'ls', '--format', 'json')).toContain(digest);
  const written = everythingWritten();
  expect(written.length).toBeGreaterThan(1000);
  expect(written).not.toContain(registry.auth.password);
  expect(written).not.toContain(Buffer.from(`${registry.auth.username}:${registry.auth.password}`).toString('base64'));
  const commandLines = readdirSync('/proc')
    .filter((n) => /^\d+$/.test(n))
    .map((pid) => readQuietly(`/proc/${pid}/cmdline`))
    .join('\n');
  expect(commandLines).not.toContain(registry.auth.password);
}, 90_000);

it('a tag that moves changes nothing until the next up with --pull always, which replaces the tasks', async () => {
  const before = await cluster.tasks('r');
  await registry.push('team/app', '1', { 'etc/version': 'two' });
  const config = join(cluster.dir, 'right');
  expect((await up(stack('1'), config)).code).toBe(0);
  expect((await cluster.tasks('r')).map((t) => t.id).sort()).toEqual(before.map((t) => t.id).sort());
  const again = await up(stack('1'), config, '--pull', 'always');
  expect({ code: again.code, stderr: again.stderr }).toMatchObject({ code: 0 });
  expect(await cluster.ctl('exec', '-T', '-p', 'r', 'app', 'cat', '/etc/version')).toBe('two');
  expect((await cluster.tasks('r')).map((t) => t.id).filter((id) => before.some((t) => t.id === id))).toEqual([]);
}, 120_000);

it('pull brings what a file names to every node, and changes nothing that runs', async () => {
  const before = await cluster.tasks('r');
  const { digest } = await registry.push('team/app', '2', { 'etc/version': 'three' });
  const holders = async () =>
    (await cluster.json<{ digest: string; nodes: string }[]>('image', 'ls')).find((i) => i.digest === digest)?.nodes;
  expect(await holders()).toBeUndefined();
  const env = { DOCKER_CONFIG: join(cluster.dir, 'right') };
  const { code, stderr } = await cluster.tryCtl(['pull', '-f', stack('2')], { env });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(await holders()).toBe(nodes.join(','));
  expect((await cluster.tasks('r')).map((t) => t.id)).toEqual(before.map((t) => t.id));
  const unknown = await cluster.tryCtl(['pull', '-f', stack('nosuchtag')], { env });
  expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('nosuchtag') });
  const passing = await cluster.tryCtl(['pull', '--ignore-pull-failures', '-f', stack('nosuchtag')], { env });
  expect(passing).toMatchObject({ code: 0, stderr: expect.stringMatching(/warning: the image of app was not pulled: .*nosuchtag/) });
}, 90_000);

it('an unknown tag is an error that names it', async () => {
  const { code, stderr } = await up(stack('nosuchtag'), join(cluster.dir, 'right'));
  expect(code).toBe(1);
  expect(stderr).toContain('nosuchtag');
}, 60_000);

it('what was asked of the registry can be read in its log: no password in a URL', async () => {
  const log = readFileSync(registry.configFile.replace(/config\.yml$/, 'log'), 'utf8');
  expect(log).not.toContain(encodeURIComponent(registry.auth.password));
});
