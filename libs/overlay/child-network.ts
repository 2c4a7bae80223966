/**
 * Networks of drivers `macvlan` and `ipvlan`: a task's interface is a part of a device of its node, and stands in the site's
 * own LAN. There is no bridge, no gateway of ours and no node address: what is on the wire is the site's.
 *
 * The kernel lets such an interface reach everybody but its own node. So each of these tasks has one wire more, to its node
 * and no further: the node is 169.254.76.1 there (link-local, RFC 3927) and answers names, and the node can knock at the
 * task. The task keeps the address of its network on it, by which the name server knows who asks.
 */
import type { NetworkView } from '#model/node-view.js';
import type { Address, ChildLink, Link, Route } from './kernel-state.js';
import { SERVICE_DEVICE, serviceWireName, taskNamespace, vlanName } from './names.js';

/** The node's address on every service wire. */
export const SERVICE_ADDRESS = '169.254.76.1';
/** Bytes. Names and probes need no more. */
const WIRE_MTU = 1500;

export const isChildNetwork = ({ driver }: Pick<NetworkView, 'driver'>): boolean => driver === 'macvlan' || driver === 'ipvlan';

/** Where a task of the network asks for names, and where the name server listens for it. */
export const resolverOf = (n: Pick<NetworkView, 'driver' | 'gateway'>): string => (isChildNetwork(n) ? SERVICE_ADDRESS : n.gateway);

/** `eth0.50` → eth0, 50. */
export function splitParent(parent: string): { device: string; vlan?: number } {
  const dot = parent.lastIndexOf('.');
  return dot < 0 ? { device: parent } : { device: parent.slice(0, dot), vlan: Number(parent.slice(dot + 1)) };
}

/** The device that a network's interfaces are parts of. @param devices of the host, ours left out: a VLAN that it has is used as it is */
export function parentDevice(n: NetworkView, devices: ReadonlySet<string>): string {
  const parent = n.options?.parent ?? '';
  const { device, vlan } = splitParent(parent);
  return vlan === undefined || devices.has(parent) ? parent : vlanName(device, vlan);
}

/** The VLAN devices that these networks need and the host does not have. */
export function vlanLinks(networks: readonly NetworkView[], devices: ReadonlySet<string>): [string, Link][] {
  return networks.filter(isChildNetwork).flatMap((n): [string, Link][] => {
    const parent = n.options?.parent ?? '';
    const { device, vlan } = splitParent(parent);
    return vlan === undefined || devices.has(parent)
      ? []
      : [[vlanName(device, vlan), { kind: 'vlan', up: true, parent: device, id: vlan }]];
  });
}

/** A task's interface. ipvlan has the MAC of its parent, whatever the endpoint says. */
export function childLink(n: NetworkView, parent: string, mac: string): ChildLink {
  if (n.driver === 'ipvlan') return { kind: 'ipvlan', up: true, parent, mode: n.options?.ipvlanMode ?? 'l2', mtu: n.mtu };
  return { kind: 'macvlan', up: true, parent, mode: n.options?.macvlanMode ?? 'bridge', mac, mtu: n.mtu };
}

/** In modes l3 and l3s the parent's node routes, and nobody answers ARP: there is no next hop to name. */
export const hasNextHop = (n: NetworkView): boolean => n.driver !== 'ipvlan' || (n.options?.ipvlanMode ?? 'l2') === 'l2';

/** A task with an interface on such a network. */
export interface WiredTask {
  taskId: string;
  /** Its addresses on networks without a bridge. */
  addresses: readonly string[];
}

export const wireLinks = (tasks: readonly WiredTask[]): [string, Link][] =>
  tasks.map(({ taskId }) => [
    serviceWireName(taskId),
    {
      kind: 'veth',
      up: true,
      mtu: WIRE_MTU,
      bridge: '',
      hairpin: false,
      peerNamespace: taskNamespace(taskId),
      peerName: SERVICE_DEVICE,
    },
  ]);

export const wireAddresses = (tasks: readonly WiredTask[]): Address[] =>
  tasks.map(({ taskId }) => ({ dev: serviceWireName(taskId), address: `${SERVICE_ADDRESS}/32` }));

/** The node's way to its own tasks: by the LAN it would not reach them. */
export const wireRoutes = (tasks: readonly WiredTask[]): Route[] =>
  tasks.flatMap(({ taskId, addresses }) =>
    addresses.map((a) => ({ table: 'main', destination: `${a}/32`, dev: serviceWireName(taskId), source: SERVICE_ADDRESS })),
  );

/** The task's end of the wire. Locally administered (IEEE 802 §8.4), told apart from the `02:42:…` of its other interfaces. */
export const serviceLink = (ipv4: string): Link => ({ kind: 'task', up: true, mac: serviceMac(ipv4), mtu: WIRE_MTU });

const serviceMac = (ipv4: string): string =>
  ['02', '57', ...ipv4.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))].join(':');

/** The task's way to its node. */
export const serviceRoute = (table: string, source: string): Route => ({
  table,
  destination: `${SERVICE_ADDRESS}/32`,
  dev: SERVICE_DEVICE,
  source,
});
