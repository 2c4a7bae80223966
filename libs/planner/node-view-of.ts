/**
 * What one node is told: its tasks, the networks it has tasks on, and the endpoints, names and VIPs there; every published
 * port, and of the networks behind those that it has no tasks on, the endpoints it brings connections to; who belongs to the
 * cluster; settings. Nothing of networks it takes no part in.
 */
import { macOfNode } from '#base/address.js';
import { familyOf } from '#base/ip.js';
import type { Network, NodeAddress } from '#model/network.js';
import type { Node } from '#model/node.js';
import type { EndpointView, Member, Publication, Resource } from '#model/node-view.js';
import { AGENT_PORT, VXLAN_PORT, WIREGUARD_PORT } from '#model/ports.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { drains, isDrained } from './drain.js';
import { doorsOf, publicationsFor, publicationsOf } from './publications.js';
import { isLost } from './serving.js';
import { namesAndVips } from './names-of.js';
import { networkMtu } from './network-mtu.js';
import { isChildDriver } from './child-drivers.js';

/** Where the parts of views come from: made for one state (ViewMaker), or kept and renewed as it changes (ViewIndex). */
export interface ViewSource<T> {
  /** Members and settings. */
  common(): T;
  /** What only this node is told. */
  own(nodeId: string, resources: Resource[]): T;
  /** A network that the node has tasks on. */
  inside(network: Network, nodeId: string): T;
  /** A network that the node has no tasks on, and brings connections to. */
  asGuest(network: Network): T;
  publications(nodeId: string): T;
  /** Networks that connections are brought to. */
  doors(): ReadonlyMap<string, ReadonlySet<string>>;
}

export const networkPart = (networkId: string): string => `network/${networkId}`;
export const PUBLICATIONS = 'publications';

/** The view of a node, in parts by name: those of networks are named the same whatever the node does there. */
export function partsOf<T>(state: ClusterState, nodeId: string, source: ViewSource<T>): Map<string, T> {
  const tasks = state.tasksOfNode(nodeId);
  const own = tasks.map((task): Resource => ({ kind: 'task', value: withDrain(state, task) }));
  const parts = new Map<string, T>([['common', source.common()]]);
  const networkIds = new Set(tasks.flatMap((t) => t.endpoints.map((e) => e.networkId)));
  for (const id of networkIds) {
    const network = state.networks.get(id);
    const address = state.nodeAddresses.get(id)?.get(nodeId);
    if (!network || !(address || isChildDriver(network))) continue;
    own.push(networkResource(state, network, nodeId, address));
    parts.set(networkPart(id), source.inside(network, nodeId));
  }
  for (const id of source.doors().keys()) {
    const network = networkIds.has(id) ? undefined : state.networks.get(id);
    if (!network) continue;
    own.push(networkResource(state, network, nodeId, state.nodeAddresses.get(id)?.get(nodeId)));
    parts.set(networkPart(id), source.asGuest(network));
  }
  return parts.set(PUBLICATIONS, source.publications(nodeId)).set('own', source.own(nodeId, own));
}

