import type { ImageConfig } from './image-config.js';
import { buildOciSpec, commandLine, execProcess } from './oci-spec.js';
import type { HostFacts } from './host-facts.js';
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
  expect(Object.keys(process)).toEqual(['terminal', 'user', 'args', 'env', 'cwd', 'capabilities', 'noNewPrivileges']);
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
