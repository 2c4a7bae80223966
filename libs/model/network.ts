/** A network of the cluster, and the records that say who owns an address of it. Written by the API (network) and the leader (leases, VIPs). */
import { z } from 'zod';
import { isMac } from '#base/address.js';
import { globalNameSchema, hostnameSchema, idSchema, serviceNameSchema } from './names.js';
import { cidrSchema, ipv4Schema, labelsSchema } from './stack.js';

export const macSchema = z.string().refine(isMac, 'not a MAC address');
/** VXLAN network identifier: 24 bits (RFC 7348 §5). Also numbers the devices of `bridge` networks. */
export const vniSchema = z.number().int().min(1).max(0xff_ff_ff);

export const networkSchema = z.object({
  id: idSchema,
  name: globalNameSchema,
  /** The stack that declared it. */
  stack: z.string(),
  key: serviceNameSchema,
  driver: z.enum(['overlay', 'bridge']),
  internal: z.boolean().default(false),
  subnet: cidrSchema,
  /** Anycast gateway: the first address of the subnet, the same on every node. */
  gateway: ipv4Schema,
  vni: vniSchema,
  labels: labelsSchema.default({}),
  createdAt: z.number(),
});

/** Who owns one address of one network. One key per address, created only if absent. */
export const leaseSchema = z.object({
  kind: z.enum(['task', 'node', 'vip']),
  /** Task id, node id, or `stack/service`. */
  owner: z.string(),
  /** Set when released: the address rests until this time (ms since the epoch) before another owner gets it. */
  restsUntil: z.number().optional(),
});

/** The virtual address of a service on a network. */
export const vipSchema = z.object({ networkId: idSchema, stack: z.string(), service: serviceNameSchema, ipv4: ipv4Schema });

/** The address a node leases on a network while it runs a task there. */
export const nodeAddressSchema = z.object({ networkId: idSchema, nodeId: idSchema, ipv4: ipv4Schema });

export const endpointSchema = z.object({
  networkId: idSchema,
  ipv4: ipv4Schema,
  mac: macSchema,
  aliases: z.array(hostnameSchema).default([]),
});

export type Network = z.infer<typeof networkSchema>;
export type Lease = z.infer<typeof leaseSchema>;
export type Vip = z.infer<typeof vipSchema>;
export type NodeAddress = z.infer<typeof nodeAddressSchema>;
export type Endpoint = z.infer<typeof endpointSchema>;
