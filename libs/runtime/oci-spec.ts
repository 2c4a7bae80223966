/**
 * What runc is told about a container: a pure function from image config and container spec to an OCI runtime spec (1.0.2). Defaults are
 * Docker's, so that an image that runs there runs here: mounts, masked paths, capabilities, seccomp, environment, how entrypoint and
 * command combine.
 */
import { WeftError } from '#base/errors.js';
import { containerCapabilities, isCapability } from './capabilities.js';
import type { HostFacts } from './host-facts.js';
import type { ImageConfig } from './image-config.js';
import { absolute, INIT_PATH, MASKED_PATHS, mountsOf, READONLY_PATHS } from './oci-mounts.js';
import { resourcesOf } from './oci-resources.js';
import { RLIM_INFINITY, type OciProcess, type OciSpec } from './oci-types.js';
import type { ContainerSpec, ExecRequest } from './runtime.js';
import { defaultSeccompProfile } from './seccomp.js';
import { seccompProfileOf } from './seccomp-file.js';
import type { ResolvedUser } from './user.js';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws BAD_VALUE when there is nothing to run, for an unknown capability, a path that is not absolute, or a limit that this node cannot keep */
export function buildOciSpec(image: ImageConfig, spec: ContainerSpec, user: ResolvedUser, host: HostFacts): OciSpec {
  const capabilities = capabilitiesOf(spec, host.capabilities);
  const sysctl = sysctlsOf(spec);
  const open = spec.privileged || spec.security?.allPaths;
  return {
    ociVersion: '1.0.2',
    process: processOf(image, spec, user, capabilities),
    root: { path: 'rootfs', readonly: spec.readOnlyRootfs ?? false },
    // Of the node's own UTS namespace nothing may be set.
    ...(spec.namespaces?.uts === 'host' ? {} : { hostname: spec.hostname }),
    mounts: mountsOf(spec, host.initProgram),
    ...(spec.annotations ? { annotations: spec.annotations } : {}),
    linux: {
      ...(Object.keys(sysctl).length > 0 ? { sysctl } : {}),
      cgroupsPath: host.cgroupsPath,
      namespaces: namespacesOf(spec, host),
      ...(host.devices.length > 0 ? { devices: host.devices.map(({ node }) => node) } : {}),
      resources: resourcesOf(spec, host),
      ...seccompOf(spec, capabilities, host),
      ...rootPropagation(spec.mounts),
      maskedPaths: open ? [] : [...MASKED_PATHS],
      readonlyPaths: open ? [] : [...READONLY_PATHS],
    },
  };
}

/** Mounts pass a mount point only where they pass the root that it is below: as Docker does, the widest that any mount asks for. */
function rootPropagation(mounts: ContainerSpec['mounts']): { rootfsPropagation?: string } {
  const asked = new Set(mounts.map((mount) => mount.propagation?.replace(/^r/, '')));
  if (asked.has('shared')) return { rootfsPropagation: 'shared' };
  return asked.has('slave') ? { rootfsPropagation: 'rslave' } : {};
}

function processOf(image: ImageConfig, spec: ContainerSpec, user: ResolvedUser, capabilities: string[]): OciProcess {
  const args = commandLine(image, spec);
  const { security } = spec;
  const rlimits = rlimitsOf(spec);
  return {
    terminal: spec.tty ?? false,
    user,
    args: spec.init ? [INIT_PATH, '--', ...args] : args,
    env: environment(image, spec),
    cwd: absolute(spec.workingDir || image.workingDir || '/', 'working directory'),
    capabilities: processCapabilities(capabilities, user),
    noNewPrivileges: security?.noNewPrivileges ?? false,
    ...(rlimits.length > 0 ? { rlimits } : {}),
    ...(security?.apparmor === undefined ? {} : { apparmorProfile: security.apparmor }),
    // Left out, a container would be as safe from the kernel's out-of-memory killer as containerd is (-999 by its unit).
    oomScoreAdj: spec.oomScoreAdj ?? 0,
  };
}

function rlimitsOf({ ulimits = {} }: ContainerSpec): NonNullable<OciProcess['rlimits']> {
  const value = (limit: number): bigint => (limit < 0 ? RLIM_INFINITY : BigInt(limit));
  return Object.entries(ulimits).map(([name, { soft, hard }]) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: value(soft),
    hard: value(hard),
  }));
}

/** The domain name as a sysctl, too: runc knows the field of OCI 1.1 from 1.2 on only. */
const sysctlsOf = ({ domainname, sysctls }: ContainerSpec): Record<string, string> => ({
  ...(domainname === undefined ? {} : { 'kernel.domainname': domainname }),
  ...sysctls,
});

function namespacesOf({ namespaces = {}, netnsPath }: ContainerSpec, { cgroupV2 }: HostFacts): OciSpec['linux']['namespaces'] {
  const cgroup = namespaces.cgroup ?? (cgroupV2 ? 'private' : 'host');
  return [
    ...(namespaces.pid === 'host' ? [] : ['pid']),
    ...(namespaces.ipc === 'host' ? [] : ['ipc']),
    ...(namespaces.uts === 'host' ? [] : ['uts']),
    'mount',
    ...(cgroup === 'private' ? ['cgroup'] : []),
  ]
    .map((type): { type: string; path?: string } => ({ type }))
    .concat({ type: 'network', path: netnsPath });
}

/** A privileged container has no filter, unless it names one. */
function seccompOf(
  { privileged, security }: ContainerSpec,
  capabilities: string[],
  { arch, kernel }: HostFacts,
): Pick<OciSpec['linux'], 'seccomp'> {
  const named = security?.seccomp;
  if (named === 'unconfined' || (named === undefined && privileged)) return {};
  return {
    seccomp: named === undefined ? defaultSeccompProfile(capabilities, arch) : seccompProfileOf(named, { capabilities, arch, kernel }),
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
  return containerCapabilities(spec.privileged ? ['ALL'] : spec.capAdd, spec.privileged ? [] : spec.capDrop, available);
}

/** Root has its set at once; another user has it only as a bound on what setuid programs may gain. Nothing is inheritable (CVE-2022-24769). */
export function processCapabilities(capabilities: string[], user: ResolvedUser): OciProcess['capabilities'] {
  const own = user.uid === 0 ? capabilities : [];
  return { bounding: capabilities, effective: own, permitted: own };
}

/**
 * The process that an exec adds: the container's own, with what the request changes.
 * @param available every capability that can be handed out: what a privileged command has
 */
export function execProcess(container: OciProcess, request: ExecRequest, user: ResolvedUser, available: string[] = []): OciProcess {
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
    capabilities: processCapabilities(request.privileged ? available : container.capabilities.bounding, user),
    noNewPrivileges: container.noNewPrivileges,
    ...(container.rlimits ? { rlimits: container.rlimits } : {}),
    oomScoreAdj: container.oomScoreAdj,
    ...(container.apparmorProfile === undefined || request.privileged ? {} : { apparmorProfile: container.apparmorProfile }),
  };
}
