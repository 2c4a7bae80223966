/** Who holds a port: Weft itself and what it protects, a service, a process on a node. */
import type { ListeningPort } from '#model/node.js';
import {
  AGENT_PORT,
  CONTROLLER_PORT,
  DNS_PORT,
  ETCD_CLIENT_PORT,
  ETCD_PEER_PORT,
  HEALTH_PORT,
  JOIN_PORT,
  WIREGUARD_PORT,
} from '#model/ports.js';
import type { Port } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';
import { addressesOverlap, excludes, samePort } from './port-overlap.js';

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

/** Why `port` cannot be had by a service of `stack`; undefined if it can. */
export function holderOf(state: ClusterState, stack: string, port: Port): { why: string; hint?: string } | undefined {
  const whose = protectedFor(state, port);
  if (whose) return { why: `it is kept for ${whose}`, hint: 'Publish another port.' };
  const other = otherStack(state, stack, port);
  if (other) return { why: other };
  // What this stack publishes already is ours, whatever holds it on the nodes.
  const listener = publishes(state, stack, port) ? undefined : listenerOn(state, port);
  return listener ? { why: listener } : undefined;
}

function protectedFor(state: ClusterState, port: Port): string | undefined {
  if (port.protocol === 'tcp') {
    const named = PROTECTED_TCP.get(port.published);
    if (named) return named;
    const guarded = [...state.controllers.values()].flatMap((c) => [c.port, ...c.guardedPorts]);
    return guarded.includes(port.published) ? 'the controller' : undefined;
  }
  if (port.protocol !== 'udp') return undefined;
  if (port.published === (state.cluster?.vxlanPort ?? 0)) return 'the overlay network (VXLAN)';
  if (port.published === WIREGUARD_PORT) return 'encrypted networks (WireGuard)';
  return port.published === DNS_PORT ? 'name resolution' : undefined;
}

function otherStack(state: ClusterState, stackName: string, port: Port): string | undefined {
  for (const { spec } of state.stacks.values()) {
    if (spec.name === stackName) continue;
    for (const service of Object.values(spec.services)) {
      if (service.ports.some((p) => excludes(p, port))) return `service ${service.name} of stack ${spec.name} publishes it`;
    }
  }
  return undefined;
}

function publishes(state: ClusterState, stack: string, port: Port): boolean {
  const services = Object.values(state.stacks.get(stack)?.spec.services ?? {});
  return services.some((s) => s.ports.some((p) => samePort(p, port)));
}

/** `::` is heard over IPv4 too, unless the process forbade it, which cannot be seen. */
const WILDCARDS = new Set(['0.0.0.0', '::', '*', '']);

const hears = (l: ListeningPort, port: Port): boolean =>
  l.port === port.published && l.protocol === port.protocol && (WILDCARDS.has(l.address) || addressesOverlap(l.address, port.hostIp));

/** A port of mode `host` goes where nothing is in its way: only when every node has somebody on it is it taken. */
function listenerOn(state: ClusterState, port: Port): string | undefined {
  const found: string[] = [];
  for (const node of state.nodes.values()) {
    const l = state.facts.get(node.id)?.listening.find((listener) => hears(listener, port));
    if (l) found.push(`${l.process ?? 'a process'} listens on it on node ${node.name} (${l.address}:${l.port})`);
  }
  return port.mode === 'host' && found.length < state.nodes.size ? undefined : found[0];
}
