/** The cluster itself, its controllers and the tokens to join it. Written by the API. */
import { z } from 'zod';
import { LEAST_DEAD_AFTER_MS, MOST_DEAD_AFTER_MS } from './node-death.js';
import { MAX_TTL_SECONDS } from './name-ttl.js';
import { idSchema } from './names.js';
import { cidrSchema, ipv4Schema } from './addresses.js';

export const deadAfterSchema = z.number().int().min(LEAST_DEAD_AFTER_MS).max(MOST_DEAD_AFTER_MS);

export const clusterSchema = z.object({
  id: idSchema,
  createdAt: z.number(),
  /** Subnets of networks are cut from these… */
  pools: z.array(cidrSchema).min(1),
  /** …in pieces of this prefix length. */
  subnetPrefix: z.number().int().min(8).max(29),
  vxlanPort: z.number().int().default(4789),
  /** Of answers to names, where a service does not say; seconds. */
  dnsTtlSeconds: z.number().int().min(0).max(MAX_TTL_SECONDS).optional(),
  /** From the last word of a node's agent to its death; see node-death.ts. */
  deadAfterMs: deadAfterSchema.optional(),
});

export const controllerRecordSchema = z.object({
  id: idSchema,
  name: z.string(),
  address: ipv4Schema,
  /** gRPC port of the API and the agents' stream. */
  port: z.number().int(),
  /** Other ports of the controller's host to guard from containers: etcd's, join. */
  guardedPorts: z.array(z.number().int()).default([]),
  /** Peer URL of the etcd member that it runs, if it runs one of its own. */
  etcdPeer: z.string().optional(),
});

export const tokenSchema = z.object({
  id: idSchema,
  /** sha256 of the secret, hex. The secret itself is not kept. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
  role: z.enum(['node', 'admin', 'controller']),
  expiresAt: z.number(),
});

export type Cluster = z.infer<typeof clusterSchema>;
export type ControllerRecord = z.infer<typeof controllerRecordSchema>;
export type Token = z.infer<typeof tokenSchema>;
