/** A network of the cluster, and the records that say who owns an address of it. Written by the API (network) and the leader (leases, VIPs). */
import { z } from 'zod';
import { globalNameSchema, hostnameSchema, idSchema, serviceNameSchema } from './names.js';
import { attachmentSchema, deviceNameSchema } from './stack.js';
import { networkDriverSchema, networkOptionsSchema } from './network-wish.js';
import { labelsSchema } from './labels.js';
import { cidr6Schema, cidrSchema, ipSchema, ipv4Schema, ipv6Schema, macSchema } from './addresses.js';

/** VXLAN network identifier: 24 bits (RFC 7348 §5). Also numbers the devices of `bridge` networks. */
export const vniSchema = z.number().int().min(1).max(0xff_ff_ff);

/** A further IPv4 subnet of a network, or the only IPv6 one. */
const rangeShape = {
  /** Tasks get addresses from here; the whole subnet if left out. */
  ipRange: z.string().optional(),
  /** Name → address that nobody gets. */
  auxAddresses: z.record(z.string(), ipSchema).optional(),
};
export const subnet4Schema = z.object({ subnet: cidrSchema, gateway: ipv4Schema, ...rangeShape });
export const subnet6Schema = z.object({ subnet: cidr6Schema, gateway: ipv6Schema, ...rangeShape });

export const networkSchema = z.object({
  id: idSchema,
  name: globalNameSchema,
  /** The stack that declared it; '' if it was made by `ctl network create`. */
  stack: z.string(),
  key: serviceNameSchema,
  driver: networkDriverSchema,
  internal: z.boolean().default(false),
  subnet: cidrSchema,
  /** Anycast gateway: the first address of the subnet, the same on every node. */
  gateway: ipv4Schema,
  ...rangeShape,
  /** Added when the first was full, or declared. */
  moreSubnets: z.array(subnet4Schema).optional(),
  /** Dual stack. */
  ipv6: subnet6Schema.optional(),
  attachable: z.boolean().optional(),
  /** false: Docker's default bridge, where nothing has a name or a virtual address. */
  discovery: z.boolean().optional(),
  options: networkOptionsSchema.optional(),
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
export const vipSchema = z.object({
  networkId: idSchema,
  stack: z.string(),
  service: serviceNameSchema,
  ipv4: ipv4Schema,
  ipv6: ipv6Schema.optional(),
});

/** The address a node leases on a network while it runs a task there. */
export const nodeAddressSchema = z.object({ networkId: idSchema, nodeId: idSchema, ipv4: ipv4Schema, ipv6: ipv6Schema.optional() });

export const endpointSchema = z.object({
  networkId: idSchema,
  ipv4: ipv4Schema,
  ipv6: ipv6Schema.optional(),
  mac: macSchema,
  aliases: z.array(hostnameSchema).default([]),
  interfaceName: deviceNameSchema.optional(),
  gwPriority: z.number().int().optional(),
  priority: z.number().int().optional(),
  /** It is being taken away: out of names and virtual addresses since then (ms since the epoch), its wire goes when that is known everywhere. */
  leavingSince: z.number().optional(),
  /** While it leaves: every node has taken it out since then (ms since the epoch), or was waited for long enough. It drains from then on. */
  outSince: z.number().optional(),
});

/**
 * `ctl network connect` and `disconnect`: on which networks a service is besides what its file says, or not although it says so.
 * Written by the API; kept until the opposite is said, the stack goes, or an `up` says again what the file says.
 */
export const connectionSchema = z.object({
  networkId: idSchema,
  stack: z.string(),
  service: serviceNameSchema,
  /** That task only; all of the service if left out. */
  slot: z.number().int().positive().optional(),
  off: z.boolean().optional(),
  attachment: attachmentSchema,
});

export type Network = z.infer<typeof networkSchema>;
export type Lease = z.infer<typeof leaseSchema>;
export type Vip = z.infer<typeof vipSchema>;
export type NodeAddress = z.infer<typeof nodeAddressSchema>;
export type Connection = z.infer<typeof connectionSchema>;
export type Endpoint = z.infer<typeof endpointSchema>;
