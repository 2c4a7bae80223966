/**
 * The names of what we make in a kernel. Everything of ours is known by its name (links, namespaces, nft tables) or by its
 * protocol number (routes, rules); whatever else is there belongs to somebody else and is neither read nor touched.
 * Link names hold at most 15 characters (IFNAMSIZ - 1).
 */
import { createHash } from 'node:crypto';
import { remembered } from '#base/remembered.js';

/** Marks our routes and rules (`ip route … proto 119`): any number above 4 that rt_protos does not name. */
export const ROUTE_PROTOCOL = 119;

/** nft tables of a node and of a task's namespace. */
export const FIREWALL_TABLE = 'inet weft';
export const PORT_GUARD_TABLE = 'bridge weft';
export const NODE_VIP_TABLE = 'ip weft_vips';
export const TASK_TABLE = 'ip weft';
/** The same for IPv6: only virtual addresses, and only where a network has it. */
export const NODE_VIP_TABLE6 = 'ip6 weft_vips';
export const TASK_TABLE6 = 'ip6 weft';
/** Hangs on devices, so it is loaded when they are there: the mesh of a node, the guard of a task in the LAN of the site. */
export const DEVICE_TABLE = 'netdev weft';
export const OUR_TABLES: readonly string[] = [
  FIREWALL_TABLE,
  PORT_GUARD_TABLE,
  NODE_VIP_TABLE,
  NODE_VIP_TABLE6,
  TASK_TABLE,
  TASK_TABLE6,
  DEVICE_TABLE,
];

const OUR_LINK = /^wf(b[0-9]{1,8}|x[0-9]{1,8}|[lsvw][0-9a-f]{10})$/;
const OUR_NAMESPACE = /^weft-(?:[0-9a-f]{8,12}|s[0-9a-f]{10})$/;
const SPARE_NAMESPACE = /^weft-s/;
const TASK_LINK = /^(lo|eth[0-9]{1,3}|weft0)$/;

export const isOurLink = (name: string): boolean => OUR_LINK.test(name);
export const isOurNamespace = (name: string): boolean => OUR_NAMESPACE.test(name);
/** Inside a task's namespace these are ours by name; others (`interface_name`) are known by the far end in the node's namespace. */
export const isTaskLink = (name: string): boolean => TASK_LINK.test(name);

export const bridgeName = (vni: number): string => `wfb${vni}`;
export const vxlanName = (vni: number): string => `wfx${vni}`;

/** 40 bits of a hash, so that two never meet on one node. */
const hashed = remembered(
  (text: string) => text,
  (text) => createHash('sha256').update(text).digest('hex').slice(0, 10),
);

/** The node's WireGuard device. Named after the node: the control sockets of wireguard-go share one directory on a machine. */
export const wireguardName = (nodeId: string): string => `wfw${hashed(nodeId)}`;
export const isWireguardName = (name: string): boolean => /^wfw[0-9a-f]{10}$/.test(name);

/** The node's end of a task's wire on a network. */
export const vethName = (taskId: string, networkId: string): string => `wfv${hashed(`${taskId}/${networkId}`)}`;
/** A VLAN of a device of the host, made by us. */
export const vlanName = (parent: string, id: number): string => `wfl${hashed(`${parent}.${id}`)}`;
/** The node's end of the wire by which a task without a bridge asks for names. */
export const serviceWireName = (taskId: string): string => `wfs${hashed(taskId)}`;
/** The task's end of that wire. */
export const SERVICE_DEVICE = 'weft0';
/** What a part of a device of the node (macvlan, ipvlan) is called in a task's namespace until it has its own name. */
export const childBirthName = (namespace: string, name: string): string => `wfc${hashed(`${namespace}/${name}`)}`;

/** The network namespace of a task, below /run/netns. */
export const taskNamespace = (taskId: string): string => `weft-${taskId.slice(0, 12)}`;
/** A namespace that waits for a task to come, one of those that a node keeps. */
export const spareNamespace = (nodeId: string, n: number): string => `weft-s${hashed(`${nodeId}/${n}`)}`;
export const isSpareNamespace = (name: string): boolean => SPARE_NAMESPACE.test(name);
export const namespacePath = (namespace: string): string => `/run/netns/${namespace}`;
