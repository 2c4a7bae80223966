/** What a container's process sees and may do: real containerd only. */
import { jest } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packTree } from '#runtime/pack-tree.js';
import type { ContainerSpec } from '#runtime/runtime.js';
import { unpackTree } from '#runtime/unpack-tree.js';
import { makeBusyboxArchive } from './busybox-archive.js';
import type { ArchiveOptions } from './busybox-archive.js';
import { netnsOf } from './containerd-process.js';
import { RealHarness, chunked } from './real-harness.js';

/** Each case starts real processes, on a machine that may be busy. */
jest.setTimeout(60_000);

let h: RealHarness;
beforeAll(async () => {
  h = await RealHarness.start();
}, 60_000);
afterAll(() => h?.destroy(), 60_000);

const load = async (options: Omit<ArchiveOptions, 'format'>): Promise<string> => {
  const [image] = await h.runtime.importImage(chunked(await makeBusyboxArchive({ format: 'docker', ...options })));
  return image?.name ?? '';
};
/** Output of a container that ends by itself. */
const outputOf = async (changes: Partial<ContainerSpec>): Promise<string> => {
  const id = await h.run(changes);
  await h.output(id).waitFor('.\n');
  await h.runtime.remove(id);
  return h.output(id).stdout;
};
const pidOf = async (id: string): Promise<number> => (await h.runtime.list()).find((c) => c.id === id)?.pid ?? 0;

test('stdout and stderr are apart', async () => {
  expect(await h.sh('echo hello; echo oops >&2')).toEqual({ stdout: 'hello\n', stderr: 'oops\n', code: 0 });
});

test('a terminal joins them, and is one', async () => {
  const { stdout, stderr } = await h.sh('tty; echo oops >&2; echo $TERM', { tty: true });
  expect(stdout).toBe('/dev/pts/0\r\noops\r\nxterm\r\n');
  expect(stderr).toBe('');
});

