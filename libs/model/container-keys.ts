/**
 * How one container's process is kept: limits, privileges, devices, namespaces, terminal. Each field is a key of the Compose
 * Specification's `services.<name>`, in the units of the kernel. What is left out is as Docker has it by default.
 */
import { z } from 'zod';

/** A path inside a container or on a node: absolute, no NUL, no newline. */
export const absolutePathSchema = z
  .string()
  .regex(/^\/[^\0\n\r]*$/)
  .max(4096);
/** A name of sysctl(8), with dots. */
export const SYSCTL_PATTERN = /^[a-z0-9_-]+(\.[a-zA-Z0-9_/-]+)+$/;
/** One line, as the kernel takes it. */
const lineSchema = z
  .string()
  .max(4096)
  .regex(/^[^\0\n\r]*$/);
/** Resource limits of a process (setrlimit(2)). */
export const RLIMITS = [
  ...['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss', 'rtprio', 'rttime'],
  ...['sigpending', 'stack'],
] as const;
/** −1: without limit. */
const rlimitValueSchema = z.number().int().min(-1);

/** A node of the host's /dev; or a directory of them, or a link to one. */
export const deviceSchema = z.object({
  source: absolutePathSchema,
  target: absolutePathSchema,
  /** Some of r(ead), w(rite) and m(ake a node). */
  permissions: z.string().regex(/^[rwm]{1,3}$/),
});
/** `c 1:3 mr`: a rule of the devices cgroup (kernel, cgroup-v1/devices). */
export const DEVICE_RULE_PATTERN = /^([acb]) (\*|\d{1,7}):(\*|\d{1,7}) ([rwm]{1,3})$/;

const rateSchema = z.object({ path: absolutePathSchema, rate: z.number().int().positive() });
/** Weights from 10 to 1000; rates in bytes or operations a second. */
const blockIoSchema = z.object({
  weight: z.number().int().min(10).max(1000).optional(),
  weightDevice: z.array(z.object({ path: absolutePathSchema, weight: z.number().int().min(10).max(1000) })).optional(),
  readBps: z.array(rateSchema).optional(),
  writeBps: z.array(rateSchema).optional(),
  readIops: z.array(rateSchema).optional(),
  writeIops: z.array(rateSchema).optional(),
});

/** Settings of the container's cgroup beyond the limits of a deployment. */
export const cgroupSchema = z.object({
  /** Relative weight; 1024 is everybody's. */
  cpuShares: z.number().int().min(2).max(262_144).optional(),
  /** Microseconds of CPU time in each period of `cpuPeriodUs` (100,000 if left out). */
  cpuQuotaUs: z.number().int().min(1_000).optional(),
  cpuPeriodUs: z.number().int().min(1_000).max(1_000_000).optional(),
  cpuRtRuntimeUs: z.number().int().positive().optional(),
  cpuRtPeriodUs: z.number().int().positive().optional(),
  /** CPUs it may run on: `0-2,4`. */
  cpuset: z
    .string()
    .regex(/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/)
    .optional(),
  /** Memory and swap together; −1: as much swap as there is. */
  memorySwapBytes: z.number().int().min(-1).optional(),
  memorySwappiness: z.number().int().min(0).max(100).optional(),
  oomKillDisable: z.boolean().optional(),
  blockIo: blockIoSchema.optional(),
  /** Below which cgroup of the node; Weft's own if left out. */
  parent: z
    .string()
    .regex(/^\/?[a-zA-Z0-9_.:@-]+(\/[a-zA-Z0-9_.:@-]+)*$/)
    .refine((path) => !path.split('/').includes('..'))
    .optional(),
});

/** `security_opt`. */
export const securitySchema = z.object({
  noNewPrivileges: z.boolean().optional(),
  /** `unconfined`, or the text of a profile (JSON): Docker's form, or that of the OCI. Docker's default profile if left out. */
  seccomp: z.string().max(262_144).optional(),
  /** Name of a profile that the node has loaded. */
  apparmor: lineSchema.optional(),
  /** Nothing of /proc and /sys is masked or read-only. */
  allPaths: z.boolean().optional(),
  /** The container may change its own cgroup. */
  writableCgroups: z.boolean().optional(),
});

/** Namespaces that are shared with the node; a container has its own of each that is left out. */
export const namespacesSchema = z.object({
  ipc: z.enum(['host', 'none']).optional(),
  pid: z.enum(['host']).optional(),
  uts: z.enum(['host']).optional(),
  /** Left out: its own where the node has one hierarchy of cgroups, else the node's, as in Docker. */
  cgroup: z.enum(['host', 'private']).optional(),
});

/** What of a container's wish reaches the container runtime as it stands. */
export const runtimeKeysSchema = z.object({
  /** A small init is process 1: it passes signals on and reaps. */
  init: z.boolean().optional(),
  /** A terminal for the main process. */
  tty: z.boolean().optional(),
  /** All capabilities, all devices, no filters, nothing masked. */
  privileged: z.boolean().optional(),
  /** Groups of the process besides its own: names of the image's /etc/group, or numbers. */
  groups: z.array(z.string().regex(/^[a-zA-Z0-9_.-]{1,64}$/)).optional(),
  /** Size of /dev/shm. */
  shmBytes: z.number().int().positive().optional(),
  sysctls: z.record(z.string().regex(SYSCTL_PATTERN), lineSchema).optional(),
  ulimits: z.partialRecord(z.enum(RLIMITS), z.object({ soft: rlimitValueSchema, hard: rlimitValueSchema })).optional(),
  devices: z.array(deviceSchema).optional(),
  deviceRules: z.array(z.string().regex(DEVICE_RULE_PATTERN)).optional(),
  security: securitySchema.optional(),
  namespaces: namespacesSchema.optional(),
  cgroup: cgroupSchema.optional(),
  /** Added to the score by which the kernel chooses whom to kill when memory is short. */
  oomScoreAdj: z.number().int().min(-1000).max(1000).optional(),
  /** For the runtime and what watches it: in its configuration, not in the container. */
  annotations: z.record(z.string().min(1).max(256), z.string().max(65_536)).optional(),
  /** containerd's name of another runtime. */
  runtime: z
    .string()
    .regex(/^io\.containerd\.[a-z0-9-]+\.v\d{1,3}$/)
    .optional(),
});

/** `logging`: how much of what a container prints is kept on its node. */
export const loggingSchema = z.object({
  /** Nothing is kept. */
  none: z.literal(true).optional(),
  /** Of one file, before the next begins. */
  maxBytes: z.number().int().positive().optional(),
  maxFiles: z.number().int().positive().max(1_000).optional(),
});

/** `post_start`, `pre_stop`: a command run in the container. */
export const hookSchema = z.object({
  command: z.array(z.string()).min(1),
  user: z
    .string()
    .regex(/^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$/)
    .optional(),
  privileged: z.boolean().optional(),
  workingDir: absolutePathSchema.optional(),
  environment: z.record(z.string(), z.string()).optional(),
});

export type RuntimeKeys = z.infer<typeof runtimeKeysSchema>;
export type DeviceWish = z.infer<typeof deviceSchema>;
export type Logging = z.infer<typeof loggingSchema>;
export type Hook = z.infer<typeof hookSchema>;
