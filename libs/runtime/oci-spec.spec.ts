import type { ImageConfig } from './image-config.js';
import { buildOciSpec, commandLine, execProcess } from './oci-spec.js';
import type { HostFacts } from './host-facts.js';
import { ociText, parseOciSpec } from './oci-types.js';
import type { ContainerSpec } from './runtime.js';

const IMAGE: ImageConfig = {
  platform: { os: 'linux', architecture: 'amd64' },
  env: ['A=1', 'bad', '=x'],
  entrypoint: ['/e'],
  cmd: ['c'],
  diffIds: [],
};
const SPEC: ContainerSpec = {
  id: 't1',
  image: 'x',
  env: {},
  hostname: 'h',
  labels: {},
  mounts: [],
  netnsPath: '/run/netns/n',
  stdio: { stdout: '', stderr: '' },
};
const HOST: HostFacts = {
  arch: 'x64',
  kernel: '6.1.0',
  cgroupV2: false,
  swapAccounting: true,
  capabilities: ['CAP_CHOWN'],
  cgroupsPath: '/weft/ns/t1',
  devices: [],
  blockDevices: new Map(),
};
const ROOT = { uid: 0, gid: 0, additionalGids: [] };
const build = (spec: Partial<ContainerSpec> = {}, image: Partial<ImageConfig> = {}, host: Partial<HostFacts> = {}) =>
  buildOciSpec({ ...IMAGE, ...image }, { ...SPEC, ...spec }, ROOT, { ...HOST, ...host });

