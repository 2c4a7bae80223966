/**
 * What runc is told about a container: a pure function from image config and container spec to an OCI runtime spec (1.0.2). Defaults are
 * Docker's, so that an image that runs there runs here: mounts, masked paths, capabilities, seccomp, environment, how entrypoint and
 * command combine.
 */
import { WeftError } from '#base/errors.js';
import { containerCapabilities, isCapability } from './capabilities.js';
import type { ImageConfig } from './image-config.js';
import type { ContainerSpec, ExecRequest, Mount } from './runtime.js';
import { defaultSeccompProfile } from './seccomp.js';
import type { SeccompProfile } from './seccomp.js';
import type { ResolvedUser } from './user.js';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Period of CPU quotas, as Docker and the kernel have it by default. */
const CPU_PERIOD_US = 100_000;
const NANO_CPUS_PER_CPU = 1e9;

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface OciProcess {
  terminal: boolean;
  consoleSize?: { width: number; height: number };
  user: ResolvedUser;
  args: string[];
  env: string[];
  cwd: string;
  capabilities: { bounding: string[]; effective: string[]; permitted: string[] };
  noNewPrivileges: boolean;
}

export interface OciResources {
  devices: { allow: boolean; access: string; type?: string }[];
  memory?: { limit: number };
  cpu?: { quota: number; period: number };
  pids?: { limit: number };
}

export interface OciSpec {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  hostname: string;
  mounts: OciMount[];
  linux: {
    sysctl?: Record<string, string>;
    cgroupsPath: string;
    namespaces: { type: string; path?: string }[];
    resources: OciResources;
    seccomp: SeccompProfile;
    maskedPaths: string[];
    readonlyPaths: string[];
  };
}

/** What depends on the machine and not on the container. */
export interface HostFacts {
  /** Node's name: x64, arm64. */
  arch: string;
  /** True if the machine has only the unified hierarchy. */
  cgroupV2: boolean;
  /** Capabilities that can be handed out at all: the bounding set of this process. */
  capabilities: string[];
  /** Path under each cgroup hierarchy, e.g. /weft/<namespace>/<id>. */
  cgroupsPath: string;
}

/** @throws BAD_VALUE when there is nothing to run, or for an unknown capability or a path that is not absolute */
export function buildOciSpec(image: ImageConfig, spec: ContainerSpec, user: ResolvedUser, host: HostFacts): OciSpec {
  const capabilities = capabilitiesOf(spec, host.capabilities);
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: spec.tty ?? false,
      user,
      args: commandLine(image, spec),
      env: environment(image, spec),
      cwd: absolute(spec.workingDir || image.workingDir || '/', 'working directory'),
      capabilities: processCapabilities(capabilities, user),
      noNewPrivileges: false,
    },
    root: { path: 'rootfs', readonly: spec.readOnlyRootfs ?? false },
    hostname: spec.hostname,
    mounts: mountsOf(spec.mounts),
    linux: {
      // As a sysctl: runc knows the field of OCI 1.1 from 1.2 on only.
      ...(spec.domainname === undefined ? {} : { sysctl: { 'kernel.domainname': spec.domainname } }),
      cgroupsPath: host.cgroupsPath,
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount', ...(host.cgroupV2 ? ['cgroup'] : [])].map((type) => ({ type })),
        { type: 'network', path: spec.netnsPath },
      ],
      resources: resourcesOf(spec),
      seccomp: defaultSeccompProfile(capabilities, host.arch),
      maskedPaths: [...MASKED_PATHS],
      readonlyPaths: [...READONLY_PATHS],
    },
  };
}

/** Entrypoint and command as Docker joins them: a given entrypoint drops the image's command, a given command replaces it. */
export function commandLine(
  image: Pick<ImageConfig, 'entrypoint' | 'cmd'>,
  spec: Pick<ContainerSpec, 'entrypoint' | 'command' | 'image'>,
): string[] {
  const entrypoint = spec.entrypoint ?? image.entrypoint;
  const command = spec.command ?? (spec.entrypoint ? [] : image.cmd);
  const args = [...entrypoint, ...command];
  if (args.length === 0 || args[0] === '') {
    throw new WeftError('BAD_VALUE', {
      what: `nothing to run in ${spec.image}`,
      why: 'the image names no command and none was given',
      hint: 'Give the service a `command`.',
    });
  }
  return args;
}

/** Docker's defaults, then the image's, then the container's own; later wins. */
function environment(image: ImageConfig, spec: ContainerSpec): string[] {
  const env = new Map([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', spec.hostname],
  ]);
  if (spec.tty) env.set('TERM', 'xterm');
  for (const entry of image.env) {
    const at = entry.indexOf('=');
    if (at > 0) env.set(entry.slice(0, at), entry.slice(at + 1));
  }
  for (const [name, value] of Object.entries(spec.env)) env.set(name, value);
  return [...env].map(([name, value]) => `${name}=${value}`);
}

