/**
 * A stack: what the user wishes, as libs/compose understood it and the API stored it. Written by `ctl up` and `ctl rollback`
 * (through the API), and by the leader where an update that failed is rolled back, as the user wished.
 */
import { z } from 'zod';
import { ipSchema, ipv4Schema, ipv6Schema, macSchema } from './addresses.js';
import { absolutePathSchema, hookSchema, loggingSchema, runtimeKeysSchema } from './container-keys.js';
import { labelsSchema } from './labels.js';
import { MAX_TTL_SECONDS } from './name-ttl.js';
import { globalNameSchema, hostnameSchema, nameSchema, serviceNameSchema } from './names.js';
import { networkWishSchema } from './network-wish.js';
import { volumeOptionsSchema } from './volume-options.js';

const environmentSchema = z.record(z.string().regex(/^[^=\0\n\r]+$/), z.string().regex(/^[^\0]*$/));
/** A device name of Linux, as strict as we need it (15 characters: IFNAMSIZ less NUL). */
export const deviceNameSchema = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$/);
export const portNumberSchema = z.number().int().min(1).max(65_535);

/** A service name of RFC 6335 §5.1, as a label of SRV records has it behind its underscore. */
export const portNameSchema = z.string().regex(/^(?=.*[a-zA-Z])[a-zA-Z0-9](-?[a-zA-Z0-9]){0,61}$/);

export const portSchema = z.object({
  /** Port in the container. */
  target: portNumberSchema,
  /** Port on the node. */
  published: portNumberSchema,
  protocol: z.enum(['tcp', 'udp', 'sctp']).default('tcp'),
  /** Only on this address of the node (0.0.0.0: every IPv4 one, ::: every IPv6 one); every address if left out. */
  hostIp: ipSchema.optional(),
  /** What SRV records call it: `_<name>._tcp.<service>`. */
  name: portNameSchema.optional(),
  /** The file left the port on the node open: `published` is chosen from here at the first `up`, and kept. */
  chosenFrom: z.object({ first: portNumberSchema, last: portNumberSchema }).optional(),
  /** ingress (if left out): every node answers, any healthy task serves. host: the nodes where a task runs answer, for that task only. */
  mode: z.enum(['ingress', 'host']).optional(),
});

export const exposedPortSchema = z.object({ port: portNumberSchema, protocol: z.enum(['tcp', 'udp', 'sctp']) });

/** Linux keeps 2^32 − 1 for "no change" (chown(2)). */
const ownerSchema = z.number().int().min(0).max(0xffff_fffe);
export const contentIdSchema = z.string().regex(/^[0-9a-f]{64}$/);

/** A tree that each task gets a copy of, to write to. */
export const seedSchema = z.object({
  /** Of everything in the copy; root's if left out. */
  uid: ownerSchema.optional(),
  gid: ownerSchema.optional(),
});

export const propagationSchema = z.enum(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);

/** enabled and readonly: with `readOnly`, mounts below are read-only, too; writable: they can be written; disabled: they are not there. */
export const recursionSchema = z.enum(['enabled', 'disabled', 'writable', 'readonly']);

/** A relative path that stays where it is. */
export const SUBPATH_PATTERN = /^(?!\/)(?!(.*\/)?\.\.(\/|$))[^\0\n\r]{1,4096}$/;
const subpathSchema = z.string().regex(SUBPATH_PATTERN);

