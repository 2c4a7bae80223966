/** The OCI runtime specification (1.0.2), as far as it is used here. */
import type { SeccompProfile } from './seccomp.js';
import type { ResolvedUser } from './user.js';

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
  /** Values up to 2⁶⁴ − 1, which is RLIM_INFINITY: see `ociText`. */
  rlimits?: { type: string; soft: bigint; hard: bigint }[];
  apparmorProfile?: string;
  oomScoreAdj: number;
}

/** A node of /dev. */
export interface OciDevice {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

export interface OciDeviceRule {
  allow: boolean;
  access: string;
  type?: string;
  major?: number;
  minor?: number;
}

export interface OciThrottle {
  major: number;
  minor: number;
  rate: number;
}

export interface OciResources {
  devices: OciDeviceRule[];
  memory?: { limit?: number; reservation?: number; swap?: number; swappiness?: number; disableOOMKiller?: boolean };
  cpu?: { shares?: number; quota?: number; period?: number; realtimeRuntime?: number; realtimePeriod?: number; cpus?: string };
  pids?: { limit: number };
  blockIO?: {
    weight?: number;
    weightDevice?: { major: number; minor: number; weight: number }[];
    throttleReadBpsDevice?: OciThrottle[];
    throttleWriteBpsDevice?: OciThrottle[];
    throttleReadIOPSDevice?: OciThrottle[];
    throttleWriteIOPSDevice?: OciThrottle[];
  };
}

export interface OciSpec {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  hostname?: string;
  mounts: OciMount[];
  annotations?: Record<string, string>;
  linux: {
    sysctl?: Record<string, string>;
    rootfsPropagation?: string;
    cgroupsPath: string;
    namespaces: { type: string; path?: string }[];
    devices?: OciDevice[];
    resources: OciResources;
    seccomp?: SeccompProfile;
    maskedPaths: string[];
    readonlyPaths: string[];
  };
}

export const RLIM_INFINITY = 2n ** 64n - 1n;
const BIG = '\u0000big:';

/** JSON for runc. Numbers beyond what JavaScript writes exactly are bigints here; no text of a container can hold the NUL that marks them. */
export function ociText(spec: OciSpec | OciProcess): string {
  const text = JSON.stringify(spec, (_key, value: unknown) => (typeof value === 'bigint' ? `${BIG}${value}` : value));
  return text.replace(/"\\u0000big:(\d+)"/g, '$1');
}

/** What `ociText` wrote. Of limits above 2⁶³ there is none but RLIM_INFINITY. */
export function parseOciSpec(text: string): OciSpec {
  const spec = JSON.parse(text) as OciSpec;
  const exact = (limit: bigint | number): bigint => (limit >= 2 ** 63 ? RLIM_INFINITY : BigInt(limit));
  const rlimits = spec.process.rlimits?.map(({ type, soft, hard }) => ({ type, soft: exact(soft), hard: exact(hard) }));
  return rlimits ? { ...spec, process: { ...spec.process, rlimits } } : spec;
}
