/**
 * The way from a task or a node to an address, hop by hop, from the view of the node it begins on: what is passed, and which
 * kernel objects of which node it depends on. Pure; whoever traces asks each node what differs there, and judges.
 */
import type { EndpointView, NetworkView } from '#model/node-view.js';
import type { ViewByKind } from '#model/view-state.js';
import type { FaultKind } from './faults.js';
import { NODE_NAMESPACE } from './kernel-state.js';
import { bridgeName, taskNamespace, vethName, vxlanName } from './names.js';

/** Kernel objects: of a kind, whose key begins so. */
export interface Concern {
  ns: string;
  kind: FaultKind;
  key: string;
}

export interface Hop {
  step: string;
  nodeId: string;
  what: string;
  concerns: Concern[];
}

export interface TraceStart {
  nodeId: string;
  /** Left out: from the node itself. */
  taskId?: string;
}

export interface TracePath {
  hops: Hop[];
  /** Where a probe goes: the virtual address, if there is one. Left out where the way ends before. */
  target?: string;
  /** Where the way goes over the underlay: from one node to another. */
  far?: { nodeId: string; vtep: string };
  /** Why it cannot go on, if it ends before its goal. */
  broken?: { why: string; remedy: string };
}

const isAddress = (text: string): boolean => /^[0-9.]+$/.test(text) || text.includes(':');

/** @param to a name or an address */
export function tracePath(view: ViewByKind, start: TraceStart, to: string): TracePath {
  const task = start.taskId === undefined ? undefined : view.tasks.find((t) => t.id === start.taskId);
  const own = task && task.endpoints.length > 0 ? new Set(task.endpoints.map((e) => e.networkId)) : undefined;
  const networks = view.networks.filter((n) => own?.has(n.id) ?? true);
  const hops: Hop[] = [];
  const address = isAddress(to) ? to : resolved(view, networks, to, hops, start.nodeId);
  if (address === undefined) {
    const where = networks.map((n) => n.name).join(', ') || 'no network';
    return {
      hops,
      broken: {
        why: `the name ${to} has no address on ${where}`,
        remedy: 'Attach both to one network, or see with `ctl ps` why no task of it serves.',
      },
    };
  }
  const ns = own && task ? taskNamespace(task.id) : NODE_NAMESPACE;
  if (own && task) hops.push(leaving(start.nodeId, ns, task.name));
  const vip = view.vips.find((v) => (v.ipv4 === address || v.ipv6 === address) && networks.some((n) => n.id === v.networkId));
  const backends = vip ? (vip.ipv4 === address ? vip.backends : (vip.backends6 ?? [])) : [address];
  if (vip) hops.push(balanced(start.nodeId, ns, address, vip.service, backends));
  const ends = backends.flatMap((b) => endpointOf(view, networks, b) ?? []);
  if (vip && ends.length === 0)
    return { hops, target: address, broken: { why: `service ${vip.service} has no task that serves`, remedy: 'See with `ctl ps` why.' } };
  for (const { network, endpoint } of ends) hops.push(...across(start, task?.id, own !== undefined, network, endpoint));
  const far = ends.find(({ endpoint }) => endpoint.nodeId !== start.nodeId)?.endpoint;
  return { hops, target: address, ...(far ? { far: { nodeId: far.nodeId, vtep: far.vtep } } : {}) };
}

function resolved(view: ViewByKind, networks: readonly NetworkView[], name: string, hops: Hop[], nodeId: string): string | undefined {
  const record = view.names.find((r) => r.name === name && r.addresses.length > 0 && networks.some((n) => n.id === r.networkId));
  const network = networks.find((n) => n.id === record?.networkId);
  if (record && network)
    hops.push({ step: 'name', nodeId, what: `${name} is ${record.addresses.join(', ')} on ${network.name}`, concerns: [] });
  return record?.addresses[0];
}