export const mountSchema = z.object({
  /** tree: a file or directory from beside the compose file; its content travels. */
  type: z.enum(['volume', 'bind', 'tmpfs', 'tree']),
  /** volume: global volume name; bind: absolute path on the node; tree: path from the project's directory; tmpfs: none. */
  source: z
    .string()
    .regex(/^[^\0\n\r]*$/)
    .optional(),
  target: absolutePathSchema,
  readOnly: z.boolean().default(false),
  /** bind: which mounts made later are seen on the other side (mount_namespaces(7)); rprivate if left out. */
  propagation: propagationSchema.optional(),
  /** volume: what it is a mount of. Filled in by the API, from the volume: a task always has it. */
  volumeOptions: volumeOptionsSchema.optional(),
  /** bind: what of the mounts below the source is there, and can be written (Docker's `bind-recursive`); enabled if left out. */
  recursive: recursionSchema.optional(),
  /** bind: a directory is made on the node where there is nothing. */
  createHostPath: z.boolean().optional(),
  /** volume: a file or directory in it, instead of the whole. */
  subpath: subpathSchema.optional(),
  /** volume: begins empty, whatever the image has there. */
  nocopy: z.boolean().optional(),
  /** tmpfs: bytes. */
  sizeBytes: z.number().int().positive().optional(),
  /** tmpfs: permission bits. */
  mode: z.number().int().min(0).max(0o7777).optional(),
  /** tree: what its content is known by (libs/model/content.ts). Filled in by ctl: a task always has it. */
  contentId: contentIdSchema.optional(),
  /** tree: read-only if left out. */
  seed: seedSchema.optional(),
});

/** A config or secret as a file in the container. Compose Specification, `services.<name>.configs` and `.secrets`. */
export const fileMountSchema = z.object({
  kind: z.enum(['config', 'secret']),
  /** Key in the stack's `configs` or `secrets`. */
  source: globalNameSchema,
  /** What its content is known by (libs/model/content.ts). Filled in by the API: a task always has it. */
  contentId: contentIdSchema.optional(),
  target: absolutePathSchema,
  /** 0 if left out. */
  uid: ownerSchema.optional(),
  gid: ownerSchema.optional(),
  /** Permission bits; 0444 if left out. */
  mode: z.number().int().min(0).max(0o7777).optional(),
});

export const limitsSchema = z.object({
  memoryBytes: z.number().int().positive().optional(),
  /** Billionths of a CPU. */
  nanoCpus: z.number().int().positive().optional(),
  pids: z.number().int().positive().optional(),
});

/**
 * Compose Specification, `services.<name>.healthcheck`, as Docker stores it. What is left out is as the image says (its
 * HEALTHCHECK), or as Docker's defaults are: see libs/model/healthcheck.ts. Times in milliseconds.
 */
export const healthcheckSchema = z.object({
  /** First word CMD (program and arguments follow), CMD-SHELL (one line for a shell) or NONE (no check, whatever the image says). */
  test: z
    .array(z.string())
    .min(1)
    .refine((test) => ['CMD', 'CMD-SHELL', 'NONE'].includes(test[0] ?? ''), 'begins with CMD, CMD-SHELL or NONE')
    .optional(),
  intervalMs: z.number().int().positive().optional(),
  timeoutMs: z.number().int().positive().optional(),
  /** Failures in a row that make it unhealthy. */
  retries: z.number().int().positive().optional(),
  /** Failures in this time after the start do not count, until one check has succeeded. */
  startPeriodMs: z.number().int().min(0).optional(),
  /** Between checks within the start period. */
  startIntervalMs: z.number().int().positive().optional(),
});

