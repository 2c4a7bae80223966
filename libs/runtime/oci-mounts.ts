/** What is mounted in a container, and what of /proc and /sys it does not see. Pure. */
import { WeftError } from '#base/errors.js';
import type { OciMount } from './oci-types.js';
import type { ContainerSpec, Mount } from './runtime.js';

const SHM_BYTES = 64 * 1024 * 1024;
const DEV_KIB = 65_536;
/** Where Docker has it, too. */
export const INIT_PATH = '/sbin/docker-init';

const SHM: OciMount = { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777'] };

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
  SHM,
];

/** Parts of /proc and /sys that tell about, or reach, the host. */
export const MASKED_PATHS: readonly string[] = [
  ...['acpi', 'asound', 'interrupts', 'kcore', 'keys', 'latency_stats', 'sched_debug', 'scsi', 'timer_list', 'timer_stats'].map(
    (f) => `/proc/${f}`,
  ),
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
export const READONLY_PATHS: readonly string[] = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((f) => `/proc/${f}`);

/**
 * Defaults, less those that a mount of the container's own replaces; then its own, parents before children.
 * @param initProgram path of an init on the node, for a container that wants one
 */
export function mountsOf(spec: ContainerSpec, initProgram?: string): OciMount[] {
  const own = spec.mounts.map(ociMount);
  if (spec.init && initProgram !== undefined) own.push({ ...bind(initProgram, INIT_PATH), options: ['bind', 'ro'] });
  const taken = new Set(own.map((m) => m.destination));
  const depth = (m: OciMount) => m.destination.split('/').filter(Boolean).length;
  return [...defaultMounts(spec).filter((m) => !taken.has(m.destination)), ...own.sort((a, b) => depth(a) - depth(b))];
}

/** Docker's. With the node's IPC namespace go its shared memory and (mqueue shows the namespace it is mounted in) its queues; the file systems of a privileged container can be written. */
function defaultMounts({ privileged, security, namespaces, shmBytes }: ContainerSpec): OciMount[] {
  return DEFAULT_MOUNTS.flatMap((mount): OciMount[] => {
    const { destination } = mount;
    const writable = privileged || (security?.writableCgroups && destination === '/sys/fs/cgroup');
    if (namespaces?.ipc === 'host' && mount === SHM) return [bind(destination, destination)];
    if (namespaces?.ipc === 'none' && mount === SHM) return [];
    if (mount === SHM) return [{ ...mount, options: [...mount.options, `size=${shmBytes ?? SHM_BYTES}`] }];
    return [writable ? { ...mount, options: mount.options.map((option) => (option === 'ro' ? 'rw' : option)) } : mount];
  });
}

const bind = (source: string, destination: string): OciMount => ({
  destination,
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', 'rw'],
});

function ociMount(mount: Mount): OciMount {
  const destination = absolute(mount.target, 'mount target');
  if (mount.type === 'bind') {
    return {
      destination,
      type: 'bind',
      source: absolute(mount.source ?? '', 'mount source'),
      options: [
        mount.recursive === 'disabled' ? 'bind' : 'rbind',
        mount.propagation ?? 'rprivate',
        mount.readOnly ? 'ro' : 'rw',
        ...(mount.readOnly && mount.recursive === 'readonly' ? ['rro'] : []),
        ...(mount.flags ?? []),
      ],
    };
  }
  const options = ['nosuid', 'nodev', 'noexec', `mode=${(mount.mode ?? 0o1777).toString(8)}`];
  if (mount.sizeBytes) options.push(`size=${mount.sizeBytes}`);
  return { destination, type: 'tmpfs', source: 'tmpfs', options: [...options, mount.readOnly ? 'ro' : 'rw'] };
}

/** Absolute, without `.`, `..`, empty parts and a trailing slash. @throws BAD_VALUE */
export function absolute(path: string, what: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (!path.startsWith('/') || parts.includes('..') || path.includes('\0')) {
    throw new WeftError('BAD_VALUE', { what: `the ${what} ${JSON.stringify(path.slice(0, 256))} is not an absolute path without ".."` });
  }
  return `/${parts.join('/')}`;
}
