/**
 * How a task drains: told to stop, it leaves names, virtual addresses and publications at once, everywhere, and gets its
 * signal when every node has said that it leads nobody there any more, and a time more is over. Connections that were made before
 * go on until the program ends them.
 */
import type { Confirmation } from '#model/confirmation.js';
import { keys } from '#model/keys.js';
import type { Node } from '#model/node.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { DEFAULT_TTL_SECONDS } from '#model/name-ttl.js';
import type { ClusterState } from './cluster-state.js';
import { servesIn } from './serving.js';
import { hasVips } from './wanted-networks.js';

/** For answers in the making when the last node has taken the task out; on a busy machine they take longer than one expects. */
export const DEFAULT_DRAIN_MS = 1_000;

/**
 * Milliseconds; 0 for a task that nobody was sent to, and when its whole stack goes. Who was told the task's own address goes
 * on with it for as long as the answer holds.
 */
export function drainOf(state: ClusterState, task: Task): number {
  const record = state.stacks.get(task.stack);
  if (!record || record.removing || task.endpoints.length === 0 || !servesIn(state, task)) return 0;
  const service = record.spec.services[task.service];
  const wishedMs = service?.drainMs ?? DEFAULT_DRAIN_MS;
  return service && isNamedByAddress(state, service, task) ? Math.max(wishedMs, ttlMsOf(state, service)) : wishedMs;
}

/** Whether its service's names are answered with the addresses of tasks: `endpoint_mode: dnsrr`, and networks without virtual addresses. */
function isNamedByAddress(state: ClusterState, service: Service, task: Task): boolean {
  if (service.endpointMode === 'dnsrr') return true;
  return task.endpoints.some((e) => {
    const network = state.networks.get(e.networkId);
    return network !== undefined && network.discovery !== false && !hasVips(network);
  });
}

const ttlMsOf = (state: ClusterState, { dnsTtlSeconds }: Service): number =>
  (dnsTtlSeconds ?? state.cluster?.dnsTtlSeconds ?? DEFAULT_TTL_SECONDS) * 1000;

/** Whether it was told to stop and drains first. */
export const drains = (task: Task): boolean => task.desired === 'stop' && (task.drainMs ?? 0) > 0;

/** Whether something of it leaves, and waits for the nodes to have taken it out. */
export const awaitsNodes = (task: Task): boolean => drains(task) || task.endpoints.some((e) => e.leavingSince !== undefined);

/** The etcd revision a node must have reached to lead nobody to what drains of the task. */
export const drainedAt = (state: ClusterState, task: Task): number => state.revisionOf(keys.task(task.id));

/** How far a node has got: an etcd revision, 0 if it never said. */
export function confirmedBy(state: ClusterState, { index }: Pick<Node, 'index'>): number {
  let furthest = 0;
  for (const { nodes } of state.confirmations.values()) furthest = Math.max(furthest, nodes[index] ?? 0);
  return furthest;
}

/** Whether no node sends anything new to what drains of a task. A node that is not heard is not waited for: nobody could say when. */
export function isDrained(state: ClusterState, task: Task): boolean {
  const since = drainedAt(state, task);
  for (const node of state.nodes.values()) if (state.sessions.has(node.id) && confirmedBy(state, node) < since) return false;
  return true;
}

/**
 * What a controller should write down of the nodes attached to it.
 * @param confirmed node id → revision, of the nodes attached here
 * @returns undefined if nobody who drains would learn anything from it
 */
export function confirmationOf(state: ClusterState, confirmed: Iterable<[nodeId: string, revision: number]>): Confirmation | undefined {
  const waits = [...state.draining].flatMap((id) => {
    const task = state.tasks.get(id);
    return task ? [drainedAt(state, task)] : [];
  });
  const nodes: Confirmation['nodes'] = {};
  let tells = false;
  for (const [nodeId, revision] of confirmed) {
    const node = state.nodes.get(nodeId);
    if (!node || revision === 0) continue;
    nodes[node.index] = revision;
    const known = confirmedBy(state, node);
    tells ||= waits.some((since) => known < since && since <= revision);
  }
  return tells ? { nodes } : undefined;
}
