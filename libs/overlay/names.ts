/**
 * The names of what we make in a kernel. Everything of ours is known by its name (links, namespaces, nft tables) or by its
 * protocol number (routes, rules); whatever else is there belongs to somebody else and is neither read nor touched.
 * Link names hold at most 15 characters (IFNAMSIZ - 1).
 */
import { createHash } from 'node:crypto';

/** Marks our routes and rules (`ip route … proto 119`): any number above 4 that rt_protos does not name. */
export const ROUTE_PROTOCOL = 119;

/** nft tables of a node and of a task's namespace. */
export const FIREWALL_TABLE = 'inet weft';
export const PORT_GUARD_TABLE = 'bridge weft';
export const NODE_VIP_TABLE = 'ip weft_vips';
export const TASK_TABLE = 'ip weft';
export const OUR_TABLES: readonly string[] = [FIREWALL_TABLE, PORT_GUARD_TABLE, NODE_VIP_TABLE, TASK_TABLE];

const OUR_LINK = /^wf(b[0-9]{1,8}|x[0-9]{1,8}|v[0-9a-f]{10})$/;
const OUR_NAMESPACE = /^weft-[0-9a-f]{8,12}$/;
const TASK_LINK = /^(lo|eth[0-9]{1,2})$/;

export const isOurLink = (name: string): boolean => OUR_LINK.test(name);
export const isOurNamespace = (name: string): boolean => OUR_NAMESPACE.test(name);
/** Inside a task's namespace, which is ours as a whole, only these are looked at. */
export const isTaskLink = (name: string): boolean => TASK_LINK.test(name);

export const bridgeName = (vni: number): string => `wfb${vni}`;
export const vxlanName = (vni: number): string => `wfx${vni}`;

/** The node's end of a task's wire on a network: 40 bits of a hash, so that two never meet on one node. */
export function vethName(taskId: string, networkId: string): string {
  return `wfv${createHash('sha256').update(`${taskId}/${networkId}`).digest('hex').slice(0, 10)}`;
}

/** The network namespace of a task, below /run/netns. */
export const taskNamespace = (taskId: string): string => `weft-${taskId.slice(0, 12)}`;
export const namespacePath = (namespace: string): string => `/run/netns/${namespace}`;
