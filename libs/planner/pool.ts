/** The counters behind the `pool` key: numbers that are given out once and never again. */
import { z } from 'zod';
import { cidr6Schema } from '#model/addresses.js';

/** Low VNIs are the ones other tools pick (1 by flannel, 4096 up by Docker Swarm). */
export const FIRST_VNI = 70_001;

export const poolSchema = z.object({
  /** The last VNI given to a network. */
  vni: z
    .number()
    .int()
    .default(FIRST_VNI - 1),
  /** The last index given to a node. */
  nodeIndex: z.number().int().default(0),
  /** The cluster's unique local IPv6 prefix, a /48 (RFC 4193): chosen with the first network that has IPv6, and never again. */
  ula: cidr6Schema.optional(),
});

export type Pool = z.infer<typeof poolSchema>;

/** Where subnets are cut from, unless the operator says otherwise: rarely used in offices, and apart from Docker's own pools. */
export const DEFAULT_POOLS = ['10.128.0.0/9'];
export const DEFAULT_SUBNET_PREFIX = 20;
