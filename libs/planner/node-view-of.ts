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

/** Views of one state; what several nodes share is computed once. Throw it away when the state has changed. */
export class ViewMaker {
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
    const state = this.#state;
    const tasks = state.tasksOfNode(nodeId);
    const resources: Resource[] = [
      ...(this.#common ??= commonResources(state)),
      ...tasks.map((task): Resource => ({ kind: 'task', value: withDrain(state, task) })),
    ];
    const networkIds = new Set(tasks.flatMap((t) => t.endpoints.map((e) => e.networkId)));
    for (const id of networkIds) {
      const network = state.networks.get(id);
      const address = state.nodeAddresses.get(id)?.get(nodeId);
      if (!network || !(address || isChildDriver(network))) continue;
      resources.push(networkResource(state, network, nodeId, address), ...this.#inside(network, nodeId));
    }
    for (const id of this.#publishing().keys()) if (!networkIds.has(id)) resources.push(...this.#asGuest(id, nodeId));
    const publications = publicationsFor(state, (this.#publications ??= publicationsOf(state)), nodeId);
    return [...resources, ...publications.map((value): Resource => ({ kind: 'publication', value }))];
  }

  #publishing(): ReadonlyMap<string, ReadonlySet<string>> {
    return (this.#doors ??= doorsOf(this.#state));
  }

  /** A network that the node has no tasks on, and brings connections to: the tasks entered there, and the nodes they are on. */
  #asGuest(id: string, nodeId: string): Resource[] {
    const network = this.#state.networks.get(id);
    if (!network) return [];
    let inside = this.#guests.get(id);
    if (!inside) this.#guests.set(id, (inside = doorResources(this.#state, network, this.#publishing().get(id) ?? new Set())));
    const address = this.#state.nodeAddresses.get(id)?.get(nodeId);
    return [networkResource(this.#state, network, nodeId, address), ...inside];
  }

  #inside(network: Network, nodeId: string): Resource[] {
    const published = this.#publishing().get(network.id) ?? new Set();
    if (network.driver === 'bridge') return insideOf(this.#state, network, published, (id) => id === nodeId);
    let resources = this.#overlays.get(network.id);
    if (!resources) this.#overlays.set(network.id, (resources = insideOf(this.#state, network, published, () => true)));
    return resources;
  }
}

export const viewOf = (state: ClusterState, nodeId: string): Resource[] => new ViewMaker(state).viewOf(nodeId);

const withDrain = (state: ClusterState, task: Task): Task => (drains(task) && isDrained(state, task) ? { ...task, drained: true } : task);

function nodeMember(state: ClusterState, { id, name, address, index }: Node): Member {
  const { wireguard, addresses = [] } = state.facts.get(id) ?? {};
  const six = addresses.flatMap((a) => (familyOf(a) === 6 ? (a.split('/')[0] ?? []) : [])).sort();
  const more = { ...(six.length === 0 ? {} : { addresses6: six }), ...(wireguard === undefined ? {} : { wireguard }) };
  return { id, name, address, kind: 'node', index, ...more };
}

function commonResources(state: ClusterState): Resource[] {
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

/** Endpoints, names and VIPs of one network, of the nodes that `sees` lets through. */
function insideOf(state: ClusterState, network: Network, published: ReadonlySet<string>, sees: (nodeId: string) => boolean): Resource[] {
  const tasks = state.tasksOfNetwork(network.id).filter((t) => sees(t.nodeId) && state.statuses.get(t.id)?.state !== 'stopped');
  const endpoints = [...taskEndpoints(state, network.id, tasks, published), ...nodeEndpoints(state, network.id, sees)];
  const { names, vips } = namesAndVips(state, network.id, tasks);
  return [
    ...endpoints.map((value): Resource => ({ kind: 'endpoint', value })),
    ...names.map((value): Resource => ({ kind: 'name', value })),
    ...vips.map((value): Resource => ({ kind: 'vip', value })),
  ];
}

/** Of one network, the endpoints of the tasks in `published` and of the nodes they are on. */
function doorResources(state: ClusterState, network: Network, published: ReadonlySet<string>): Resource[] {
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