/** What one container of a service is made of: the part of a service that, when changed, makes a new task. */
export const containerWishSchema = z.object({
  /** As the user wrote it. */
  image: z
    .string()
    .min(1)
    .max(512)
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9._\-/:@]*$/),
  /** sha256:… that the reference meant at `up`. Written by the API, once. */
  imageDigest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .optional(),
  /** `os/arch`: only on nodes that are. */
  platform: z
    .string()
    .regex(/^[a-z0-9]+\/[a-z0-9_]+$/)
    .optional(),
  command: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  environment: environmentSchema.default({}),
  /** Of the container, and the task: `<stack>-<service>-<slot>` if left out. For a service with one task. */
  containerName: hostnameSchema.max(63).optional(),
  /** The task's name if left out. */
  hostname: hostnameSchema.optional(),
  /** Behind the host name (the UTS domain name, and the names in /etc/hosts). */
  domainname: hostnameSchema.optional(),
  /** Resolvers of its own, asked for names that are not the cluster's. */
  dns: z.array(ipSchema).optional(),
  /** `search` in resolv.conf; empty: none. */
  dnsSearch: z.array(hostnameSchema).optional(),
  /** `options` in resolv.conf. */
  dnsOptions: z.array(z.string().regex(/^[a-z][a-z0-9-]*(:[0-9]{1,9})?$/)).optional(),
  /** Lines of /etc/hosts. `host-gateway` is an address of the task's node. */
  extraHosts: z.array(z.object({ name: hostnameSchema, address: z.union([ipSchema, z.literal('host-gateway')]) })).optional(),
  user: z
    .string()
    .regex(/^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$/)
    .optional(),
  workingDir: absolutePathSchema.optional(),
  labels: labelsSchema.default({}),
  mounts: z.array(mountSchema).default([]),
  files: z.array(fileMountSchema).optional(),
  readOnlyRootfs: z.boolean().default(false),
  capAdd: z.array(z.string().regex(/^[A-Z_]+$/)).default([]),
  capDrop: z.array(z.string().regex(/^[A-Z_]+$/)).default([]),
  limits: limitsSchema.optional(),
  stopSignal: z
    .string()
    .regex(/^(SIG)?[A-Z0-9+]+$/)
    .optional(),
  /** Milliseconds between the stop signal and SIGKILL. */
  stopGraceMs: z.number().int().min(0).max(3_600_000).default(10_000),
  healthcheck: healthcheckSchema.optional(),
  ...runtimeKeysSchema.shape,
  /** Input stays open although nobody gives any. */
  stdinOpen: z.boolean().optional(),
  logging: loggingSchema.optional(),
  /** Run one after another as soon as the container has started; one that fails fails the start. */
  postStart: z.array(hookSchema).optional(),
  /** Run one after another before the stop signal. */
  preStop: z.array(hookSchema).optional(),
});

/** How a service's tasks are on a network: Compose Specification, `services.<name>.networks.<key>`. */
export const attachmentSchema = z.object({
  aliases: z.array(hostnameSchema).default([]),
  /** Static: for a service with one task only. */
  ipv4: ipv4Schema.optional(),
  ipv6: ipv6Schema.optional(),
  mac: macSchema.optional(),
  interfaceName: deviceNameSchema.optional(),
  /** The default route, and published ports, go by the network with the highest. */
  gwPriority: z.number().int().optional(),
  /** Order of the interfaces, highest first. */
  priority: z.number().int().optional(),
});

/**
 * Whose network a service's tasks live in: networks of their own namespace; the node's; none; Docker's default bridge (no
 * names); the namespace of another service's task in the same slot, or of a container.
 */
export const networkModeSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('networks') }),
  z.object({ kind: z.literal('host') }),
  z.object({ kind: z.literal('none') }),
  z.object({ kind: z.literal('bridge') }),
  z.object({ kind: z.literal('service'), service: serviceNameSchema }),
  z.object({ kind: z.literal('container'), container: hostnameSchema }),
]);

/** Compose Specification, `links` and `external_links`: a name that this service's tasks alone know another one by. */
export const linkSchema = z.object({
  /** A service of the stack; or the name of a task of any stack. */
  service: serviceNameSchema.optional(),
  container: hostnameSchema.optional(),
  alias: hostnameSchema,
});

/** Compose Deploy Specification, `restart_policy`; `restart:` in short. */
export const restartPolicySchema = z.object({
  condition: z.enum(['none', 'on-failure', 'any']).default('any'),
  delayMs: z.number().int().min(0).optional(),
  maxAttempts: z.number().int().positive().optional(),
  /** A run that lasted this long counts as a success. */
  windowMs: z.number().int().min(0).optional(),
});

