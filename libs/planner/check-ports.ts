/** Published ports: who else has them. Another stack, a service of the same stack, a process on a node, or Weft itself. */
import { WeftError } from '#base/errors.js';
import type { ListeningPort } from '#model/node.js';
import { AGENT_PORT, CONTROLLER_PORT, DNS_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT, HEALTH_PORT, JOIN_PORT } from '#model/ports.js';
import type { Port, Stack } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';

const SSH_PORT = 22;
const PROTECTED_TCP = new Map<number, string>([
  [SSH_PORT, 'ssh'],
  [CONTROLLER_PORT, 'the controller'],
  [JOIN_PORT, 'joining'],
  [AGENT_PORT, 'the agent'],
  [HEALTH_PORT, 'health checks'],
  [ETCD_CLIENT_PORT, 'etcd'],
  [ETCD_PEER_PORT, 'etcd'],
  [DNS_PORT, 'name resolution'],
]);

const show = (p: Port): string => `${p.hostIp ? `${p.hostIp}:` : ''}${p.published}/${p.protocol}`;

const taken = (p: Port, service: string, why: string, hint?: string): WeftError =>
  new WeftError('PORT_TAKEN', { what: `service ${service} cannot publish port ${show(p)}`, why, hint });

/** The same port of the same protocol, on addresses that overlap. */
const samePort = (a: Port, b: Port): boolean =>
  a.published === b.published && a.protocol === b.protocol && (a.hostIp === undefined || b.hostIp === undefined || a.hostIp === b.hostIp);

/** @throws PORT_TAKEN naming the stack, or the node and its process */
export function checkPorts(state: ClusterState, stack: Stack): void {
  const own = state.stacks.get(stack.name)?.spec;
  const ownBefore = own ? Object.values(own.services).flatMap((s) => s.ports) : [];
  const before: { port: Port; service: string }[] = [];
  for (const service of Object.values(stack.services)) {
    for (const port of service.ports) {
      checkProtected(state, port, service.name);
      const twice = before.find((b) => samePort(b.port, port));
      if (twice) throw taken(port, service.name, `service ${twice.service} of the same stack publishes it`);
      before.push({ port, service: service.name });
      checkOtherStacks(state, stack.name, port, service.name);
      // What this stack publishes already is ours, whatever holds it on the nodes.
      if (!ownBefore.some((p) => samePort(p, port))) checkListeners(state, port, service.name);
    }
  }
}

function checkProtected(state: ClusterState, port: Port, service: string): void {
  const controllerPorts = [...state.controllers.values()].flatMap((c) => [c.port, ...c.guardedPorts]);
  const whose =
    port.protocol === 'tcp'
      ? (PROTECTED_TCP.get(port.published) ?? (controllerPorts.includes(port.published) ? 'the controller' : undefined))
      : port.published === (state.cluster?.vxlanPort ?? 0)
        ? 'the overlay network (VXLAN)'
        : port.published === DNS_PORT
          ? 'name resolution'
          : undefined;
  if (whose) throw taken(port, service, `it is kept for ${whose}`, 'Publish another port.');
}

function checkOtherStacks(state: ClusterState, stackName: string, port: Port, service: string): void {
  for (const record of state.stacks.values()) {
    if (record.spec.name === stackName) continue;
    for (const other of Object.values(record.spec.services)) {
      if (other.ports.some((p) => samePort(p, port)))
        throw taken(port, service, `service ${other.name} of stack ${record.spec.name} publishes it`);
    }
  }
}

const WILDCARDS = new Set(['0.0.0.0', '::', '*', '']);

const hears = (l: ListeningPort, port: Port): boolean =>
  l.port === port.published &&
  l.protocol === port.protocol &&
  (port.hostIp === undefined || WILDCARDS.has(l.address) || l.address === port.hostIp);

function checkListeners(state: ClusterState, port: Port, service: string): void {
  for (const node of state.nodes.values()) {
    const listener = state.facts.get(node.id)?.listening.find((l) => hears(l, port));
    if (!listener) continue;
    throw taken(
      port,
      service,
      `${listener.process ?? 'a process'} listens on it on node ${node.name} (${listener.address}:${listener.port})`,
    );
  }
}
