/** Keys of a service that say how its process is kept: each is looked for in the container itself. Real containerd only. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import type { ContainerSpec, ExecRequest } from '#runtime/runtime.js';
import { findInitProgram } from '#runtime/init-program.js';
import { RealHarness } from './real-harness.js';

let h: RealHarness;
beforeAll(async () => {
  h = await RealHarness.start();
});
afterAll(() => h?.destroy());

const UNIFIED = existsSync('/sys/fs/cgroup/cgroup.controllers');
const ONE_MIB = 1024 * 1024;

const sh = async (script: string, changes: Partial<ContainerSpec>) => (await h.sh(script, changes)).stdout;
/** A file of the container's cgroup, while it runs. */
const inCgroup = async (changes: Partial<ContainerSpec>, files: readonly (readonly [v1: string, v2: string])[]): Promise<string[]> => {
  const id = await h.run({ command: ['sleep', '1000'], ...changes });
  const path = changes.cgroup?.parent ?? `weft/${h.namespace}`;
  try {
    return files.map(([v1, v2]) => {
      const [hierarchy, ...name] = UNIFIED ? ['.', v2] : v1.split('/');
      return readFileSync(`/sys/fs/cgroup/${hierarchy}/${path}/${id}/${name.join('/')}`, 'utf8').trim();
    });
  } finally {
    await h.runtime.remove(id);
  }
};
/** What a command prints that is added to a container. */
const execOutput = async (request: Omit<ExecRequest, 'tty'>): Promise<string> => {
  const session = await h.runtime.exec({ ...request, tty: false });
  session.stdin.end();
  let text = '';
  session.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await session.exited;
  return text;
};
const refusal = async (changes: Partial<ContainerSpec>) => {
  const spec = h.spec(changes);
  const failure = await h.runtime.create(spec).then(
    () => undefined,
    (error: unknown) => error as { code: string; message: string },
  );
  await h.runtime.remove(spec.id);
  expect((await h.runtime.list()).map((c) => c.id)).not.toContain(spec.id);
  return failure;
};

describe('process', () => {
  test('init: process 1 is a small init of the node, which reaps and passes signals on', async () => {
    const init = (await findInitProgram()).split('/').at(-1) ?? '';
    expect(init).not.toBe('');
    const script = 'tr "\\0" "\\n" </proc/1/cmdline | head -n 2; sleep 0.1 & wait; test -x /sbin/docker-init && echo there';
    expect(await sh(script, { init: true })).toBe('/sbin/docker-init\n--\nthere\n');
    const id = await h.run({ init: true, command: ['sleep', '1000'] });
    // A first process without a handler ignores SIGTERM: only the init makes it end.
    expect(await h.runtime.stop(id, { signal: 'SIGTERM', graceMs: 30_000 })).toBe(143);
    await h.runtime.remove(id);
  });

  test('input that stays open, with and without a terminal; else it is empty', async () => {
    expect(await sh('cat; echo "cat ended"', {})).toBe('cat ended\n');
    for (const tty of [false, true]) {
      const spec = h.spec({ tty, command: ['sh', '-c', 'echo begun; read line; echo "read ended"; sleep 1000'] });
      const stdin = `${h.containerd.directory}/stdin-${spec.id}`;
      execFileSync('mkfifo', [stdin]);
      await h.runtime.create({ ...spec, stdio: { ...spec.stdio, stdin } });
      await h.runtime.start(spec.id);
      await h.output(spec.id).waitFor('begun');
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(h.output(spec.id).stdout).not.toContain('read ended');
      // Who writes is heard.
      execFileSync('sh', ['-c', `echo hello > ${stdin}`], { timeout: 10_000 });
      await h.output(spec.id).waitFor('read ended');
      await h.runtime.remove(spec.id);
    }
  });

  test('groups besides its own, for added commands too', async () => {
    expect(await sh('id -G', { user: 'guest:guest', groups: ['extra', '4711'] })).toBe('1000 2000 4711\n');
    const id = await h.run({ command: ['sleep', '1000'], groups: ['4711'] });
    expect(await execOutput({ containerId: id, argv: ['id', '-G'], user: '5:5' })).toBe('5 4711\n');
    await h.runtime.remove(id);
    expect(await refusal({ groups: ['nobody-here'] })).toMatchObject({
      code: 'BAD_VALUE',
      message: expect.stringContaining('nobody-here'),
    });
  });

  test('limits of the process: soft, hard, none', async () => {
    const ulimits = { nofile: { soft: 100, hard: 200 }, core: { soft: 0, hard: -1 }, fsize: { soft: -1, hard: -1 } };
    const text = await sh('cat /proc/self/limits', { ulimits });
    expect(text).toMatch(/^Max open files +100 +200 /m);
    expect(text).toMatch(/^Max file size +unlimited +unlimited /m);
    const id = await h.run({ ulimits, oomScoreAdj: 77, command: ['sleep', '1000'] });
    const added = await execOutput({ containerId: id, argv: ['cat', '/proc/self/limits', '/proc/self/oom_score_adj'] });
    // runc's own start may lift a soft limit of open files to the hard one (Go does so, since 1.19).
    expect(added).toMatch(/^Max open files +\d+ +200 /m);
    expect(added).toMatch(/^Max core file size +0 +unlimited /m);
    expect(added).toMatch(/\n77\n$/);
    await h.runtime.remove(id);
    const raised = await refusal({ ulimits: { nofile: { soft: 2 ** 40, hard: 2 ** 40 } } });
    // More than fs.nr_open is refused to everybody.
    expect(raised).toMatchObject({ code: 'RUNTIME', message: expect.stringMatching(/rlimit/i) });
  });

  test('oom_score_adj', async () => {
    expect(await sh('cat /proc/self/oom_score_adj', { oomScoreAdj: 321 })).toBe('321\n');
    // By its unit containerd is spared by the kernel. Whatever it has itself, what it runs has its own (raised here: not everybody may lower it).
    writeFileSync(`/proc/${h.containerd.pid()}/oom_score_adj`, '300');
    expect(await sh('cat /proc/self/oom_score_adj', {})).toBe('0\n');
  });

  test('annotations are in the runtime’s configuration', async () => {
    const id = await h.run({ command: ['sleep', '1000'], annotations: { 'org.example.note': 'of ours' } });
    const record = execFileSync('ctr', ['-a', h.containerd.socket, '-n', h.namespace, 'container', 'info', id], { encoding: 'utf8' });
    expect((JSON.parse(record) as { Spec: { annotations: unknown } }).Spec.annotations).toEqual({ 'org.example.note': 'of ours' });
    await h.runtime.remove(id);
  });
});