test('command lines as Docker joins them', () => {
  const line = (spec: Partial<ContainerSpec>) => commandLine(IMAGE, { ...SPEC, ...spec });
  expect(line({})).toEqual(['/e', 'c']);
  expect(line({ command: ['x'] })).toEqual(['/e', 'x']);
  expect(line({ command: [] })).toEqual(['/e']);
  expect(line({ entrypoint: ['y'] })).toEqual(['y']);
  expect(line({ entrypoint: ['y'], command: ['z'] })).toEqual(['y', 'z']);
  for (const spec of [{ entrypoint: [] }, { entrypoint: [''] }])
    expect(() => line(spec)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
});

test('environment', () => {
  expect(build({ env: { A: '2', B: 'x=y' } }).process.env).toEqual([
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOSTNAME=h',
    'A=2',
    'B=x=y',
  ]);
  expect(build({ tty: true }).process.env).toContain('TERM=xterm');
  expect(build({ tty: true }, { env: ['TERM=vt100'] }).process.env).toContain('TERM=vt100');
});

test('no resource limit of processes is touched, no profile of AppArmor set', () => {
  const { process } = build();
  expect(Object.keys(process)).toEqual(['terminal', 'user', 'args', 'env', 'cwd', 'capabilities', 'noNewPrivileges', 'oomScoreAdj']);
  expect(process.capabilities).not.toHaveProperty('inheritable');
});

test('namespaces: the network by path, the cgroup one only where there is one hierarchy', () => {
  expect(build().linux.namespaces).toEqual([
    { type: 'pid' },
    { type: 'ipc' },
    { type: 'uts' },
    { type: 'mount' },
    { type: 'network', path: '/run/netns/n' },
  ]);
  expect(build({}, {}, { cgroupV2: true }).linux.namespaces.map((n) => n.type)).toContain('cgroup');
});

test('limits', () => {
  expect(build().linux.resources).not.toHaveProperty('memory');
  expect(build({ limits: { memoryBytes: 1000, nanoCpus: 1_500_000_000, pids: 5 } }).linux.resources).toMatchObject({
    memory: { limit: 1000 },
    cpu: { quota: 150_000, period: 100_000 },
    pids: { limit: 5 },
  });
  // The kernel takes no quota below a millisecond.
  expect(build({ limits: { nanoCpus: 1 } }).linux.resources.cpu).toEqual({ quota: 1000, period: 100_000 });
});

test('mounts: parents before children, an own one takes the place of a default', () => {
  const { mounts } = build({
    mounts: [
      { type: 'bind', source: '/s/', target: '/data/inner/' },
      { type: 'tmpfs', target: '/dev/shm', sizeBytes: 5, readOnly: true },
      { type: 'bind', source: '/s', target: '/data', readOnly: true },
    ],
  });
  const targets = mounts.map((m) => m.destination);
  expect(targets.filter((t) => t === '/dev/shm')).toHaveLength(1);
  expect(targets.indexOf('/data')).toBeLessThan(targets.indexOf('/data/inner'));
  expect(mounts.find((m) => m.destination === '/dev/shm')?.options).toEqual(['nosuid', 'nodev', 'noexec', 'mode=1777', 'size=5', 'ro']);
  expect(mounts.find((m) => m.destination === '/data')).toEqual({
    destination: '/data',
    type: 'bind',
    source: '/s',
    options: ['rbind', 'rprivate', 'ro'],
  });
});

test('propagation of a bind, and of the root that it is below', () => {
  const bind = (propagation?: 'rslave' | 'shared') => ({ mounts: [{ type: 'bind' as const, source: '/s', target: '/t', propagation }] });
  const optionsOf = (spec: Partial<ContainerSpec>) => build(spec).mounts.find((m) => m.destination === '/t')?.options;
  expect(optionsOf(bind('rslave'))).toEqual(['rbind', 'rslave', 'rw']);
  const below = (recursive: 'disabled' | 'writable' | 'readonly', readOnly = true) =>
    optionsOf({ mounts: [{ type: 'bind', source: '/s', target: '/t', readOnly, recursive, flags: ['nosuid'] }] });
  expect(below('disabled')).toEqual(['bind', 'rprivate', 'ro', 'nosuid']);
  expect(below('writable')).toEqual(['rbind', 'rprivate', 'ro', 'nosuid']);
  expect(below('readonly')).toEqual(['rbind', 'rprivate', 'ro', 'rro', 'nosuid']);
  expect(below('readonly', false)).toEqual(['rbind', 'rprivate', 'rw', 'nosuid']);
  expect(build(bind()).linux).not.toHaveProperty('rootfsPropagation');
  expect(build(bind('rslave')).linux.rootfsPropagation).toBe('rslave');
  expect(build(bind('shared')).linux.rootfsPropagation).toBe('shared');
});

test.each<Partial<ContainerSpec>>([
  { workingDir: 'relative' },
  { workingDir: '/a/../b' },
  { mounts: [{ type: 'bind', target: '/x' }] },
  { mounts: [{ type: 'bind', source: '/a/..', target: '/x' }] },
  { mounts: [{ type: 'tmpfs', target: 'x' }] },
  { capAdd: ['NOPE'] },
  { capDrop: ['NOPE'] },
])('%j is refused', (spec) => {
  expect(() => build(spec)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
});

test('an exec is the container with changes; another user loses what root had', () => {
  const container = build({ env: { B: '1' } }).process;
  const process = execProcess(
    container,
    { containerId: 't1', argv: ['ls'], tty: true, env: { B: '2' }, workingDir: '/w', size: { columns: 80, rows: 24 } },
    { uid: 5, gid: 6, additionalGids: [7] },
  );
  expect(process).toMatchObject({ terminal: true, args: ['ls'], cwd: '/w', consoleSize: { width: 80, height: 24 }, user: { uid: 5 } });
  expect(process.env).toEqual(expect.arrayContaining(['A=1', 'B=2', 'TERM=xterm']));
  expect(process.capabilities).toMatchObject({ effective: [], permitted: [], bounding: container.capabilities.bounding });
});

test('an exec has the limits of the container, and every capability only if it is privileged', () => {
  const { process } = build({ ulimits: { core: { soft: 0, hard: -1 } }, oomScoreAdj: 5, security: { apparmor: 'mine' } });
  const request = { containerId: 't1', argv: ['ls'], tty: false };
  const plain = execProcess(process, request, ROOT);
  expect(plain).toMatchObject({ rlimits: process.rlimits, oomScoreAdj: 5, apparmorProfile: 'mine' });
  // Not what containerd happens to run with.
  expect(build({}).process.oomScoreAdj).toBe(0);
  const privileged = execProcess(process, { ...request, privileged: true }, ROOT, ['CAP_CHOWN', 'CAP_BPF']);
  expect(privileged.capabilities.effective).toEqual(['CAP_CHOWN', 'CAP_BPF']);
  expect(privileged).not.toHaveProperty('apparmorProfile');
});

test('limits of the process go to runc and come back exactly', () => {
  const spec = build({ ulimits: { nofile: { soft: 1024, hard: -1 } }, env: { X: '"\\u0000big:1"' } });
  const text = ociText(spec);
  expect(text).toContain('"rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":18446744073709551615}]');
  expect(parseOciSpec(text)).toEqual(spec);
});

test('a privileged container: all capabilities, no filter, nothing masked, everything writable', () => {
  const spec = build({ privileged: true, security: { noNewPrivileges: true } }, {}, { capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] });
  expect(spec.process.capabilities.bounding).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN']);
  expect(spec.process.noNewPrivileges).toBe(true);
  expect(spec.linux).not.toHaveProperty('seccomp');
  expect([...spec.linux.maskedPaths, ...spec.linux.readonlyPaths]).toEqual([]);
  expect(spec.linux.resources.devices).toEqual([{ allow: true, access: 'rwm' }]);
  expect(spec.mounts.filter((m) => m.options.includes('ro'))).toEqual([]);
  expect(build({ privileged: true, security: { seccomp: '{"defaultAction":"SCMP_ACT_ALLOW"}' } }).linux.seccomp).toMatchObject({
    defaultAction: 'SCMP_ACT_ALLOW',
  });
});

test('namespaces of the node: what is theirs is not set', () => {
  const types = (namespaces: ContainerSpec['namespaces'], host: Partial<HostFacts> = {}) =>
    build({ namespaces }, {}, host).linux.namespaces.map((n) => n.type);
  expect(types({ pid: 'host', ipc: 'host', uts: 'host' })).toEqual(['mount', 'network']);
  expect(types({ cgroup: 'private' })).toContain('cgroup');
  expect(types({ cgroup: 'host' }, { cgroupV2: true })).not.toContain('cgroup');
  expect(build({ namespaces: { uts: 'host' } })).not.toHaveProperty('hostname');
  const shm = (namespaces: ContainerSpec['namespaces'], shmBytes?: number) =>
    build({ namespaces, shmBytes }).mounts.find((m) => m.destination === '/dev/shm');
  expect(shm({ ipc: 'host' })).toMatchObject({ type: 'bind', source: '/dev/shm' });
  expect(shm({ ipc: 'none' })).toBeUndefined();
  expect(shm({}, 5)?.options).toContain('size=5');
});

test('an init stands before the command, and is mounted', () => {
  const spec = build({ init: true }, {}, { initProgram: '/usr/bin/tini-static' });
  expect(spec.process.args).toEqual(['/sbin/docker-init', '--', '/e', 'c']);
  expect(spec.mounts.at(-1)).toEqual({
    destination: '/sbin/docker-init',
    type: 'bind',
    source: '/usr/bin/tini-static',
    options: ['bind', 'ro'],
  });
});

describe('limits of the cgroup', () => {
  const resources = (spec: Partial<ContainerSpec>, host: Partial<HostFacts> = {}) => build(spec, {}, host).linux.resources;

  test('swap: as much again as memory, what was asked for, or nothing where it is not counted', () => {
    expect(resources({ limits: { memoryBytes: 10 } }).memory).toEqual({ limit: 10, swap: 20 });
    expect(resources({ limits: { memoryBytes: 10 }, cgroup: { memorySwapBytes: -1 } }).memory).toEqual({ limit: 10, swap: -1 });
    expect(resources({ limits: { memoryBytes: 10 } }, { swapAccounting: false }).memory).toEqual({ limit: 10 });
    expect(resources({ limits: { memoryReservationBytes: 5 } }).memory).toEqual({ reservation: 5 });
  });
  test('CPU: a number of CPUs counts in the period that is given', () => {
    expect(resources({ limits: { nanoCpus: 500_000_000 }, cgroup: { cpuShares: 2 } }).cpu).toEqual({
      shares: 2,
      quota: 50_000,
      period: 100_000,
    });
    expect(resources({ cgroup: { cpuQuotaUs: 5_000, cpuPeriodUs: 20_000 } }).cpu).toEqual({ quota: 5_000, period: 20_000 });
    expect(resources({ cgroup: { cpuset: '0-1', cpuRtRuntimeUs: 1, cpuRtPeriodUs: 2 } }).cpu).toEqual({
      cpus: '0-1',
      realtimeRuntime: 1,
      realtimePeriod: 2,
    });
  });
  test('devices and rules', () => {
    const node = { path: '/dev/x', type: 'c' as const, major: 9, minor: 8, fileMode: 0o600, uid: 0, gid: 0 };
    const { devices } = resources({ deviceRules: ['b *:7 rw'] }, { devices: [{ node, permissions: 'r' }] });
    expect(devices.slice(3)).toEqual([
      { allow: true, type: 'c', major: 9, minor: 8, access: 'r' },
      { allow: true, type: 'b', major: -1, minor: 7, access: 'rw' },
    ]);
    expect(build({}, {}, { devices: [{ node, permissions: 'r' }] }).linux.devices).toEqual([node]);
  });
  test('rates and weights of block devices', () => {
    const blockDevices = new Map([['/dev/sda', { major: 8, minor: 0 }]]);
    const blockIo = { weight: 20, weightDevice: [{ path: '/dev/sda', weight: 30 }], readIops: [{ path: '/dev/sda', rate: 40 }] };
    expect(resources({ cgroup: { blockIo } }, { blockDevices }).blockIO).toEqual({
      weight: 20,
      weightDevice: [{ major: 8, minor: 0, weight: 30 }],
      throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 40 }],
    });
    expect(() => resources({ cgroup: { blockIo } })).toThrow(/no block device \/dev\/sda/);
  });
  test.each<[string, ContainerSpec['cgroup'], Partial<HostFacts>]>([
    ['mem_swappiness', { memorySwappiness: 1 }, { cgroupV2: true }],
    ['oom_kill_disable', { oomKillDisable: true }, { cgroupV2: true }],
    ['cpu_rt_runtime', { cpuRtRuntimeUs: 1 }, { cgroupV2: true }],
    ['memswap_limit', { memorySwapBytes: -1 }, { swapAccounting: false }],
  ])('%s is refused where the kernel does not have it', (key, cgroup, host) => {
    expect(() => resources({ cgroup }, host)).toThrow(new RegExp(`cannot keep ${key}`));
  });
});
