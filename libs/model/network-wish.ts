/** What a stack, or `ctl network create`, wishes a network to be. */
import { z } from 'zod';
import { cidr6Schema, cidrSchema, ipSchema } from './addresses.js';
import { labelsSchema } from './labels.js';
import { globalNameSchema, serviceNameSchema } from './names.js';

export const networkDriverSchema = z.enum(['overlay', 'bridge', 'macvlan', 'ipvlan']);

/** Compose Specification, `networks.<key>.ipam.config[]`: of either family. */
export const subnetWishSchema = z.object({
  subnet: z.union([cidrSchema, cidr6Schema]),
  /** Tasks get addresses from here only. */
  ipRange: z.union([cidrSchema, cidr6Schema]).optional(),
  gateway: ipSchema.optional(),
  /** Name → address that nobody gets. */
  auxAddresses: z.record(z.string(), ipSchema).optional(),
});

/** Driver options, checked. What does not belong to the driver is refused where the file is read. */
export const networkOptionsSchema = z.object({
  /** Bytes, for every device of the network; the underlay's less the encapsulation if left out. */
  mtu: z.number().int().min(576).max(65_535).optional(),
  /** overlay: WireGuard between the nodes; nothing of it travels in clear. */
  encrypted: z.boolean().optional(),
  /** overlay: multicast frames are replicated to every node of the network. */
  multicast: z.boolean().optional(),
  /** macvlan, ipvlan: the node's device, or `<device>.<VLAN id>`, made on demand (IEEE 802.1Q). */
  parent: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}(\.([1-9][0-9]{0,3}))?$/)
    .optional(),
  macvlanMode: z.enum(['bridge', 'private', 'vepa', 'passthru']).optional(),
  ipvlanMode: z.enum(['l2', 'l3', 'l3s']).optional(),
  /** IPv6 of the network is routed to the nodes by the site: no NAT66. */
  ipv6Routed: z.boolean().optional(),
});

export const networkWishSchema = z.object({
  /** Key in the Compose file. */
  key: serviceNameSchema,
  /** Name in the cluster. */
  name: globalNameSchema,
  driver: networkDriverSchema.default('overlay'),
  internal: z.boolean().default(false),
  /** It must be there already: made by another stack or by `ctl network create`. Nothing else of the wish counts then. */
  external: z.boolean().optional(),
  /** Other stacks, and `ctl network connect`, may use it. */
  attachable: z.boolean().optional(),
  /** Chosen by the API if left out. The first; more make the network larger. */
  subnet: cidrSchema.optional(),
  ipam: z.array(subnetWishSchema).optional(),
  /** Dual stack. */
  ipv6: z.boolean().optional(),
  options: networkOptionsSchema.optional(),
  labels: labelsSchema.default({}),
});

export type NetworkWish = z.infer<typeof networkWishSchema>;
export type NetworkDriver = z.infer<typeof networkDriverSchema>;
export type NetworkOptions = z.infer<typeof networkOptionsSchema>;
export type SubnetWish = z.infer<typeof subnetWishSchema>;