describe('kernel settings', () => {
  test('of the IPC namespace and of the network', async () => {
    const sysctls = { 'kernel.msgmax': '16384', 'fs.mqueue.msg_max': '20', 'net.ipv4.tcp_keepalive_time': '123' };
    const read = 'cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max /proc/sys/net/ipv4/tcp_keepalive_time';
    expect(await sh(read, { sysctls })).toBe('16384\n20\n123\n');
    expect(readFileSync('/proc/sys/net/ipv4/tcp_keepalive_time', 'utf8').trim()).not.toBe('123');
  });
  test.each([
    ['of the whole node', 'vm.swappiness', '10'],
    ['that the kernel does not have', 'net.ipv4.no_such_setting', '1'],
    ['that the kernel does not take', 'net.ipv4.ip_default_ttl', '9999'],
  ])('one %s is an error', async (_what, key, value) => {
    expect(await refusal({ sysctls: { [key]: value } })).toMatchObject({ code: 'RUNTIME' });
  });
});

describe('privileges', () => {
  const status = (field: string) => `grep "^${field}:" /proc/self/status | cut -f2`;

  test('privileged: every capability of the node, no filter, nothing masked, its devices', async () => {
    const own = /^CapBnd:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    const text = await sh(
      [
        status('CapEff'),
        status('Seccomp'),
        'wc -c < /proc/interrupts | grep -qv "^0$" && echo unmasked',
        'mount -t tmpfs x /mnt 2>/dev/null || mkdir -p /tmp/m && mount -t tmpfs x /tmp/m && echo mounted',
        'ls /dev | wc -l',
        'mount | grep " /sys " | grep -q "rw," && echo writable',
      ].join('; '),
      { privileged: true },
    );
    const [capabilities, seccomp, unmasked, mounted, devices, writable] = text.trim().split('\n');
    expect([capabilities, seccomp, unmasked, mounted, writable]).toEqual([own, '0', 'unmasked', 'mounted', 'writable']);
    expect(Number(devices)).toBeGreaterThan(Number((await sh('ls /dev | wc -l', {})).trim()));
  });

  test('a privileged command in a container that is not', async () => {
    const id = await h.run({ command: ['sleep', '1000'] });
    const run = async (privileged: boolean) => {
      const text = await execOutput({ containerId: id, argv: ['grep', 'CapEff', '/proc/self/status'], privileged });
      return BigInt(`0x${text.split('\t')[1]?.trim()}`);
    };
    const [plain, privileged] = [await run(false), await run(true)];
    expect(privileged & plain).toBe(plain);
    expect(privileged).toBeGreaterThan(plain);
    await h.runtime.remove(id);
  });

  test('no-new-privileges, paths of the system, cgroups that can be written', async () => {
    expect(await sh(status('NoNewPrivs'), { security: { noNewPrivileges: true } })).toBe('1\n');
    expect(await sh('wc -c < /proc/interrupts | grep -qv "^0$" && echo unmasked', { security: { allPaths: true } })).toBe('unmasked\n');
    expect(await sh('mount | grep "cgroup" | grep -c "(ro"', {})).not.toBe('0\n');
    expect(await sh('mount | grep " /sys/fs/cgroup/" | grep -c "(ro"', { security: { writableCgroups: true } })).toBe('0\n');
  });

  test('no system call filter, and one of the user’s', async () => {
    expect(await sh(status('Seccomp'), { security: { seccomp: 'unconfined' } })).toBe('0\n');
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] }],
      syscalls: [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
        { names: ['rmdir', 'unlinkat'], action: 'SCMP_ACT_ERRNO', includes: { caps: ['CAP_SYS_ADMIN'] } },
      ],
    };
    const script = 'mkdir /tmp/a 2>&1; touch /tmp/b && rm /tmp/b && echo removed';
    expect(await sh(script, { security: { seccomp: JSON.stringify(profile) } })).toMatch(/Operation not permitted\nremoved\n$/);
  });

  test('a profile of AppArmor that the kernel cannot apply is an error', async () => {
    const found = await refusal({ security: { apparmor: 'no-such-profile-of-weft' } });
    expect(found).toMatchObject({ code: 'RUNTIME', message: expect.stringContaining('appar') });
  });
});

