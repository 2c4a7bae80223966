/**
 * A stack: what the user wishes, as libs/compose understood it and the API stored it. Written by `ctl up` (through the
 * API) and by nobody else.
 */
import { z } from 'zod';
import { isIpv4, parseCidr } from '#base/address.js';
import { globalNameSchema, hostnameSchema, nameSchema, serviceNameSchema } from './names.js';

/** A path inside a container or on a node: absolute, no NUL, no newline. */
export const absolutePathSchema = z
  .string()
  .regex(/^\/[^\0\n\r]*$/)
  .max(4096);
const environmentSchema = z.record(z.string().regex(/^[^=\0\n\r]+$/), z.string().regex(/^[^\0]*$/));
export const labelsSchema = z.record(z.string().min(1).max(256), z.string().max(65_536));
export const cidrSchema = z.string().refine((text) => {
  try {
    parseCidr(text);
    return true;
  } catch {
    return false;
  }
}, 'not an IPv4 subnet');
export const ipv4Schema = z.string().refine(isIpv4, 'not an IPv4 address');
export const portNumberSchema = z.number().int().min(1).max(65_535);

export const portSchema = z.object({
  /** Port in the container. */
  target: portNumberSchema,
  /** Port on the node. */
  published: portNumberSchema,
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  /** Only on this address of the node; every address if left out. */
  hostIp: ipv4Schema.optional(),
});

export const mountSchema = z.object({
  type: z.enum(['volume', 'bind', 'tmpfs']),
  /** volume: global volume name; bind: absolute path on the node; tmpfs: none. */
  source: z
    .string()
    .regex(/^[^\0\n\r]*$/)
    .optional(),
  target: absolutePathSchema,
  readOnly: z.boolean().default(false),
  /** tmpfs: bytes. */
  sizeBytes: z.number().int().positive().optional(),
  /** tmpfs: permission bits. */
  mode: z.number().int().min(0).max(0o7777).optional(),
});

export const limitsSchema = z.object({
  memoryBytes: z.number().int().positive().optional(),
  /** Billionths of a CPU. */
  nanoCpus: z.number().int().positive().optional(),
  pids: z.number().int().positive().optional(),
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
  command: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  environment: environmentSchema.default({}),
  /** The task's name if left out. */
  hostname: hostnameSchema.optional(),
  user: z
    .string()
    .regex(/^[a-zA-Z0-9_.-]+(:[a-zA-Z0-9_.-]+)?$/)
    .optional(),
  workingDir: absolutePathSchema.optional(),
  labels: labelsSchema.default({}),
  mounts: z.array(mountSchema).default([]),
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
});

export const attachmentSchema = z.object({ aliases: z.array(hostnameSchema).default([]) });

export const serviceSchema = z.object({
  name: serviceNameSchema,
  container: containerWishSchema,
  replicas: z.number().int().min(0).max(10_000).default(1),
  /** By network key. */
  networks: z.record(serviceNameSchema, attachmentSchema).default({}),
  ports: z.array(portSchema).default([]),
});

export const networkWishSchema = z.object({
  /** Key in the Compose file. */
  key: serviceNameSchema,
  /** Name in the cluster. */
  name: globalNameSchema,
  driver: z.enum(['overlay', 'bridge']).default('overlay'),
  internal: z.boolean().default(false),
  /** Chosen by the API if left out. */
  subnet: cidrSchema.optional(),
  labels: labelsSchema.default({}),
});

export const volumeWishSchema = z.object({ key: serviceNameSchema, name: globalNameSchema, labels: labelsSchema.default({}) });

export const stackSchema = z.object({
  name: nameSchema,
  services: z.record(serviceNameSchema, serviceSchema),
  networks: z.record(serviceNameSchema, networkWishSchema).default({}),
  volumes: z.record(serviceNameSchema, volumeWishSchema).default({}),
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
});

export type Port = z.infer<typeof portSchema>;
export type MountWish = z.infer<typeof mountSchema>;
export type ContainerWish = z.infer<typeof containerWishSchema>;
export type Attachment = z.infer<typeof attachmentSchema>;
export type Service = z.infer<typeof serviceSchema>;
export type NetworkWish = z.infer<typeof networkWishSchema>;
export type VolumeWish = z.infer<typeof volumeWishSchema>;
export type Stack = z.infer<typeof stackSchema>;
export type StackRecord = z.infer<typeof stackRecordSchema>;