/** Views of one state; what several nodes share is computed once. Throw it away when the state has changed. */
export class ViewMaker implements ViewSource<Resource[]> {
  readonly #state: ClusterState;
  readonly #overlays = new Map<string, Resource[]>();
  readonly #guests = new Map<string, Resource[]>();
  #common: Resource[] | undefined;
  #publications: Publication[] | undefined;
  #doors: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  constructor(state: ClusterState) {
    this.#state = state;
  }

  viewOf(nodeId: string): Resource[] {
    return [...partsOf(this.#state, nodeId, this).values()].flat();
  }

  common(): Resource[] {
    return (this.#common ??= commonResources(this.#state));
  }

  own(_nodeId: string, resources: Resource[]): Resource[] {
    return resources;
  }

  doors(): ReadonlyMap<string, ReadonlySet<string>> {
    return (this.#doors ??= doorsOf(this.#state));
  }

  publications(nodeId: string): Resource[] {
    const all = (this.#publications ??= publicationsOf(this.#state));
    return publicationsFor(this.#state, all, nodeId).map(publicationResource);
  }

  asGuest(network: Network): Resource[] {
    let inside = this.#guests.get(network.id);
    if (!inside) this.#guests.set(network.id, (inside = guestResources(this.#state, network, this.doors())));
    return inside;
  }

  inside(network: Network, nodeId: string): Resource[] {
    if (network.driver === 'bridge') return insideResources(this.#state, network, this.doors(), nodeId);
    let resources = this.#overlays.get(network.id);
    if (!resources) this.#overlays.set(network.id, (resources = insideResources(this.#state, network, this.doors())));
    return resources;
  }
}

export const viewOf = (state: ClusterState, nodeId: string): Resource[] => new ViewMaker(state).viewOf(nodeId);

export const publicationResource = (value: Publication): Resource => ({ kind: 'publication', value });

type Doors = ReadonlyMap<string, ReadonlySet<string>>;
const NOBODY: ReadonlySet<string> = new Set();

const withDrain = (state: ClusterState, task: Task): Task => (drains(task) && isDrained(state, task) ? { ...task, drained: true } : task);

function nodeMember(state: ClusterState, { id, name, address, index }: Node): Member {
  const { wireguard, addresses = [] } = state.facts.get(id) ?? {};
  const six = addresses.flatMap((a) => (familyOf(a) === 6 ? (a.split('/')[0] ?? []) : [])).sort();
  const more = { ...(six.length === 0 ? {} : { addresses6: six }), ...(wireguard === undefined ? {} : { wireguard }) };
  return { id, name, address, kind: 'node', index, ...more };
}

export function commonResources(state: ClusterState): Resource[] {
  const members: Resource[] = [
    ...[...state.nodes.values()].map((n): Resource => ({
      kind: 'member',
      value: nodeMember(state, n),
    })),
    ...[...state.controllers.values()].map((c): Resource => ({
      kind: 'member',
      value: { id: c.id, name: c.name, address: c.address, kind: 'controller', port: c.port },
    })),
  ];
  const guarded = new Set([AGENT_PORT, ...[...state.controllers.values()].flatMap((c) => [c.port, ...c.guardedPorts])]);
  const settings = {
    vxlanPort: state.cluster?.vxlanPort ?? VXLAN_PORT,
    wireguardPort: WIREGUARD_PORT,
    ...(state.cluster?.dnsTtlSeconds === undefined ? {} : { dnsTtlSeconds: state.cluster.dnsTtlSeconds }),
    ...(state.cluster?.deadAfterMs === undefined ? {} : { deadAfterMs: state.cluster.deadAfterMs }),
    guardedTcpPorts: [...guarded].sort((a, b) => a - b),
  };
  return [...members, { kind: 'settings', value: settings }];
}

function networkResource(state: ClusterState, n: Network, nodeId: string, address: NodeAddress | undefined): Resource {
  const { id, name, stack, key, driver, internal, subnet, gateway, vni, moreSubnets, ipv6, options } = n;
  const own = address === undefined ? {} : { nodeAddress: address.ipv4 };
  const six = ipv6 === undefined || address?.ipv6 === undefined ? {} : { ipv6, nodeAddress6: address.ipv6 };
  const more = { ...(moreSubnets === undefined ? {} : { moreSubnets }), ...(options === undefined ? {} : { options }), ...six };
  const mtu = networkMtu(state, n, nodeId);
  const value = { id, name, stack, key, driver, internal, subnet, gateway, vni, mtu, ...own, ...more };
  return { kind: 'network', value };
}

/** Endpoints, names and VIPs of one network. @param nodeId only what is on this node; all nodes if left out */
export function insideResources(state: ClusterState, network: Network, doors: Doors, nodeId?: string): Resource[] {
  const published = doors.get(network.id) ?? NOBODY;
  const sees = (id: string) => nodeId === undefined || id === nodeId;
  const tasks = state.tasksOfNetwork(network.id).filter((t) => sees(t.nodeId) && state.statuses.get(t.id)?.state !== 'stopped');
  const endpoints = [...taskEndpoints(state, network.id, tasks, published), ...nodeEndpoints(state, network.id, sees)];
  const { names, vips } = namesAndVips(state, network.id, tasks);
  return [
    ...endpoints.map((value): Resource => ({ kind: 'endpoint', value })),
    ...names.map((value): Resource => ({ kind: 'name', value })),
    ...vips.map((value): Resource => ({ kind: 'vip', value })),
  ];
}

/** Of one network, the endpoints of the tasks that are entered there, and of the nodes they are on. */
export function guestResources(state: ClusterState, network: Network, doors: Doors): Resource[] {
  const published = doors.get(network.id) ?? NOBODY;
  const tasks = state.tasksOfNetwork(network.id).filter((t) => published.has(t.id) && state.statuses.get(t.id)?.state !== 'stopped');
  const nodes = new Set(tasks.map((t) => t.nodeId));
  const endpoints = [...taskEndpoints(state, network.id, tasks, published), ...nodeEndpoints(state, network.id, (id) => nodes.has(id))];
  return endpoints.map((value): Resource => ({ kind: 'endpoint', value }));
}

function taskEndpoints(state: ClusterState, networkId: string, tasks: readonly Task[], published: ReadonlySet<string>): EndpointView[] {
  const out: EndpointView[] = [];
  for (const task of tasks) {
    const vtep = state.nodes.get(task.nodeId)?.address;
    if (vtep === undefined) continue;
    const marks = { ...(published.has(task.id) ? { published: true } : {}), ...(isLost(state, task) ? { lost: true as const } : {}) };
    for (const e of task.endpoints) {
      if (e.networkId !== networkId) continue;
      const { ipv4, ipv6, mac } = e;
      out.push({ networkId, ipv4, ...(ipv6 === undefined ? {} : { ipv6 }), mac, nodeId: task.nodeId, vtep, taskId: task.id, ...marks });
    }
  }
  return out;
}

function nodeEndpoints(state: ClusterState, networkId: string, sees: (nodeId: string) => boolean): EndpointView[] {
  const out: EndpointView[] = [];
  for (const { nodeId, ipv4, ipv6 } of state.nodeAddresses.get(networkId)?.values() ?? []) {
    const node = state.nodes.get(nodeId);
    const six = ipv6 === undefined ? {} : { ipv6 };
    if (node && sees(nodeId)) out.push({ networkId, ipv4, ...six, mac: macOfNode(node.index), nodeId, vtep: node.address });
  }
  return out;
}