describe('devices', () => {
  const device = { source: '/dev/full', target: '/dev/mine', permissions: 'r' };

  test('one of the node under another name, with the permissions it was given', async () => {
    const script = 'stat -c "%t:%T %F" /dev/mine; head -c 2 /dev/mine | wc -c; echo x 2>/dev/null > /dev/mine || echo "not written"';
    expect(await sh(script, { devices: [device] })).toBe('1:7 character special file\n2\nnot written\n');
  });
  test('a directory stands for what is in it, a link for what it leads to', async () => {
    expect(
      await sh('ls -l /dev/all | grep -c "^c"', { devices: [{ source: '/dev/pts', target: '/dev/all', permissions: 'rwm' }] }),
    ).not.toBe('0\n');
  });
  test('a rule without a node lets the container make one', async () => {
    const script = 'mknod /tmp/loop c 10 237; head -c 1 /tmp/loop 2>&1 | grep -q "not permitted" && echo refused || echo open';
    expect(await sh(script, {})).toBe('refused\n');
    expect(await sh(script, { deviceRules: ['c 10:237 rwm'] })).toBe('open\n');
    expect(await sh(script, { deviceRules: ['c *:* r'] })).toBe('open\n');
  });
  test.each([
    ['a device that the node does not have', '/dev/no-such-device', 'NOT_FOUND'],
    ['a file', '/etc/hostname', 'BAD_VALUE'],
  ])('%s is an error', async (_what, source, code) => {
    expect(await refusal({ devices: [{ ...device, source }] })).toMatchObject({ code, message: expect.stringContaining(source) });
  });
});

describe('memory and file systems', () => {
  test('size of /dev/shm', async () => {
    expect(await sh('df -k /dev/shm | tail -n 1 | tr -s " " | cut -d" " -f2', { shmBytes: 3 * ONE_MIB })).toBe('3072\n');
    expect(await sh('df -k /dev/shm | tail -n 1 | tr -s " " | cut -d" " -f2', {})).toBe('65536\n');
  });
});

describe('namespaces of the node', () => {
  const inode = (kind: string) => execFileSync('readlink', [`/proc/self/ns/${kind}`], { encoding: 'utf8' });

  test.each(['ipc', 'pid', 'uts'] as const)('%s: host', async (kind) => {
    expect(await sh(`readlink /proc/self/ns/${kind}`, { namespaces: { [kind]: 'host' } })).toBe(inode(kind));
    expect(await sh(`readlink /proc/self/ns/${kind}`, {})).not.toBe(inode(kind));
  });
  test('ipc: none has no shared memory', async () => {
    expect(await sh('mount | grep -c /dev/shm', { namespaces: { ipc: 'none' } })).toBe('0\n');
  });
  test('cgroup', async () => {
    expect(await sh('readlink /proc/self/ns/cgroup', { namespaces: { cgroup: 'host' } })).toBe(inode('cgroup'));
    expect(await sh('readlink /proc/self/ns/cgroup', { namespaces: { cgroup: 'private' } })).not.toBe(inode('cgroup'));
  });
});

