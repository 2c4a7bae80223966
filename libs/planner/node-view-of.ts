/**
 * What one node is told: its tasks, the networks it has tasks on, and the endpoints, names and VIPs there; who belongs to
 * the cluster; settings. Nothing of networks it takes no part in.
 */
import { macOfIp } from '#base/address.js';
import type { Network, NodeAddress } from '#model/network.js';
import type { Node } from '#model/node.js';
import type { EndpointView, Member, Resource } from '#model/node-view.js';
import { AGENT_PORT, VXLAN_PORT, WIREGUARD_PORT } from '#model/ports.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { isLost } from './serving.js';
import { namesAndVips } from './names-of.js';
import { networkMtu } from './network-mtu.js';

/** Views of one state; what several nodes share is computed once. Throw it away when the state has changed. */
export class ViewMaker {
  readonly #state: ClusterState;
  readonly #overlays = new Map<string, Resource[]>();
  #common: Resource[] | undefined;

  constructor(state: ClusterState) {
    this.#state = state;
  }

  viewOf(nodeId: string): Resource[] {
    const state = this.#state;
    const tasks = state.tasksOfNode(nodeId);
    const resources: Resource[] = [
      ...(this.#common ??= commonResources(state)),
      ...tasks.map((value): Resource => ({ kind: 'task', value })),
    ];
    const networkIds = new Set(tasks.flatMap((t) => t.endpoints.map((e) => e.networkId)));
    for (const id of networkIds) {
      const network = state.networks.get(id);
      const address = state.nodeAddresses.get(id)?.get(nodeId);
      if (!network || !address) continue;
      resources.push(networkResource(state, network, nodeId, address), ...this.#inside(network, nodeId));
    }
    return resources;
  }

  #inside(network: Network, nodeId: string): Resource[] {
    if (network.driver === 'bridge') return insideOf(this.#state, network, (id) => id === nodeId);
    let resources = this.#overlays.get(network.id);
    if (!resources) this.#overlays.set(network.id, (resources = insideOf(this.#state, network, () => true)));
    return resources;
  }
}

export const viewOf = (state: ClusterState, nodeId: string): Resource[] => new ViewMaker(state).viewOf(nodeId);

function nodeMember(state: ClusterState, { id, name, address, index }: Node): Member {
  const wireguard = state.facts.get(id)?.wireguard;
  return { id, name, address, kind: 'node', index, ...(wireguard === undefined ? {} : { wireguard }) };
}

function commonResources(state: ClusterState): Resource[] {
  const members: Resource[] = [
    ...[...state.nodes.values()].map((n): Resource => ({
      kind: 'member',
      value: nodeMember(state, n),
    })),
    ...[...state.controllers.values()].map((c): Resource => ({
      kind: 'member',
      value: { id: c.id, name: c.name, address: c.address, kind: 'controller' },
    })),
  ];
  const guarded = new Set([AGENT_PORT, ...[...state.controllers.values()].flatMap((c) => [c.port, ...c.guardedPorts])]);
  const settings = {
    vxlanPort: state.cluster?.vxlanPort ?? VXLAN_PORT,
    wireguardPort: WIREGUARD_PORT,
    guardedTcpPorts: [...guarded].sort((a, b) => a - b),
  };
  return [...members, { kind: 'settings', value: settings }];
}

function networkResource(state: ClusterState, n: Network, nodeId: string, address: NodeAddress): Resource {
  const { id, name, stack, key, driver, internal, subnet, gateway, vni, moreSubnets, ipv6, options } = n;
  const six = ipv6 === undefined || address.ipv6 === undefined ? {} : { ipv6, nodeAddress6: address.ipv6 };
  const more = { ...(moreSubnets === undefined ? {} : { moreSubnets }), ...(options === undefined ? {} : { options }), ...six };
  const mtu = networkMtu(state, n, nodeId);
  const value = { id, name, stack, key, driver, internal, subnet, gateway, vni, mtu, nodeAddress: address.ipv4, ...more };
  return { kind: 'network', value };
}

/** Endpoints, names and VIPs of one network, of the nodes that `sees` lets through. */
function insideOf(state: ClusterState, network: Network, sees: (nodeId: string) => boolean): Resource[] {
  const tasks = state.tasksOfNetwork(network.id).filter((t) => sees(t.nodeId) && state.statuses.get(t.id)?.state !== 'stopped');
  const endpoints = [...taskEndpoints(state, network.id, tasks), ...nodeEndpoints(state, network.id, sees)];
  const { names, vips } = namesAndVips(state, network.id, tasks);
  return [
    ...endpoints.map((value): Resource => ({ kind: 'endpoint', value })),
    ...names.map((value): Resource => ({ kind: 'name', value })),
    ...vips.map((value): Resource => ({ kind: 'vip', value })),
  ];
}

function taskEndpoints(state: ClusterState, networkId: string, tasks: readonly Task[]): EndpointView[] {
  const out: EndpointView[] = [];
  for (const task of tasks) {
    const vtep = state.nodes.get(task.nodeId)?.address;
    if (vtep === undefined) continue;
    for (const e of task.endpoints) {
      if (e.networkId !== networkId) continue;
      const { ipv4, ipv6, mac } = e;
      const lost = isLost(state, task) ? { lost: true as const } : {};
      out.push({ networkId, ipv4, ...(ipv6 === undefined ? {} : { ipv6 }), mac, nodeId: task.nodeId, vtep, taskId: task.id, ...lost });
    }
  }
  return out;
}

function nodeEndpoints(state: ClusterState, networkId: string, sees: (nodeId: string) => boolean): EndpointView[] {
  const out: EndpointView[] = [];
  for (const { nodeId, ipv4, ipv6 } of state.nodeAddresses.get(networkId)?.values() ?? []) {
    const vtep = state.nodes.get(nodeId)?.address;
    const six = ipv6 === undefined ? {} : { ipv6 };
    if (vtep !== undefined && sees(nodeId)) out.push({ networkId, ipv4, ...six, mac: macOfIp(ipv4), nodeId, vtep });
  }
  return out;
}
