/** The published ports that a node opens: everything of mode `ingress`, and those of mode `host` of its own tasks. Pure. */
import type { Publication } from '#model/node-view.js';
import type { Port } from '#model/stack.js';
import type { ViewByKind } from '#model/view-state.js';
import type { PublishedPort } from './published-ports.js';
import { exitOf, taskInterfaces } from './task-interfaces.js';

/** A task of this node with ports, and the address they are entered at. */
export interface HostModeTask {
  ports: readonly Port[];
  address: string;
}

/** How a port of a node is named where it is refused or reported. */
export const portKey = (p: Pick<Port, 'protocol' | 'published' | 'hostIp'>): string =>
  `${p.hostIp === undefined ? '' : p.hostIp.includes(':') ? `[${p.hostIp}]:` : `${p.hostIp}:`}${p.published}/${p.protocol}`;

/**
 * @param tasks of this node that may be reached
 * @param refused keys of ports that somebody else on the node has: they stay theirs
 */
export function nodePorts(
  publications: readonly Publication[],
  tasks: readonly HostModeTask[],
  refused: ReadonlySet<string>,
): PublishedPort[] {
  const found = new Map<string, PublishedPort & { backends: { address: string; port: number }[] }>();
  for (const { protocol, published, hostIp, affinity, target, backends } of publications) {
    const port = { protocol, published, hostIp, affinity, backends: backends.map((b) => ({ address: b.ipv4, port: target })) };
    found.set(portKey(port), port);
  }
  for (const { ports, address } of tasks) {
    for (const { protocol, published, hostIp, target, mode } of ports) {
      if (mode !== 'host') continue;
      const key = portKey({ protocol, published, hostIp });
      const port = found.get(key) ?? { protocol, published, hostIp, backends: [] };
      port.backends.push({ address, port: target });
      found.set(key, port);
    }
  }
  return [...found]
    .filter(([key]) => !refused.has(key))
    .map(([, p]) => ({ ...p, backends: [...p.backends].sort((a, b) => compare(a.address, b.address) || a.port - b.port) }));
}

/** Every published port of a view, before anybody said which are refused. */
export function portsOfView(view: ViewByKind, nodeId: string): PublishedPort[] {
  const tasks = view.tasks.filter((t) => t.nodeId === nodeId && t.desired === 'run' && t.ports.some((p) => p.mode === 'host'));
  const entered = tasks.flatMap((t) => {
    const door = exitOf(taskInterfaces(t.endpoints, view.networks, (n) => n.name).filter((i) => i.parent === undefined));
    return door ? [{ ports: t.ports, address: door.ipv4 }] : [];
  });
  return nodePorts(view.publications, entered, new Set());
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