describe('cgroup', () => {
  test('CPU: shares, quota and period, the CPUs themselves', async () => {
    const cgroup = { cpuShares: 512, cpuQuotaUs: 20_000, cpuPeriodUs: 50_000, cpuset: '0' };
    const found = await inCgroup({ cgroup }, [
      ['cpu/cpu.shares', 'cpu.weight'],
      ['cpu/cpu.cfs_quota_us', 'cpu.max'],
      ['cpu/cpu.cfs_period_us', 'cpu.max'],
      ['cpuset/cpuset.cpus', 'cpuset.cpus'],
    ]);
    expect(found).toEqual(UNIFIED ? ['20', '20000 50000', '20000 50000', '0'] : ['512', '20000', '50000', '0']);
  });

  test('memory: reservation, swap, swappiness, no out-of-memory killer', async () => {
    const limits = { memoryBytes: 32 * ONE_MIB, memoryReservationBytes: 16 * ONE_MIB };
    const v1 = UNIFIED ? {} : { memorySwappiness: 7, oomKillDisable: true };
    const found = await inCgroup({ limits, cgroup: { memorySwapBytes: 48 * ONE_MIB, ...v1 } }, [
      ['memory/memory.soft_limit_in_bytes', 'memory.low'],
      ['memory/memory.memsw.limit_in_bytes', 'memory.swap.max'],
      ...(UNIFIED
        ? []
        : ([
            ['memory/memory.swappiness', ''],
            ['memory/memory.oom_control', ''],
          ] as const)),
    ]);
    expect(found.slice(0, 2)).toEqual([String(16 * ONE_MIB), String((UNIFIED ? 16 : 48) * ONE_MIB)]);
    if (!UNIFIED) expect(found.slice(2)).toEqual(['7', expect.stringContaining('oom_kill_disable 1')]);
  });

  test('with a limit of memory comes as much swap again, as in Docker', async () => {
    const found = await inCgroup({ limits: { memoryBytes: 32 * ONE_MIB } }, [['memory/memory.memsw.limit_in_bytes', 'memory.swap.max']]);
    expect(found).toEqual([String((UNIFIED ? 32 : 64) * ONE_MIB)]);
  });

  test('a parent of the user’s', async () => {
    const parent = `weft-parent-${process.pid}`;
    expect(await inCgroup({ cgroup: { parent }, limits: { pids: 9 } }, [['pids/pids.max', 'pids.max']])).toEqual(['9']);
    const hierarchies = UNIFIED ? ['.'] : readFileSync('/proc/self/cgroup', 'utf8').match(/(?<=:)[a-z_]+(?=:)/g);
    for (const hierarchy of [...(hierarchies ?? []), 'systemd', 'unified']) {
      const path = `/sys/fs/cgroup/${hierarchy}/${parent}`;
      if (existsSync(path)) rmdirSync(path);
    }
  });

  test('a rate of a block device holds: reading and writing take as long as it says', async () => {
    const file = `${h.containerd.directory}/disk`;
    execFileSync('truncate', ['-s', '16M', file]);
    const device = execFileSync('losetup', ['--find', '--show', file], { encoding: 'utf8' }).trim();
    const rate = [{ path: device, rate: ONE_MIB }];
    /** Seconds that 3 MiB take in each direction, past every cache. */
    const seconds = async (blockIo: NonNullable<NonNullable<ContainerSpec['cgroup']>['blockIo']>) => {
      const now = 'cut -d" " -f1 /proc/uptime';
      const copy = (how: string) => `dd ${how} bs=64k count=48 2>/dev/null`;
      const script = [now, copy('if=/dev/disk of=/dev/null iflag=direct'), now, copy('if=/dev/zero of=/dev/disk oflag=direct'), now].join(
        '\n',
      );
      const times = (await sh(script, { devices: [{ source: device, target: '/dev/disk', permissions: 'rw' }], cgroup: { blockIo } }))
        .trim()
        .split('\n')
        .map(Number) as [number, number, number];
      return { read: times[1] - times[0], write: times[2] - times[1] };
    };
    try {
      const free = await seconds({});
      const slow = await seconds({ readBps: rate, writeBps: rate });
      // The first of the three seconds may pass at once.
      expect(slow.read).toBeGreaterThan(1.8);
      expect(slow.write).toBeGreaterThan(1.8);
      expect(free.read + free.write).toBeLessThan(slow.read + slow.write);
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });

  test('what the kernel cannot keep is an error', async () => {
    expect(await refusal({ cgroup: { cpuset: '4095' } })).toMatchObject({ code: 'RUNTIME' });
    expect(await refusal({ cgroup: { blockIo: { readBps: [{ path: '/dev/no-such-disk', rate: 1 }] } } })).toMatchObject({
      code: 'BAD_VALUE',
      message: expect.stringContaining('/dev/no-such-disk'),
    });
    if (!existsSync('/sys/fs/cgroup/cpu/weft/cpu.rt_runtime_us')) return;
    expect(await refusal({ cgroup: { cpuRtRuntimeUs: 900_000 } })).toMatchObject({ code: 'RUNTIME' });
  });
});

test('another runtime than the node has is an error', async () => {
  expect(await refusal({ runtime: 'io.containerd.nosuch.v1' })).toMatchObject({
    code: 'RUNTIME',
    message: expect.stringContaining('nosuch'),
  });
});
