/** Configs, secrets and files from beside the compose file are in the containers as the file says; secrets are nowhere else. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, readQuietly, sh, TestCluster, type TaskLine } from './cluster.js';

const SECRET = 'correct-horse-battery';
const CHANGED = 'staple-of-the-stable';

const VAULT = (config: string): string => `
name: vault
services:
  web:
    image: weft-demo
    user: '1234:4321'
    stop_grace_period: 1s
    configs:
      - { source: app, target: /etc/app.conf, uid: '1234', gid: '4321', mode: 0440 }
      - plain
    secrets:
      - { source: key, uid: '1234', mode: 0400 }
      - { source: shared, target: /etc/shared }
  other: { image: weft-demo, stop_grace_period: 1s }
configs:
  app: { file: ./app.conf }
  plain: { content: "${config}" }
secrets:
  key: { environment: KEY }
  shared: { external: true }
`;

describe('files', () => {
  const cluster = new TestCluster('files');
  const tasks = (stack: string) => cluster.json<TaskLine[]>('ps', '-p', stack);
  const inside = (stack: string, service: string, script: string) => cluster.ctl('exec', '-T', '-p', stack, service, 'sh', '-c', script);
  const task = async (stack: string, service: string) => (await tasks(stack)).find((t) => t.service === service) as TaskLine;
  const up = (key: string, ...more: string[]) => cluster.tryCtl(['up', '-f', 'vault.yaml', ...more], { env: { KEY: key } });
  const secretsOf = (node: string) => join(cluster.runDir, node, 'secrets');

  beforeAll(async () => {
    await cluster.up(2);
    cluster.write('app.conf', 'port 80\n');
    cluster.write('vault.yaml', VAULT('made of $$X'));
  }, 240_000);
  afterAll(() => cluster.down(), 120_000);

  it('of configs and secrets have content, owner, mode and place', async () => {
    const missing = await up(SECRET);
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no secret shared, which stack vault calls external'),
    });
    await cluster.tryCtl(['secret', 'create', 'shared', '-'], { input: 'of no stack' });
    const { code, stderr, stdout } = await up(SECRET);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    expect(stdout + stderr).not.toContain(SECRET);
    expect(await inside('vault', 'web', 'cat /etc/app.conf /plain /run/secrets/key /etc/shared')).toBe(
      `port 80\nmade of $X${SECRET}of no stack`,
    );
    expect(await inside('vault', 'web', 'stat -c "%u %g %a" /etc/app.conf /plain /run/secrets/key /etc/shared')).toBe(
      '1234 4321 440\n0 0 444\n1234 0 400\n0 0 444\n',
    );
    expect(await inside('vault', 'web', 'echo x > /run/secrets/key; echo x > /etc/app.conf; true 2>&1')).toBe('');
    expect(await inside('vault', 'web', 'cat /run/secrets/key')).toBe(SECRET);
  }, 120_000);

  it('of secrets are in memory on the nodes that need them, for root alone, and gone with their task', async () => {
    const web = await task('vault', 'web');
    const [dir] = readdirSync(secretsOf(web.node)).map((id) => join(secretsOf(web.node), id));
    expect(dir?.endsWith(web.id)).toBe(true);
    expect(sh('stat', '-f', '-c', '%T', dir ?? '').stdout.trim()).toBe('tmpfs');
    expect(sh('stat', '-c', '%a %U', secretsOf(web.node), dir ?? '').stdout).toBe('700 root\n700 root\n');
    const away = ['node1', 'node2'].find((node) => node !== web.node) as string;
    const other = await task('vault', 'other');
    expect(other.node === away || readdirSync(secretsOf(web.node)).length === 1).toBe(true);
    expect(sh('ls', secretsOf(away)).stdout).toBe('');
  });

  it('of secrets are in clear nowhere: no file of the cluster, no log, no plan, no listing', async () => {
    // grep finds what is there to be found: the config, in the files of its task.
    expect(sh('grep', '-rlF', 'port 80', cluster.libDir).stdout).toContain('/configs/');
    for (const secret of [SECRET, Buffer.from(SECRET).toString('base64').slice(0, 20)])
      expect(sh('grep', '-rlaF', secret, cluster.libDir)).toMatchObject({ code: 1, stdout: '' });
    const listed = await cluster.json<{ name: string; stack: string }[]>('secret', 'ls');
    expect(listed.map(({ name, stack }) => `${stack}/${name}`).sort()).toEqual(['/shared', 'vault/vault_key']);
    const plan = await up(CHANGED, '--dry-run');
    expect(plan.stdout).toContain('secret key changed (content)');
    expect(plan.stdout + plan.stderr + JSON.stringify(listed)).not.toMatch(new RegExp(`${SECRET}|${CHANGED}`));
    // The containers of this cluster know it as a file, not as an argument or a variable.
    const pid = cluster.pidOf((await task('vault', 'web')).id);
    expect(readQuietly(`/proc/${pid}/environ`)).not.toContain(SECRET);
  }, 60_000);

  it('are there again for a container that is made anew while no controller answers', async () => {
    const { id } = await task('vault', 'web');
    const [controller] = cluster.pids('controller/main.js');
    process.kill(controller ?? 0, 'SIGSTOP');
    try {
      const before = cluster.pidOf(id);
      process.kill(before, 'SIGKILL');
      await eventually(30_000, () => {
        const pid = cluster.pidOf(id);
        expect(pid).not.toBe(before);
        expect(readFileSync(`/proc/${pid}/root/run/secrets/key`, 'utf8')).toBe(SECRET);
      });
    } finally {
      process.kill(controller ?? 0, 'SIGCONT');
    }
  }, 60_000);

  it('that change roll the services that use them, and no others', async () => {
    const before = { web: await task('vault', 'web'), other: await task('vault', 'other') };
    expect(await up(SECRET)).toMatchObject({ code: 0, stderr: expect.stringContaining('nothing to change') });
    cluster.write('app.conf', 'port 81\n');
    expect(await up(CHANGED)).toMatchObject({ code: 0 });
    const after = { web: await task('vault', 'web'), other: await task('vault', 'other') };
    expect(after.web.id).not.toBe(before.web.id);
    expect(after.other.id).toBe(before.other.id);
    expect(await inside('vault', 'web', 'cat /etc/app.conf /run/secrets/key')).toBe(`port 81\n${CHANGED}`);
    await eventually(10_000, () => expect(readdirSync(secretsOf(before.web.node))).not.toContain(before.web.id));
    await cluster.ctl('rollback', 'vault', 'web');
    await eventually(30_000, async () => expect(await inside('vault', 'web', 'cat /run/secrets/key')).toBe(SECRET));
    await cluster.ctl('down', '-p', 'vault');
    for (const node of ['node1', 'node2']) expect(sh('ls', secretsOf(node)).stdout).toBe('');
    await cluster.ctl('secret', 'rm', 'shared');
  }, 120_000);

  it('from beside the compose file travel, with modes and links; a changed one rolls the service', async () => {
    mkdirSync(join(cluster.dir, 'site/sub'), { recursive: true });
    cluster.write('site/index', 'first');
    cluster.write('site/sub/run', '#!/bin/sh\necho ran\n');
    chmodSync(join(cluster.dir, 'site/sub/run'), 0o750);
    symlinkSync('sub/run', join(cluster.dir, 'site/link'));
    const text = (mounts: string): string =>
      `name: beside\nservices:\n  web:\n    image: weft-demo\n    user: root\n    stop_grace_period: 1s\n    volumes:\n${mounts}  other: { image: weft-demo }\n`;
    const seed = '      - { type: bind, source: ./site, target: /own, x-weft: { seed: true, uid: 1000 } }\n';
    cluster.write('beside.yaml', text(`      - ./site:/site\n      - ./site/index:/index\n${seed}`));
    await cluster.ctl('up', '-f', 'beside.yaml');
    expect(await inside('beside', 'web', 'cat /index /site/index; /site/link; stat -c "%a %u" /site/sub/run')).toBe(
      'firstfirstran\n750 0\n',
    );
    expect(await inside('beside', 'web', 'touch /site/x /index 2>&1; echo mine > /own/index; stat -c %u /own/index /own/sub')).toBe(
      'touch: /site/x: Read-only file system\ntouch: /index: Read-only file system\n1000\n1000\n',
    );
    const before = { web: await task('beside', 'web'), other: await task('beside', 'other') };
    process.kill(cluster.pidOf(before.web.id), 'SIGKILL');
    await eventually(20_000, async () => expect(await inside('beside', 'web', 'cat /own/index /site/index')).toBe('mine\nfirst'));
    expect((await cluster.tryCtl(['up', '-f', 'beside.yaml'])).stderr).toContain('nothing to change');
    cluster.write('site/index', 'second');
    const { stderr } = await cluster.tryCtl(['up', '-f', 'beside.yaml']);
    expect(stderr).toContain('file site at /site changed (content)');
    expect(await inside('beside', 'web', 'cat /index /own/index')).toBe('secondsecond');
    expect((await task('beside', 'web')).id).not.toBe(before.web.id);
    expect((await task('beside', 'other')).id).toBe(before.other.id);
    await cluster.ctl('down', '-p', 'beside');
    cluster.write('gone.yaml', 'services:\n  web:\n    image: weft-demo\n    volumes: [./site:/site, ./nowhere:/x]\n');
    expect(await cluster.tryCtl(['up', '-f', 'gone.yaml'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`gone.yaml:4:29: services.web.volumes[1].source: there is no ${cluster.dir}/nowhere`),
    });
  }, 120_000);

  it('of named volumes are on one node: a stack that was down finds them again, and they go by command only', async () => {
    const text = (replicas: number, more = ''): string =>
      `name: kept\nservices:\n${more}  db:\n    image: weft-demo\n    user: root\n    stop_grace_period: 0s\n    volumes: ['data:/data']\n    deploy: { replicas: ${replicas} }\nvolumes: { data: {} }\n`;
    cluster.write('kept.yaml', text(2));
    await cluster.ctl('up', '-f', 'kept.yaml');
    const [first, second] = await tasks('kept');
    expect(second?.node).toBe(first?.node);
    await inside('kept', 'db', 'echo kept > /data/file');
    await cluster.ctl('down', '-p', 'kept');
    expect(await cluster.json('volume', 'ls')).toMatchObject([{ name: 'kept_data', stack: 'kept', node: first?.node, usedBy: '' }]);
    // The other node is the one with less to do.
    cluster.write(
      'busy.yaml',
      `name: busy\nservices:\n  a: { image: weft-demo, stop_grace_period: 0s, deploy: { placement: { constraints: [node.hostname == ${first?.node}] } } }\n`,
    );
    await cluster.ctl('up', '-f', 'busy.yaml');
    cluster.write('kept.yaml', text(1));
    await cluster.ctl('up', '-f', 'kept.yaml');
    expect((await tasks('kept')).map((t) => t.node)).toEqual([first?.node]);
    expect(await inside('kept', 'db', 'cat /data/file')).toBe('kept\n');
    // Whoever mounts what another does is put beside it.
    cluster.write('kept.yaml', text(1, `  twin: { image: weft-demo, user: root, stop_grace_period: 0s, volumes_from: ['db:ro'] }\n`));
    await cluster.ctl('up', '-f', 'kept.yaml');
    expect((await task('kept', 'twin')).node).toBe(first?.node);
    expect(await inside('kept', 'twin', 'cat /data/file; echo x 2>/dev/null > /data/file || echo "not written"')).toBe(
      'kept\nnot written\n',
    );
    expect(await cluster.tryCtl(['volume', 'rm', 'kept_data'])).toMatchObject({ code: 1, stderr: expect.stringContaining('is in use') });
    await cluster.ctl('down', '-p', 'kept');
    await cluster.ctl('volume', 'rm', 'kept_data');
    expect(sh('find', cluster.libDir, '-name', 'kept_data').stdout).toBe('');
    expect(await cluster.json('volume', 'ls')).toEqual([]);
  }, 120_000);

  it('of volumes with driver_opts are where these say: in memory, in a directory of the node; a server that is not there is told', async () => {
    mkdirSync(join(cluster.dir, 'device'));
    cluster.write('device/file', 'of the node');
    const text = (volumes: string): string =>
      `name: opts\nservices:\n  db:\n    image: weft-demo\n    user: root\n    stop_grace_period: 0s\n    deploy: { replicas: 2 }\n    volumes: ['data:/cache']\nvolumes:\n  data: { driver_opts: { ${volumes} } }\n`;
    const mounted = () =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .filter((line) => line.includes(`${cluster.runDir}/`) && line.includes('opts_data@'));

    cluster.write('opts.yaml', text("type: tmpfs, device: tmpfs, o: 'size=1m,mode=0750,uid=1000'"));
    await cluster.ctl('up', '-f', 'opts.yaml');
    expect(
      await inside(
        'opts',
        'db',
        'stat -c "%u %a" /cache; stat -f -c %T /cache; df -k /cache | tail -1 | tr -s " " | cut -d " " -f 2; echo one > /cache/x',
      ),
    ).toBe('1000 750\ntmpfs\n1024\n');
    const [first, second] = await tasks('opts');
    expect(second?.node).toBe(first?.node);
    for (const { id } of await tasks('opts')) expect(readFileSync(`/proc/${cluster.pidOf(id)}/root/cache/x`, 'utf8')).toBe('one\n');
    expect(mounted()).toHaveLength(1);
    expect(await cluster.tryCtl(['up', '-f', 'opts.yaml'])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('nothing to change'),
    });
    process.kill(cluster.pidOf(first?.id ?? ''), 'SIGKILL');
    await eventually(20_000, () => expect(readFileSync(`/proc/${cluster.pidOf(first?.id ?? '')}/root/cache/x`, 'utf8')).toBe('one\n'));

    cluster.write('opts.yaml', text(`type: none, o: bind, device: ${cluster.dir}/device`));
    const other = await cluster.tryCtl(['up', '-f', 'opts.yaml']);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('there is a volume opts_data already, and it is another one') });
    await cluster.ctl('down', '-p', 'opts');
    expect(mounted()).toEqual([]);
    await cluster.ctl('volume', 'rm', 'opts_data');

    await cluster.ctl('up', '-f', 'opts.yaml');
    expect(await inside('opts', 'db', 'cat /cache/file; echo new > /cache/new')).toBe('of the node');
    await cluster.ctl('down', '-p', 'opts');
    await cluster.ctl('volume', 'rm', 'opts_data');
    expect(readFileSync(join(cluster.dir, 'device/new'), 'utf8')).toBe('new\n');

    // No server here, and mostly no nfs in the kernel either: what a mount asks for is in the unit specs, what people see is here.
    cluster.write('opts.yaml', text("type: nfs, o: 'addr=127.0.0.1,nolock,soft,timeo=5,retrans=0', device: ':/export'"));
    await cluster.ctl('up', '-f', 'opts.yaml', '--detach');
    await eventually(60_000, async () => {
      const [task] = await cluster.json<(TaskLine & { message: string })[]>('ps', '-p', 'opts');
      expect(task?.message).toMatch(/^volume opts_data cannot be mounted on node node\d: nfs :\/export \(addr=127\.0\.0\.1, nolock/);
    });
    expect(await cluster.json('volume', 'ls')).toMatchObject([{ name: 'opts_data', node: '' }]);
    await cluster.ctl('down', '-p', 'opts');
    await cluster.ctl('volume', 'rm', 'opts_data');
  }, 180_000);

  it('of volumes in part, and of nodes with what is mounted below them, are as the file says; none is made in silence', async () => {
    const host = join(cluster.dir, 'host');
    mkdirSync(join(host, 'below'), { recursive: true });
    const long = (target: string, bind: string): string =>
      `      - { type: bind, source: ${host}, target: /${target}, read_only: true, bind: { ${bind} } }\n`;
    const text = (mounts: string): string =>
      `name: parts\nservices:\n  web:\n    image: weft-demo\n    user: root\n    stop_grace_period: 0s\n    volumes:\n${mounts}volumes: { v: {} }\n`;
    const up = (mounts: string, ...more: string[]) => {
      cluster.write('parts.yaml', text(mounts));
      return cluster.tryCtl(['up', '-f', 'parts.yaml', ...more]);
    };

    const gone = `      - { type: bind, source: ${host}/gone, target: /gone, bind: { create_host_path: false } }\n`;
    expect(await up(gone)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/nothing was changed\nwhy: +service web: there is no \S+\/host\/gone on node1, node2\n/),
    });
    expect(await cluster.ctl('ls')).not.toContain('parts');
    const made = `      - ${host}/made/here:/made\n      - v:/v\n`;
    const said = `${host}/made/here is not there on node1, node2: the directory is made where a task mounts it`;
    expect((await up(made, '--dry-run')).stdout).toContain(said);
    expect(readdirSync(host)).toEqual(['below']);
    const { code, stderr } = await up(made);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(said) });
    expect(readdirSync(join(host, 'made'))).toEqual(['here']);
    // More tasks ask as much as `up` does.
    rmdirSync(join(host, 'made/here'));
    const scaled = await cluster.tryCtl(['scale', '-p', 'parts', 'web=2']);
    const where = expect.stringMatching(/host\/made\/here is not there on node\d: the directory is made where a task mounts it/);
    expect(scaled).toMatchObject({ code: 0, stderr: where });
    expect(readdirSync(join(host, 'made'))).toEqual(['here']);
    await inside('parts', 'web', 'mkdir -p /v/a/b; echo part > /v/a/b/file; ln -s / /v/out');

    sh('mount', '-t', 'tmpfs', 'tmpfs', join(host, 'below'));
    try {
      cluster.write('host/below/file', 'below\n');
      const part = (subpath: string): string => `      - { type: volume, source: v, target: /part, volume: { subpath: ${subpath} } }\n`;
      const below = long('on', 'recursive: readonly') + long('off', 'recursive: disabled') + long('open', 'recursive: writable');
      expect(await up(part('a/b') + below)).toMatchObject({ code: 0 });
      expect(await inside('parts', 'web', 'ls /part /off/below; cat /part/file /on/below/file /open/below/file')).toBe(
        '/off/below:\n\n/part:\nfile\npart\nbelow\nbelow\n',
      );
      expect(await inside('parts', 'web', 'touch /on/x /on/below/x /off/x /open/x 2>&1; touch /open/below/x && echo written')).toMatch(
        /^touch: \/on\/x: Read-only.*\ntouch: \/on\/below\/x: Read-only.*\ntouch: \/off\/x: Read-only.*\ntouch: \/open\/x: Read-only.*\nwritten\n$/,
      );
      for (const subpath of ['a/none', 'out/etc/passwd']) {
        await up(part(subpath), '--detach');
        await eventually(60_000, async () => {
          const [task] = await cluster.json<(TaskLine & { message: string })[]>('ps', '-p', 'parts');
          expect(task?.message).toMatch(new RegExp(`^volume parts_v has no "${subpath}" in it on node node\\d`));
        });
      }
    } finally {
      sh('umount', join(host, 'below'));
    }
    await cluster.ctl('down', '-p', 'parts');
    await cluster.ctl('volume', 'rm', 'parts_v');
    for (const node of ['node1', 'node2'])
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`${join(cluster.runDir, node)}/volumes/`);
  }, 300_000);
});
