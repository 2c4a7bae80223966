/** What a container's cgroup allows it: memory, CPU, processes, block devices, device nodes. Pure. */
import { WeftError } from '#base/errors.js';
import { DEVICE_RULE_PATTERN } from '#model/container-keys.js';
import type { HostDevice } from './host-devices.js';
import type { HostFacts } from './host-facts.js';
import type { OciDeviceRule, OciResources, OciThrottle } from './oci-types.js';
import type { ContainerSpec } from './runtime.js';

/** Period of CPU quotas, as Docker and the kernel have it by default. */
const CPU_PERIOD_US = 100_000;
/** The kernel takes no quota below a millisecond. */
const LEAST_QUOTA_US = 1_000;
const NANO_CPUS_PER_CPU = 1e9;

/** Nothing but what runc always allows (null, zero, full, random, urandom, tty, pts), and making nodes that cannot be opened. */
const CLOSED: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
];

/** @throws BAD_VALUE for a limit that the node's kernel cannot keep */
export function resourcesOf(spec: ContainerSpec, host: HostFacts): OciResources {
  checkKernel(spec, host);
  const { limits = {} } = spec;
  const memory = memoryOf(spec, host);
  const cpu = cpuOf(spec);
  const blockIO = blockIoOf(spec, host);
  return {
    devices: deviceRules(spec, host.devices),
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(limits.pids ? { pids: { limit: limits.pids } } : {}),
    ...(Object.keys(blockIO).length > 0 ? { blockIO } : {}),
  };
}

/** runc passes over some of what the unified hierarchy does not have: a limit that is not kept must be an error. */
function checkKernel({ cgroup = {} }: ContainerSpec, { cgroupV2, swapAccounting }: HostFacts): void {
  const refuse = (what: string, why: string) => {
    throw new WeftError('BAD_VALUE', {
      what: `this node cannot keep ${what}`,
      why,
      hint: 'Leave the key out, or place the service elsewhere.',
    });
  };
  const unified = 'its kernel has cgroup v2 alone, which has no such setting';
  if (cgroupV2 && cgroup.memorySwappiness !== undefined) refuse('mem_swappiness', unified);
  if (cgroupV2 && cgroup.oomKillDisable) refuse('oom_kill_disable', unified);
  if (cgroupV2 && (cgroup.cpuRtRuntimeUs !== undefined || cgroup.cpuRtPeriodUs !== undefined))
    refuse('cpu_rt_runtime and cpu_rt_period', unified);
  if (!swapAccounting && cgroup.memorySwapBytes !== undefined)
    refuse('memswap_limit', 'its kernel does not count swap (boot with swapaccount=1)');
}

/** As in Docker: a container with a limit of memory may have as much swap again, where the kernel counts it. */
function memoryOf({ limits = {}, cgroup = {} }: ContainerSpec, { swapAccounting }: HostFacts): NonNullable<OciResources['memory']> {
  const { memoryBytes: limit, memoryReservationBytes: reservation } = limits;
  const swap = cgroup.memorySwapBytes ?? (limit && swapAccounting ? 2 * limit : undefined);
  return {
    ...(limit ? { limit } : {}),
    ...(reservation ? { reservation } : {}),
    ...(swap === undefined ? {} : { swap }),
    ...(cgroup.memorySwappiness === undefined ? {} : { swappiness: cgroup.memorySwappiness }),
    ...(cgroup.oomKillDisable ? { disableOOMKiller: true } : {}),
  };
}

function cpuOf({ limits = {}, cgroup = {} }: ContainerSpec): NonNullable<OciResources['cpu']> {
  const period = cgroup.cpuPeriodUs ?? CPU_PERIOD_US;
  const ofCpus = limits.nanoCpus ? Math.max(LEAST_QUOTA_US, Math.round((limits.nanoCpus / NANO_CPUS_PER_CPU) * period)) : undefined;
  const quota = cgroup.cpuQuotaUs ?? ofCpus;
  return {
    ...(cgroup.cpuShares === undefined ? {} : { shares: cgroup.cpuShares }),
    ...(quota === undefined ? {} : { quota }),
    ...(quota === undefined && cgroup.cpuPeriodUs === undefined ? {} : { period }),
    ...(cgroup.cpuRtRuntimeUs === undefined ? {} : { realtimeRuntime: cgroup.cpuRtRuntimeUs }),
    ...(cgroup.cpuRtPeriodUs === undefined ? {} : { realtimePeriod: cgroup.cpuRtPeriodUs }),
    ...(cgroup.cpuset === undefined ? {} : { cpus: cgroup.cpuset }),
  };
}

function blockIoOf({ cgroup = {} }: ContainerSpec, { blockDevices }: HostFacts): NonNullable<OciResources['blockIO']> {
  const { blockIo = {} } = cgroup;
  const numbers = (path: string) => {
    const found = blockDevices.get(path);
    if (found) return found;
    throw new WeftError('BAD_VALUE', { what: `this node has no block device ${path}`, hint: 'See `lsblk` on the node.' });
  };
  const throttles = (rates: readonly { path: string; rate: number }[] = []): OciThrottle[] =>
    rates.map(({ path, rate }) => ({ ...numbers(path), rate }));
  const all = {
    weightDevice: (blockIo.weightDevice ?? []).map(({ path, weight }) => ({ ...numbers(path), weight })),
    throttleReadBpsDevice: throttles(blockIo.readBps),
    throttleWriteBpsDevice: throttles(blockIo.writeBps),
    throttleReadIOPSDevice: throttles(blockIo.readIops),
    throttleWriteIOPSDevice: throttles(blockIo.writeIops),
  };
  return {
    ...(blockIo.weight === undefined ? {} : { weight: blockIo.weight }),
    ...Object.fromEntries(Object.entries(all).filter(([, list]) => list.length > 0)),
  };
}

function deviceRules({ privileged, deviceRules: rules = [] }: ContainerSpec, devices: readonly HostDevice[]): OciDeviceRule[] {
  if (privileged) return [{ allow: true, access: 'rwm' }];
  const ofDevices = devices.map(({ node, permissions }) => ({
    allow: true,
    type: node.type,
    major: node.major,
    minor: node.minor,
    access: permissions,
  }));
  return [...CLOSED, ...ofDevices, ...rules.map(ruleOf)];
}

/** `c 1:3 mr`; `*` stands for every number. */
function ruleOf(text: string): OciDeviceRule {
  const [, type = '', major = '', minor = '', access = ''] = DEVICE_RULE_PATTERN.exec(text) ?? [];
  if (type === '')
    throw new WeftError('BAD_VALUE', {
      what: `${JSON.stringify(text.slice(0, 64))} is not a rule for devices`,
      hint: 'Write e.g. "c 1:3 mr".',
    });
  const number = (digits: string) => (digits === '*' ? -1 : Number(digits));
  return { allow: true, type, major: number(major), minor: number(minor), access };
}
