/** Published ports of mode `ingress`: every node answers on them, for the healthy tasks wherever they are. */
import type { Endpoint, Network } from '#model/network.js';
import type { Publication } from '#model/node-view.js';
import type { Port, Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { compareAddresses } from '#base/ip.js';
import type { ClusterState } from './cluster-state.js';
import { servesIn } from './serving.js';

type Backend = Publication['backends'][number];

/** Every ingress port of the cluster, with the tasks that serve it, sorted by address. */
export function publicationsOf(state: ClusterState): Publication[] {
  const out: Publication[] = [];
  for (const { spec, removing } of state.stacks.values()) {
    if (removing) continue;
    for (const service of Object.values(spec.services)) out.push(...ofService(state, spec.name, service));
  }
  return out;
}

function ofService(state: ClusterState, stack: string, service: Service): Publication[] {
  const ports = service.ports.filter(isIngress);
  if (ports.length === 0) return [];
  const backends = state
    .tasksOfService(stack, service.name)
    .filter((task) => servesIn(state, task))
    .flatMap((task) => backendOf(state, task))
    .sort((a, b) => compareAddresses(a.ipv4, b.ipv4));
  return ports.map(({ protocol, published, hostIp, target }) => ({
    stack,
    service: service.name,
    protocol,
    published,
    target,
    ...(hostIp === undefined ? {} : { hostIp }),
    ...(service.affinity === undefined ? {} : { affinity: service.affinity }),
    backends,
  }));
}

function backendOf(state: ClusterState, task: Task): Backend[] {
  const door = doorOf(state, task);
  if (!door) return [];
  const { networkId, ipv4, ipv6 } = door;
  return [{ taskId: task.id, nodeId: task.nodeId, networkId, ipv4, ...(ipv6 === undefined ? {} : { ipv6 }) }];
}

/** As one node is told: a network that ends at the node is entered there only. */
export function publicationsFor(state: ClusterState, publications: readonly Publication[], nodeId: string): Publication[] {
  const reaches = (b: Backend) => b.nodeId === nodeId || state.networks.get(b.networkId)?.driver === 'overlay';
  return publications.map((p) => (p.backends.every(reaches) ? p : { ...p, backends: p.backends.filter(reaches) }));
}

/** Network id → ids of the tasks that are entered there at ingress ports, whether they serve now or not: of `overlay` networks. */
export function doorsOf(state: ClusterState): Map<string, Set<string>> {
  const doors = new Map<string, Set<string>>();
  for (const task of state.tasks.values()) {
    const networkId = isPublished(state, task) ? overlayDoorOf(state, task) : undefined;
    if (networkId === undefined) continue;
    const tasks = doors.get(networkId);
    if (tasks) tasks.add(task.id);
    else doors.set(networkId, new Set([task.id]));
  }
  return doors;
}

/** The overlay network by which published ports would enter a task. */
export function overlayDoorOf(state: ClusterState, task: Task): string | undefined {
  const door = doorOf(state, task);
  return door && state.networks.get(door.networkId)?.driver === 'overlay' ? door.networkId : undefined;
}

const isIngress = (port: Port): boolean => port.mode !== 'host';

const lets = (network: Network): boolean => !network.internal && (network.driver === 'overlay' || network.driver === 'bridge');

/**
 * The endpoint by which published ports enter a task: on the network with the highest gw_priority that is not internal, the
 * first by name among equals.
 */
export function doorOf(state: ClusterState, task: Task): Endpoint | undefined {
  let best: { endpoint: Endpoint; network: Network } | undefined;
  for (const endpoint of task.endpoints) {
    const network = state.networks.get(endpoint.networkId);
    if (!network || !lets(network) || endpoint.leavingSince !== undefined) continue;
    if (!best || comesBefore({ endpoint, network }, best)) best = { endpoint, network };
  }
  return best?.endpoint;
}

type Candidate = { endpoint: Endpoint; network: Network };

function comesBefore(a: Candidate, b: Candidate): boolean {
  const priority = (b.endpoint.gwPriority ?? 0) - (a.endpoint.gwPriority ?? 0);
  if (priority !== 0) return priority < 0;
  return a.network.name < b.network.name;
}

/** Whether nodes bring in connections for it: by its record, or by its service as it is wished now. */
export function isPublished(state: ClusterState, task: Task): boolean {
  const service = state.stacks.get(task.stack)?.spec.services[task.service];
  return task.ports.some(isIngress) || (service?.ports.some(isIngress) ?? false);
}