/** Compose Deploy Specification, `update_config` and `rollback_config`. */
export const updatePolicySchema = z.object({
  /** Tasks at a time; 0: all at once. */
  parallelism: z.number().int().min(0).default(1),
  delayMs: z.number().int().min(0).default(0),
  order: z.enum(['stop-first', 'start-first']).default('stop-first'),
  /** How long a new task is watched for failure. */
  monitorMs: z.number().int().min(0).default(5_000),
  maxFailureRatio: z.number().min(0).max(1).default(0),
  onFailure: z.enum(['pause', 'continue', 'rollback']).default('pause'),
});

/** Compose Deploy Specification, `placement`. */
export const placementSchema = z.object({
  /** `node.labels.disk == ssd`, … */
  constraints: z.array(z.string().min(1).max(512)).default([]),
  /** Node attributes to spread over, most important first. */
  spread: z.array(z.string().min(1).max(256)).default([]),
  maxReplicasPerNode: z.number().int().positive().optional(),
});

export const dependencySchema = z.object({
  condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']).default('service_started'),
  /** Restart when the other is restarted or replaced by a command. */
  restart: z.boolean().default(false),
  required: z.boolean().default(true),
});

/** What `ctl run` asked for: one task of a service beside those that the file wants, which runs once. */
export const oneOffSchema = z.object({
  /** The service that it is made from. */
  of: serviceNameSchema,
  /** It goes, with its task, once that has ended. */
  remove: z.literal(true).optional(),
  /** Its task starts only when somebody is attached to it, so that nothing of what it prints is missed. */
  attach: z.literal(true).optional(),
});

export const serviceSchema = z.object({
  name: serviceNameSchema,
  /** Of no file: an `up` leaves it alone. */
  oneOff: oneOffSchema.optional(),
  container: containerWishSchema,
  replicas: z.number().int().min(0).max(10_000).default(1),
  /** By network key. */
  networks: z.record(serviceNameSchema, attachmentSchema).default({}),
  /** Networks of its own if left out. */
  networkMode: networkModeSchema.optional(),
  links: z.array(linkSchema).optional(),
  ports: z.array(portSchema).default([]),
  /** vip (if left out): one virtual address; dnsrr: the name answers with the addresses of all healthy tasks. */
  endpointMode: z.enum(['vip', 'dnsrr']).optional(),
  /** client: connections from one address go to the same task, as long as the set of tasks stays. Any task if left out. */
  affinity: z.literal('client').optional(),
  /** Milliseconds between leaving names and virtual addresses and the stop signal. */
  drainMs: z.number().int().min(0).max(3_600_000).optional(),
  /** Of the service's names, in seconds. */
  dnsTtlSeconds: z.number().int().min(0).max(MAX_TTL_SECONDS).optional(),
  /** Ports in the container that are not published; other services learn of them by SRV records. */
  expose: z.array(exposedPortSchema).optional(),
  /** Of the service, not of its containers (`deploy.labels`). */
  labels: labelsSchema.optional(),
  /** replicated if left out. global: one task on every node that fits (its slot is the node's index). Jobs run to completion. */
  mode: z.enum(['replicated', 'global', 'replicated-job', 'global-job']).optional(),
  /** Restarted whatever it ended with, if left out. */
  restart: restartPolicySchema.optional(),
  update: updatePolicySchema.optional(),
  rollback: updatePolicySchema.optional(),
  placement: placementSchema.optional(),
  /** What a node must have free. */
  reservations: limitsSchema.omit({ pids: true }).optional(),
  dependsOn: z.record(serviceNameSchema, dependencySchema).optional(),
  /** On the node of that service's task in the same slot, whose paths of the node it mounts (`volumes_from`). */
  placedWith: serviceNameSchema.optional(),
  /** On a node that is cut off from the cluster: go on (if left out), or stop. */
  onPartition: z.enum(['keep', 'stop']).optional(),
});