function capabilitiesOf(spec: ContainerSpec, available: readonly string[]): string[] {
  for (const name of [...(spec.capAdd ?? []), ...(spec.capDrop ?? [])]) {
    if (!isCapability(name))
      throw new WeftError('BAD_VALUE', {
        what: `${JSON.stringify(name.slice(0, 64))} is not a capability`,
        hint: 'See capabilities(7) for the names.',
      });
  }
  return containerCapabilities(spec.capAdd, spec.capDrop, available);
}

/** Root has its set at once; another user has it only as a bound on what setuid programs may gain. Nothing is inheritable (CVE-2022-24769). */
export function processCapabilities(capabilities: string[], user: ResolvedUser): OciProcess['capabilities'] {
  const own = user.uid === 0 ? capabilities : [];
  return { bounding: capabilities, effective: own, permitted: own };
}

function resourcesOf({ limits = {} }: ContainerSpec): OciResources {
  return {
    // Nothing but what runc always allows (null, zero, full, random, urandom, tty, pts), and making nodes that cannot be opened.
    devices: [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', access: 'm' },
      { allow: true, type: 'b', access: 'm' },
    ],
    ...(limits.memoryBytes ? { memory: { limit: limits.memoryBytes } } : {}),
    ...(limits.nanoCpus
      ? { cpu: { quota: Math.max(1000, Math.round((limits.nanoCpus / NANO_CPUS_PER_CPU) * CPU_PERIOD_US)), period: CPU_PERIOD_US } }
      : {}),
    ...(limits.pids ? { pids: { limit: limits.pids } } : {}),
  };
}

const SHM_BYTES = 64 * 1024 * 1024;
const DEV_KIB = 65_536;

const DEFAULT_MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', `size=${DEV_KIB}k`] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${SHM_BYTES}`] },
];

/** Parts of /proc and /sys that tell about, or reach, the host. */
const MASKED_PATHS: readonly string[] = [
  ...['acpi', 'asound', 'interrupts', 'kcore', 'keys', 'latency_stats', 'sched_debug', 'scsi', 'timer_list', 'timer_stats'].map(
    (f) => `/proc/${f}`,
  ),
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const READONLY_PATHS: readonly string[] = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((f) => `/proc/${f}`);

/** Defaults, less those that a mount of the container's own replaces; then its own, parents before children. */
function mountsOf(mounts: readonly Mount[]): OciMount[] {
  const own = mounts.map(ociMount);
  const taken = new Set(own.map((m) => m.destination));
  const depth = (m: OciMount) => m.destination.split('/').filter(Boolean).length;
  return [...DEFAULT_MOUNTS.filter((m) => !taken.has(m.destination)), ...own.sort((a, b) => depth(a) - depth(b))];
}

function ociMount(mount: Mount): OciMount {
  const destination = absolute(mount.target, 'mount target');
  if (mount.type === 'bind') {
    return {
      destination,
      type: 'bind',
      source: absolute(mount.source ?? '', 'mount source'),
      options: ['rbind', 'rprivate', mount.readOnly ? 'ro' : 'rw'],
    };
  }
  const options = ['nosuid', 'nodev', 'noexec', `mode=${(mount.mode ?? 0o1777).toString(8)}`];
  if (mount.sizeBytes) options.push(`size=${mount.sizeBytes}`);
  return { destination, type: 'tmpfs', source: 'tmpfs', options: [...options, mount.readOnly ? 'ro' : 'rw'] };
}

/** Absolute, without `.`, `..`, empty parts and a trailing slash. */
function absolute(path: string, what: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (!path.startsWith('/') || parts.includes('..') || path.includes('\0')) {
    throw new WeftError('BAD_VALUE', { what: `the ${what} ${JSON.stringify(path.slice(0, 256))} is not an absolute path without ".."` });
  }
  return `/${parts.join('/')}`;
}

/** The process that an exec adds: the container's own, with what the request changes. */
export function execProcess(container: OciProcess, request: ExecRequest, user: ResolvedUser): OciProcess {
  const env = new Map(container.env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
  if (request.tty) env.set('TERM', env.get('TERM') ?? 'xterm');
  // HOME is runc's to fill in, for another user than the container's.
  for (const [name, value] of Object.entries(request.env ?? {})) env.set(name, value);
  return {
    terminal: request.tty,
    ...(request.tty && request.size ? { consoleSize: { width: request.size.columns, height: request.size.rows } } : {}),
    user,
    args: request.argv,
    env: [...env].map(([name, value]) => `${name}=${value}`),
    cwd: request.workingDir ? absolute(request.workingDir, 'working directory') : container.cwd,
    capabilities: processCapabilities(container.capabilities.bounding, user),
    noNewPrivileges: container.noNewPrivileges,
  };
}
