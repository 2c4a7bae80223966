/** A node: one host with an agent. The record is written when it joins; facts by its agent; the state by the leader. */
import { z } from 'zod';
import { IMAGE_MARK, MOST_IMAGES_TOLD } from './held-images.js';
import { hostnameSchema, idSchema } from './names.js';
import { labelsSchema } from './labels.js';
import { ipv4Schema } from './addresses.js';
import { wireguardKeysSchema } from './tunnel.js';

export const nodeSchema = z.object({
  id: idSchema,
  name: hostnameSchema,
  /** Underlay address: the VTEP, and where the agent listens. */
  address: ipv4Schema,
  /** Small number, unique in the cluster, never used again. */
  index: z.number().int().positive(),
  labels: labelsSchema.default({}),
  /** active (if left out): takes tasks; pause: keeps what it has, takes none; drain: its tasks go elsewhere. Written by the API. */
  availability: z.enum(['active', 'pause', 'drain']).optional(),
  createdAt: z.number(),
});

export const listeningPortSchema = z.object({
  protocol: z.enum(['tcp', 'udp']),
  address: z.string(),
  port: z.number().int(),
  /** Name of the process that listens, where it can be told. */
  process: z.string().optional(),
});

/** One thing about a host that its keeper should know. */
export const findingSchema = z.object({
  /** Stable, for programs: `forward-drop`, `rp-filter`, … */
  code: z.string(),
  /** broken: something does not work; risk: it may stop working, or is less safe than it looks; note: good to know. */
  severity: z.enum(['broken', 'risk', 'note']),
  what: z.string(),
  remedy: z.string().default(''),
});

/** One kernel object that somebody changed, and the agent put right. */
export const repairSchema = z.object({
  /** Milliseconds since 1970, by the node's clock. */
  at: z.number(),
  /** The object, and what was wrong with it. */
  what: z.string(),
});

export const nodeFactsSchema = z.object({
  nodeId: idSchema,
  hostname: z.string().default(''),
  /** Name and underlay address that the node joined under: by these it is known again if etcd has forgotten it. */
  name: z.string().default(''),
  address: z.string().default(''),
  /** Addresses of the host with prefix length, loopback left out. */
  addresses: z.array(z.string()).default([]),
  /** MTU in bytes of the device that holds the underlay address. */
  underlayMtu: z.number().int().min(576).default(1500),
  cpus: z.number().default(0),
  memoryBytes: z.number().default(0),
  /** Destinations (CIDR) of the host's own routes, ours left out. */
  routes: z.array(z.string()).default([]),
  listening: z.array(listeningPortSchema).default([]),
  /** agent, node, kernel, containerd, nft, iproute2 → version. */
  versions: z.record(z.string(), z.string()).default({}),
  platform: z.string().default('linux/amd64'),
  /** Names of the host's own network devices. */
  devices: z.array(z.string()).optional(),
  /** Those of them that listen to IPv6 router advertisements. */
  advertised: z.array(z.string()).optional(),
  /** Marks of the images that it has, sorted (held-images.ts): where else is equal, a task goes where its image is. */
  images: z.array(z.string().regex(IMAGE_MARK)).max(MOST_IMAGES_TOLD).optional(),
  /** What the host can do that not every host can: `ipvlan`, `wireguard`, … */
  features: z.array(z.string()).optional(),
  /** Public keys, where the node can encrypt. */
  wireguard: wireguardKeysSchema.optional(),
  /** What on the host stands in the way, or will. */
  findings: z.array(findingSchema).optional(),
  /** Set while the agent refuses what the controller sends; why. */
  quarantine: z.string().optional(),
  /** Kernel objects put back since the agent started. */
  driftRepairs: z.number().int().default(0),
  /** The newest of them, oldest first. */
  repairs: z.array(repairSchema).optional(),
  at: z.number(),
});

export const nodeStateSchema = z.object({ nodeId: idSchema, state: z.enum(['ready', 'down']), since: z.number() });

export type Node = z.infer<typeof nodeSchema>;
export type ListeningPort = z.infer<typeof listeningPortSchema>;
export type Finding = z.infer<typeof findingSchema>;
export type Repair = z.infer<typeof repairSchema>;
export type NodeFacts = z.infer<typeof nodeFactsSchema>;
export type NodeState = z.infer<typeof nodeStateSchema>;