test('files go in and out of a running container, its mounts included, and its links lead nowhere else', async () => {
  const volume = join(h.containerd.directory, 'copied');
  await mkdir(volume, { recursive: true });
  const id = await h.run({ command: ['sleep', '100000'], mounts: [{ type: 'bind', source: volume, target: '/data' }] });
  const root = await h.runtime.openRoot(id);
  try {
    await writeFile(join(root.path, 'tmp/here'), 'inside');
    const pack = () => packTree({ root: root.path, path: '/tmp/here', follow: false, as: 'copy' });
    expect(await unpackTree(pack(), { root: root.path, into: '/data', owner: { uid: 7, gid: 8 } })).toMatchObject({ entries: 1, bytes: 6 });
    expect(await readFile(join(volume, 'copy'), 'utf8')).toBe('inside');
    const { uid, gid } = await stat(join(volume, 'copy'));
    expect([uid, gid]).toEqual([7, 8]);
    await symlink(volume, join(root.path, 'outside'));
    await symlink('/data', join(root.path, 'within'));
    await expect(unpackTree(pack(), { root: root.path, into: '/outside' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await unpackTree(pack(), { root: root.path, into: '/within/new', makeParents: true });
    expect(await readFile(join(volume, 'new/copy'), 'utf8')).toBe('inside');
  } finally {
    await root.close();
    await h.runtime.remove(id);
  }
});

describe('entrypoint and command', () => {
  let image: string;
  beforeAll(async () => {
    image = await load({ name: 'commands:1', config: { Entrypoint: ['echo', 'from-entrypoint'], Cmd: ['from-cmd', '.'] } });
  });
  test.each<[string, Partial<ContainerSpec>, string]>([
    ['both of the image', {}, 'from-entrypoint from-cmd .\n'],
    ['a command replaces the image command', { command: ['given', '.'] }, 'from-entrypoint given .\n'],
    ['an entrypoint drops the image command', { entrypoint: ['echo', 'mine', '.'] }, 'mine .\n'],
    ['both given', { entrypoint: ['echo', 'mine'], command: ['given', '.'] }, 'mine given .\n'],
    ['an empty entrypoint takes it away', { entrypoint: [], command: ['echo', 'bare', '.'] }, 'bare .\n'],
  ])('%s', async (_, changes, expected) => {
    expect(await outputOf({ image, ...changes })).toBe(expected);
  });
  test('nothing to run is refused', async () => {
    await expect(h.runtime.create(h.spec({ entrypoint: [] }))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
});

test('environment: the image has defaults, the container wins', async () => {
  const image = await load({ name: 'env:1', config: { Env: ['PATH=/bin', 'A=image', 'B=image'], WorkingDir: '/var' } });
  const { stdout } = await h.sh('env; pwd', { image, env: { B: 'own', C: 'x=y z' }, hostname: 'web-1' });
  expect(stdout.split('\n')).toEqual(
    expect.arrayContaining(['PATH=/bin', 'A=image', 'B=own', 'C=x=y z', 'HOSTNAME=web-1', 'HOME=/root', '/var']),
  );
});

test('hostname and a working directory that does not exist yet', async () => {
  const { stdout } = await h.sh('hostname; pwd', { hostname: 'web-2', workingDir: '/made/for/it' });
  expect(stdout).toBe('web-2\n/made/for/it\n');
});

describe('user', () => {
  const ids = async (user: string | undefined, image?: string) =>
    (await h.sh('id -u; id -g; id -G', { user, ...(image ? { image } : {}) })).stdout.trim().split('\n');

  test.each([
    [undefined, ['0', '0', '0']],
    ['guest', ['1000', '1000', '1000 2000']],
    ['1000', ['1000', '1000', '1000 2000']],
    ['guest:extra', ['1000', '2000', '2000']],
    ['4000:5000', ['4000', '5000', '5000']],
    ['4000', ['4000', '0', '0']],
  ])('%s', async (user, expected) => {
    expect(await ids(user)).toEqual(expected);
  });
  test('of the image, over several layers, through a symlink', async () => {
    const image = await load({
      name: 'users:1',
      config: { User: 'late' },
      files: { 'etc/passwd': { symlink: '/real/passwd' }, 'etc/group': { symlink: '../real/group' } },
      layers: [{ 'real/passwd': 'late:x:77:78::/:/bin/sh\n' }, { 'real/group': 'g:x:79:late\n' }],
    });
    expect(await ids(undefined, image)).toEqual(['77', '78', '78 79']);
  });
  test('a symlink out of the image leads nowhere', async () => {
    const image = await load({ name: 'users:2', files: { 'etc/passwd': { symlink: '../../../../../../../../../../etc/passwd' } } });
    await expect(h.runtime.create(h.spec({ image, user: 'daemon' }))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
  test('an unknown name is refused and leaves nothing', async () => {
    const spec = h.spec({ user: 'nobody-here' });
    await expect(h.runtime.create(spec)).rejects.toMatchObject({ code: 'BAD_VALUE', what: expect.stringContaining('nobody-here') });
    expect((await h.runtime.list()).map((c) => c.id)).not.toContain(spec.id);
  });
});

test('the network namespace is the one that was given', async () => {
  const path = `/run/netns/${h.netns}`;
  execFileSync('ip', ['-n', h.netns, 'link', 'set', 'lo', 'up']);
  execFileSync('ip', ['-n', h.netns, 'addr', 'add', '10.99.0.1/32', 'dev', 'lo']);
  const id = await h.run({ command: ['sh', '-c', 'ip addr show lo; echo .; sleep 1000'] });
  await h.output(id).waitFor('.\n');
  expect(h.output(id).stdout).toContain('10.99.0.1/32');
  const inode = execFileSync('stat', ['-L', '-c', '%i', path], { encoding: 'utf8' }).trim();
  expect(await netnsOf(await pidOf(id))).toBe(`net:[${inode}]`);
  await h.runtime.remove(id);
});

test('own process, IPC and host-name namespaces', async () => {
  const id = await h.run({ command: ['sleep', '1000'] });
  const pid = await pidOf(id);
  for (const kind of ['pid', 'ipc', 'uts', 'mnt']) {
    const [own, theirs] = await Promise.all(
      ['self', pid].map((p) => execFileSync('readlink', [`/proc/${p}/ns/${kind}`], { encoding: 'utf8' })),
    );
    expect(theirs).not.toBe(own);
  }
  await h.runtime.remove(id);
});

describe('file systems', () => {
  test('a read-only root', async () => {
    const { stdout, code } = await h.sh('touch /x 2>/dev/null || echo refused; touch /dev/shm/y && echo shm', { readOnlyRootfs: true });
    expect(stdout).toBe('refused\nshm\n');
    expect(code).toBe(0);
  });
  test('two containers of one image do not share what they write', async () => {
    await h.sh('echo x > /etc/mark');
    expect((await h.sh('ls /etc/mark 2>/dev/null')).stdout).toBe('');
  });
  test('a container that is made again has what it wrote, and what it removed is gone; with another image it begins anew', async () => {
    const script = 'ls /etc/mark /etc/group 2>/dev/null; echo $MARK >> /etc/mark; rm -f /etc/group; cat /etc/mark; echo .; sleep 1000';
    const how = (mark: string): Partial<ContainerSpec> => ({ command: ['sh', '-c', script], env: { MARK: mark } });
    const said = async (spec: ContainerSpec, make: (spec: ContainerSpec) => Promise<void>): Promise<string> => {
      await make(spec);
      await h.runtime.start(spec.id);
      await h.output(spec.id).waitFor('.\n');
      return h.output(spec.id).stdout;
    };
    const recreate = (spec: ContainerSpec) => h.runtime.recreate(spec);
    const first = h.spec(how('one'));
    const { id } = first;
    expect(await said(first, (spec) => h.runtime.create(spec))).toBe('/etc/group\none\n.\n');
    // Once while it runs, once after its end.
    expect(await said(h.spec({ id, ...how('two') }), recreate)).toBe('/etc/mark\none\ntwo\n.\n');
    await h.runtime.stop(id, { signal: 'KILL', graceMs: 0 });
    expect(await said(h.spec({ id, ...how('three') }), recreate)).toBe('/etc/mark\none\ntwo\nthree\n.\n');
    const image = await load({ name: 'other:1', files: { 'etc/mark': 'of the image\n' } });
    expect(await said(h.spec({ id, image, ...how('four') }), recreate)).toBe('/etc/group\n/etc/mark\nof the image\nfour\n.\n');
    await h.runtime.remove(id);
    expect(await said(h.spec({ id, ...how('five') }), recreate)).toBe('/etc/group\nfive\n.\n');
    await h.runtime.remove(id);
  });
  test('a container that cannot be made again leaves nothing behind', async () => {
    const id = await h.run({ command: ['sleep', '1000'] });
    const broken = h.spec({ id, mounts: [{ type: 'bind', source: '/no/such/place', target: '/x' }] });
    await expect(h.runtime.recreate(broken)).rejects.toMatchObject({ code: 'RUNTIME' });
    expect((await h.runtime.list()).map((c) => c.id)).not.toContain(id);
    const snapshots = execFileSync('ctr', ['-a', h.containerd.socket, '-n', h.namespace, 'snapshots', 'ls'], { encoding: 'utf8' });
    expect(snapshots).not.toMatch(new RegExp(`^${id}\\s`, 'm'));
  });
  test('binds, a single file, tmpfs', async () => {
    const directory = join(h.containerd.directory, 'volume');
    await mkdir(join(directory, 'inner'), { recursive: true });
    await writeFile(join(directory, 'hosts'), '10.0.0.9 db\n');
    const { stdout } = await h.sh(
      'echo written > /data/file; cat /etc/hosts; touch /ro/x 2>/dev/null || echo ro; mount | grep " /scratch "; stat -c %a /scratch; echo x > /data/tmp/y',
      {
        mounts: [
          { type: 'bind', source: `${directory}/inner`, target: '/data/tmp/' },
          { type: 'bind', source: directory, target: '/data' },
          { type: 'bind', source: directory, target: '/ro', readOnly: true },
          { type: 'bind', source: `${directory}/hosts`, target: '/etc/hosts', readOnly: true },
          { type: 'tmpfs', target: '/scratch', sizeBytes: 1024 * 1024, mode: 0o700 },
        ],
      },
    );
    expect(stdout).toContain('10.0.0.9 db\nro\n');
    expect(stdout).toMatch(/tmpfs on \/scratch type tmpfs \(.*nosuid,nodev,noexec.*size=1024k/);
    expect(stdout).toMatch(/^700$/m);
    expect(await readFile(join(directory, 'file'), 'utf8')).toBe('written\n');
    expect(existsSync(join(directory, 'inner/y'))).toBe(true);
  });
  test('a new volume begins with what the image has there, owners included; one that is in use does not change', async () => {
    const image = await load({
      name: 'seed:1',
      files: { 'srv/data/deep/file': 'of the image', link: { symlink: 'srv/data' }, 'srv/data/out': { symlink: '/etc/shadow' } },
    });
    const source = join(h.containerd.directory, 'seeded');
    await mkdir(source);
    const mounts = [{ type: 'bind' as const, source, target: '/link', seed: true }];
    const { stdout } = await h.sh(
      'cat /link/deep/file; readlink /link/out; chown guest /link; chmod 700 /link; echo changed > /link/deep/file',
      { image, mounts },
    );
    expect(stdout).toBe('of the image/etc/shadow\n');
    expect((await h.sh('cat /link/deep/file; stat -L -c "%u %a" /link', { image, mounts })).stdout).toBe('changed\n1000 700\n');
    const away = join(h.containerd.directory, 'seeded-owner');
    await mkdir(away);
    const again = [{ type: 'bind' as const, source: away, target: '/tmp', seed: true }];
    expect((await h.sh('stat -c "%u %a" /tmp; echo x > /tmp/mine && echo written', { mounts: again, user: 'guest' })).stdout).toBe(
      '0 1777\nwritten\n',
    );
    const none = [{ type: 'bind' as const, source: join(h.containerd.directory, 'stdio-none'), target: '/not/in/the/image', seed: true }];
    await mkdir(none[0]?.source as string);
    expect((await h.sh('ls /not/in/the/image', { mounts: none })).stdout).toBe('');
  });
  test.each(['relative/path', '/a/../b'])('the target %s is refused', async (target) => {
    await expect(h.runtime.create(h.spec({ mounts: [{ type: 'tmpfs', target }] }))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
  test('the host shows through neither /proc nor /sys', async () => {
    const { stdout } = await h.sh(
      'wc -c < /proc/interrupts; echo 1 > /proc/sys/kernel/panic 2>/dev/null || echo sysctl; mkdir /sys/x 2>/dev/null || echo sys; ls /sys/firmware | wc -l',
    );
    expect(stdout).toBe('0\nsysctl\nsys\n0\n');
  });
});

describe('privileges', () => {
  const status = async (changes: Partial<ContainerSpec>) => {
    const { stdout } = await h.sh('cat /proc/self/status', changes);
    return (field: string) => new RegExp(`^${field}:\\s*(\\S+)$`, 'm').exec(stdout)?.[1];
  };
  /** Docker's fourteen. */
  const DEFAULT = '00000000a80425fb';

  test('capabilities like Docker', async () => {
    const field = await status({});
    expect([field('CapBnd'), field('CapEff'), field('CapPrm'), field('CapInh'), field('CapAmb')]).toEqual([
      DEFAULT,
      DEFAULT,
      DEFAULT,
      '0000000000000000',
      '0000000000000000',
    ]);
  });
  test('another user has them only as a bound', async () => {
    const field = await status({ user: 'guest' });
    expect([field('CapBnd'), field('CapEff')]).toEqual([DEFAULT, '0000000000000000']);
  });
  test('added and dropped', async () => {
    const field = await status({ capAdd: ['net_admin'], capDrop: ['CAP_CHOWN'] });
    expect(field('CapEff')).toBe((BigInt(`0x${DEFAULT}`) + (1n << 12n) - 1n).toString(16).padStart(16, '0'));
    expect((await status({ capDrop: ['ALL'], capAdd: ['CHOWN'] }))('CapEff')).toBe('0000000000000001');
  });
  test('an unknown capability is refused', async () => {
    await expect(h.runtime.create(h.spec({ capAdd: ['FLY'] }))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
  test('the system call filter is on, and turns away what makes namespaces and mounts', async () => {
    const field = await status({});
    expect(field('Seccomp')).toBe('2');
    expect(field('NoNewPrivs')).toBe('0');
    const { stdout } = await h.sh('unshare -U true 2>&1; unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1');
    expect(stdout.match(/Operation not permitted|permission denied/gi)).toHaveLength(3);
  });
  test('SYS_ADMIN opens the filter for what it is about', async () => {
    const { stdout } = await h.sh('unshare -m true && mount -t tmpfs x /tmp && echo mounted', { capAdd: ['SYS_ADMIN'] });
    expect(stdout).toBe('mounted\n');
  });
  test('device nodes can be made but not opened', async () => {
    const { stdout } = await h.sh(
      'mknod /tmp/disk b 254 0 && echo made; head -c 1 /tmp/disk 2>/dev/null || echo refused; head -c 3 /dev/zero | wc -c',
    );
    expect(stdout).toBe('made\nrefused\n3\n');
  });
});

test('limits are in the cgroup, and the kernel enforces memory', async () => {
  const id = await h.run({ command: ['sleep', '1000'], limits: { memoryBytes: 32 * 1024 * 1024, nanoCpus: 500_000_000, pids: 17 } });
  const read = (hierarchy: string, file: string) =>
    readFile(`/sys/fs/cgroup/${hierarchy}/weft/${h.namespace}/${id}/${file}`, 'utf8').then((t) => t.trim());
  const unified = existsSync('/sys/fs/cgroup/cgroup.controllers');
  expect(await (unified ? read('.', 'memory.max') : read('memory', 'memory.limit_in_bytes'))).toBe(String(32 * 1024 * 1024));
  expect(await (unified ? read('.', 'cpu.max') : read('cpu', 'cpu.cfs_quota_us'))).toBe(unified ? '50000 100000' : '50000');
  expect(await read(unified ? '.' : 'pids', 'pids.max')).toBe('17');
  await h.runtime.remove(id);
  const { stdout } = await h.sh('dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo "dd $?"', {
    limits: { memoryBytes: 16 * 1024 * 1024 },
  });
  expect(stdout).toBe('dd 137\n');
});

test.each([
  [['no-such-program'], 127, /no-such-program/],
  [['/no/such/program'], 127, /no such file/],
  [['/etc/passwd'], 126, /permission denied/i],
])('a command that cannot run (%s) says so and leaves nothing', async (command, exit, reason) => {
  const spec = h.spec({ command });
  const failure = h.runtime.create(spec).then(() => h.runtime.start(spec.id));
  await expect(failure).rejects.toMatchObject({
    exit,
    why: expect.stringMatching(reason),
    // Who it is about is said by who asks, in words a person knows: not by an id.
    what: 'cannot create the container',
  });
  await h.runtime.remove(spec.id);
  expect((await h.runtime.list()).map((c) => c.id)).not.toContain(spec.id);
});

test('a missing bind source or namespace is an error, not an empty directory', async () => {
  await expect(h.runtime.create(h.spec({ mounts: [{ type: 'bind', source: '/no/such/place', target: '/x' }] }))).rejects.toMatchObject({
    code: 'RUNTIME',
  });
  await expect(h.runtime.create(h.spec({ netnsPath: '/run/netns/no-such' }))).rejects.toMatchObject({ code: 'RUNTIME' });
  expect(await h.runtime.list()).toEqual([]);
});