export const volumeWishSchema = z.object({
  key: serviceNameSchema,
  name: globalNameSchema,
  /** It must be there already: of another stack, or made by `ctl volume create`. */
  external: z.boolean().optional(),
  /** What it is a mount of; a directory of its node if left out. */
  options: volumeOptionsSchema.optional(),
  labels: labelsSchema.default({}),
});

/** Compose Specification, `configs.<key>` and `secrets.<key>`; never the content itself. */
export const fileWishSchema = z.object({
  key: globalNameSchema,
  /** Name in the cluster. */
  name: globalNameSchema,
  /** Made by `ctl secret create` or `ctl configs create`; found by its name at `up`. */
  external: z.boolean().optional(),
  /** Filled in by ctl, once the cluster has the content; of external ones by the API. */
  contentId: contentIdSchema.optional(),
  labels: labelsSchema.default({}),
});

export const stackSchema = z.object({
  name: nameSchema,
  services: z.record(serviceNameSchema, serviceSchema),
  networks: z.record(serviceNameSchema, networkWishSchema).default({}),
  volumes: z.record(serviceNameSchema, volumeWishSchema).default({}),
  configs: z.record(globalNameSchema, fileWishSchema).optional(),
  secrets: z.record(globalNameSchema, fileWishSchema).optional(),
});

/** Milliseconds between the stop signal and SIGKILL. */
export const stopGraceSchema = z.number().int().min(0).max(3_600_000);

/** Restarts of one service by command. */
export const restartsSchema = z.object({
  /** Those that services which depend on it with `restart: true` take part in. */
  along: z.number().int().min(0),
  /** Those that it went through alone. */
  alone: z.number().int().min(0),
  /** The stack's, after the last: while that is its present one, nothing was changed since. */
  generation: z.number().int().positive(),
  /** Of that one, instead of the container's. */
  graceMs: stopGraceSchema.optional(),
});

/** The stored form. */
export const stackRecordSchema = z.object({
  spec: stackSchema,
  /** Counts `up`s that changed something. */
  generation: z.number().int().positive(),
  createdAt: z.number(),
  updatedAt: z.number(),
  /** `ctl down` was said: tasks are being stopped; the record goes when the last is gone. */
  removing: z.boolean().default(false),
  /** Services as they were before their last change: what a rollback goes back to. */
  previous: z.record(serviceNameSchema, serviceSchema).optional(),
  /** Services that a command stopped: their tasks end, and hold their slots and addresses until a command or `up` starts them. */
  stopped: z.record(serviceNameSchema, z.object({ at: z.number(), graceMs: stopGraceSchema.optional() })).optional(),
  /** Services that a command restarted: how often is a part of what their tasks are made from. */
  restarts: z.record(serviceNameSchema, restartsSchema).optional(),
});

export type Healthcheck = z.infer<typeof healthcheckSchema>;
export type RestartPolicy = z.infer<typeof restartPolicySchema>;
export type UpdatePolicy = z.infer<typeof updatePolicySchema>;
export type Placement = z.infer<typeof placementSchema>;
export type Dependency = z.infer<typeof dependencySchema>;
export type Port = z.infer<typeof portSchema>;
export type Seed = z.infer<typeof seedSchema>;
export type Propagation = z.infer<typeof propagationSchema>;
export type MountWish = z.infer<typeof mountSchema>;
export type FileMount = z.infer<typeof fileMountSchema>;
export type FileWish = z.infer<typeof fileWishSchema>;
export type ContainerWish = z.infer<typeof containerWishSchema>;
export type Attachment = z.infer<typeof attachmentSchema>;
export type Service = z.infer<typeof serviceSchema>;
export type NetworkMode = z.infer<typeof networkModeSchema>;
export type Link = z.infer<typeof linkSchema>;
export type VolumeWish = z.infer<typeof volumeWishSchema>;
export type Stack = z.infer<typeof stackSchema>;
export type Restarts = z.infer<typeof restartsSchema>;
export type StackRecord = z.infer<typeof stackRecordSchema>;
