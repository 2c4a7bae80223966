/**
 * A node's view: everything one node needs to know, and nothing else. It travels as keyed resources, so that a delta is a
 * set of upserts and removals, and a snapshot is the same resources at once. Made by libs/planner (view of a node),
 * consumed by the agent.
 */
import { z } from 'zod';
import { MAX_TTL_SECONDS } from './name-ttl.js';
import { hostnameSchema, idSchema, serviceNameSchema } from './names.js';
import { subnet4Schema, subnet6Schema, vniSchema } from './network.js';
import { exposedPortSchema, portNameSchema, portNumberSchema } from './stack.js';
import { networkDriverSchema, networkOptionsSchema } from './network-wish.js';
import { cidrSchema, ipSchema, ipv4Schema, ipv6Schema, macSchema } from './addresses.js';
import { WIREGUARD_PORT } from './ports.js';
import { taskSchema, tombstoneSchema } from './task.js';
import { wireguardKeysSchema } from './tunnel.js';

/** A network that this node takes part in. */
export const networkViewSchema = z.object({
  id: idSchema,
  name: z.string(),
  stack: z.string(),
  key: z.string(),
  driver: networkDriverSchema,
  internal: z.boolean().default(false),
  subnet: cidrSchema,
  gateway: ipv4Schema,
  moreSubnets: z.array(subnet4Schema).optional(),
  ipv6: subnet6Schema.optional(),
  options: networkOptionsSchema.optional(),
  vni: vniSchema,
  /** Bytes; one value for every device of the network: the smallest underlay MTU of the cluster less the encapsulation. */
  mtu: z.number().int().min(576),
  /** The address this node leases on the network; none on a node that runs no task there and only brings traffic in. */
  nodeAddress: ipv4Schema.optional(),
  nodeAddress6: ipv6Schema.optional(),
});

/** One address on a network: a task's or a node's, here or elsewhere. */
export const endpointViewSchema = z.object({
  networkId: idSchema,
  ipv4: ipv4Schema,
  ipv6: ipv6Schema.optional(),
  mac: macSchema,
  nodeId: idSchema,
  /** Underlay address of the node it is on. */
  vtep: ipv4Schema,
  /** Set for a task's endpoint. */
  taskId: z.string().optional(),
  /** Its node is declared dead: flows to it are forgotten, so that their next packet is refused by somebody who lives. */
  lost: z.literal(true).optional(),
  /** The task is entered here at published ports: nodes send to it by its own node, which remembers where a client came in. */
  published: z.boolean().optional(),
});

/** A name that resolves on a network. */
export const nameRecordSchema = z.object({
  networkId: idSchema,
  name: hostnameSchema,
  addresses: z.array(ipSchema).default([]),
  /** Ports of the service behind it, for SRV records (RFC 2782). */
  ports: z.array(exposedPortSchema.extend({ name: portNameSchema.optional() })).optional(),
  /** Names that the SRV records point at; the name itself if left out. */
  targets: z.array(hostnameSchema).optional(),
  /** The cluster's if left out. */
  ttlSeconds: z.number().int().min(0).optional(),
});

/** A virtual address and the task addresses behind it, sorted. */
export const vipViewSchema = z.object({
  networkId: idSchema,
  service: serviceNameSchema,
  ipv4: ipv4Schema,
  backends: z.array(ipv4Schema).default([]),
  ipv6: ipv6Schema.optional(),
  backends6: z.array(ipv6Schema).optional(),
  /** See the service's. */
  affinity: z.literal('client').optional(),
});

/** A published port of mode `ingress`: every node answers on it, for the tasks behind it wherever they are. */
export const publicationSchema = z.object({
  stack: z.string(),
  service: serviceNameSchema,
  protocol: z.enum(['tcp', 'udp', 'sctp']),
  /** Port on the nodes. */
  published: portNumberSchema,
  /** Only on this address of a node. */
  hostIp: ipSchema.optional(),
  /** Port in the container. */
  target: portNumberSchema,
  /** client: choose by the client's address. */
  affinity: z.literal('client').optional(),
  /** Healthy tasks, by the network they are entered through. */
  backends: z
    .array(z.object({ taskId: idSchema, nodeId: idSchema, networkId: idSchema, ipv4: ipv4Schema, ipv6: ipv6Schema.optional() }))
    .default([]),
});