const leaving = (nodeId: string, ns: string, name: string): Hop => ({
  step: 'task',
  nodeId,
  what: `namespace ${ns} of ${name}`,
  concerns: (['namespace', 'link', 'address', 'route', 'rule', 'neighbour', 'sysctl'] as const).map((kind) => ({ ns, kind, key: '' })),
});

const balanced = (nodeId: string, ns: string, vip: string, service: string, backends: readonly string[]): Hop => ({
  step: 'vip',
  nodeId,
  what: `${vip} of ${service} goes to ${backends.join(', ') || 'nobody'}`,
  concerns: [
    { ns, kind: 'nft', key: '' },
    { ns, kind: 'vip', key: '' },
  ],
});

function endpointOf(view: ViewByKind, networks: readonly NetworkView[], address: string) {
  const endpoint = view.endpoints.find((e) => (e.ipv4 === address || e.ipv6 === address) && networks.some((n) => n.id === e.networkId));
  const network = networks.find((n) => n.id === endpoint?.networkId);
  return endpoint && network ? [{ network, endpoint }] : undefined;
}

const nodeConcern = (kind: FaultKind, key: string): Concern => ({ ns: NODE_NAMESPACE, kind, key });

function across(start: TraceStart, taskId: string | undefined, isTask: boolean, n: NetworkView, e: EndpointView): Hop[] {
  const [bridge, vxlan] = [bridgeName(n.vni), vxlanName(n.vni)];
  const here = start.nodeId;
  const wire = isTask && taskId !== undefined ? [nodeConcern('link', vethName(taskId, n.id))] : [];
  const firewall = [nodeConcern('nft', 'inet weft'), nodeConcern('nft', 'bridge weft')];
  const bridged = (nodeId: string): Hop => ({
    step: nodeId === here ? 'bridge' : 'remote bridge',
    nodeId,
    what: `${bridge} of ${n.name}`,
    concerns: [
      nodeConcern('link', bridge),
      nodeConcern('address', bridge),
      ...(nodeId === here ? wire : []),
      nodeConcern('sysctl', 'net.ipv4.ip_forward'),
      nodeConcern('sysctl', `net.ipv4.conf.${bridge}.`),
      ...firewall,
    ],
  });
  const hops = [bridged(here)];
  if (e.nodeId !== here) {
    hops.push(
      {
        step: 'neighbour',
        nodeId: here,
        what: `${e.ipv4} is at ${e.mac}`,
        concerns: [nodeConcern('neighbour', `${bridge} ${e.ipv4}`)],
      },
      {
        step: 'fdb',
        nodeId: here,
        what: `${e.mac} is behind ${vxlan}, at ${e.vtep}`,
        concerns: [nodeConcern('fdb', `${vxlan} ${e.mac}`)],
      },
      { step: 'vtep', nodeId: here, what: `${vxlan}, VNI ${n.vni}`, concerns: [nodeConcern('link', vxlan), nodeConcern('peer', '')] },
      { step: 'remote vtep', nodeId: e.nodeId, what: `${vxlan} at ${e.vtep}`, concerns: [nodeConcern('link', vxlan)] },
      bridged(e.nodeId),
    );
  }
  if (e.taskId === undefined) return hops;
  const ns = taskNamespace(e.taskId);
  const inside = (['namespace', 'link', 'address', 'route', 'rule', 'nft'] as const).map((kind): Concern => ({ ns, kind, key: '' }));
  const end = { step: 'veth', nodeId: e.nodeId, what: `${vethName(e.taskId, n.id)}, then ${e.ipv4} in ${ns}` };
  return [...hops, { ...end, concerns: [nodeConcern('link', vethName(e.taskId, n.id)), ...inside] }];
}

/** Whether a fault that a node told of is of concern for a hop. */
export const concerns = (hop: Hop, fault: { namespace: string; kind: string; key: string }): boolean =>
  hop.concerns.some((c) => c.ns === fault.namespace && c.kind === fault.kind && fault.key.startsWith(c.key));