/** A host that belongs to the cluster: VXLAN is accepted from it, and its guarded ports are out of reach for containers. */
export const memberSchema = z.object({
  id: z.string(),
  name: z.string(),
  address: ipv4Schema,
  /** Nodes: their IPv6 addresses but for link-local ones, sorted. */
  addresses6: z.array(ipv6Schema).optional(),
  kind: z.enum(['node', 'controller']),
  /** Nodes: the small number that is never used again. */
  index: z.number().int().positive().optional(),
  /** Nodes that can encrypt. */
  wireguard: wireguardKeysSchema.optional(),
  /** Controllers: gRPC port for agents and users. */
  port: z.number().int().optional(),
});

export const settingsSchema = z.object({
  /** UDP port of VXLAN (IANA: 4789, RFC 7348 §8). */
  vxlanPort: z.number().int().default(4789),
  /** UDP port of WireGuard between nodes. */
  wireguardPort: z.number().int().default(WIREGUARD_PORT),
  /** How long an answer to a name may be kept, where its service does not say. */
  dnsTtlSeconds: z.number().int().min(0).max(MAX_TTL_SECONDS).optional(),
  /** As the cluster says; see node-death.ts. */
  deadAfterMs: z.number().int().positive().optional(),
  /** Ports of members that no container may reach: agent, controller, etcd. VXLAN comes on top. */
  guardedTcpPorts: z.array(z.number().int()).default([]),
});

export const resourceSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('task'), value: taskSchema }),
  z.object({ kind: z.literal('network'), value: networkViewSchema }),
  z.object({ kind: z.literal('endpoint'), value: endpointViewSchema }),
  z.object({ kind: z.literal('name'), value: nameRecordSchema }),
  z.object({ kind: z.literal('vip'), value: vipViewSchema }),
  z.object({ kind: z.literal('publication'), value: publicationSchema }),
  z.object({ kind: z.literal('member'), value: memberSchema }),
  z.object({ kind: z.literal('settings'), value: settingsSchema }),
]);

export type NetworkView = z.infer<typeof networkViewSchema>;
export type EndpointView = z.infer<typeof endpointViewSchema>;
export type NameRecord = z.infer<typeof nameRecordSchema>;
export type VipView = z.infer<typeof vipViewSchema>;
export type Publication = z.infer<typeof publicationSchema>;
export type Member = z.infer<typeof memberSchema>;
export type Settings = z.infer<typeof settingsSchema>;
export type Resource = z.infer<typeof resourceSchema>;

/** The key of a resource: equal keys mean the same thing, changed. */
export function resourceKey(r: Resource): string {
  switch (r.kind) {
    case 'task':
      return `task/${r.value.id}`;
    case 'network':
      return `network/${r.value.id}`;
    case 'endpoint':
      return `endpoint/${r.value.networkId}/${r.value.ipv4}`;
    case 'name':
      return `name/${r.value.networkId}/${r.value.name}`;
    case 'vip':
      return `vip/${r.value.networkId}/${r.value.ipv4}`;
    case 'publication':
      return `publication/${r.value.protocol}/${r.value.hostIp ?? ''}/${r.value.published}`;
    case 'member':
      return `member/${r.value.kind}/${r.value.id}`;
    case 'settings':
      return 'settings';
  }
}

export const viewSnapshotSchema = z.object({
  clusterId: z.string().min(1),
  /** etcd revision the view was made at. */
  revision: z.number().int().min(0),
  resources: z.array(resourceSchema).default([]),
  tombstones: z.array(tombstoneSchema).default([]),
});

export const viewDeltaSchema = z.object({
  clusterId: z.string().min(1),
  revision: z.number().int().min(0),
  upserts: z.array(resourceSchema).default([]),
  /** Keys that are gone. A removed task comes with its tombstone. */
  removals: z.array(z.string()).default([]),
  tombstones: z.array(tombstoneSchema).default([]),
});

export type ViewSnapshot = z.infer<typeof viewSnapshotSchema>;
export type ViewDelta = z.infer<typeof viewDeltaSchema>;
