/** The published ports that a node opens: everything of mode `ingress`, and those of mode `host` of its own tasks. Pure. */
import type { Publication } from '#model/node-view.js';
import type { Port } from '#model/stack.js';
import type { ViewByKind } from '#model/view-state.js';
import type { PortBackend, PublishedPort } from './published-ports.js';
import { exitOf, taskInterfaces, type TaskInterface } from './task-interfaces.js';

/** A task of this node with ports, and the addresses they are entered at. */
export interface HostModeTask {
  ports: readonly Port[];
  address: string;
  address6?: string;
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
  const found = new Map<string, PublishedPort & { backends: PortBackend[]; backends6: PortBackend[] }>();
  for (const { protocol, published, hostIp, affinity, target, backends } of publications) {
    const port = { protocol, published, hostIp, affinity, backends: [], backends6: [] };
    found.set(portKey(port), port);
    for (const { ipv4, ipv6 } of backends) add(port, target, ipv4, ipv6);
  }
  for (const { ports, address, address6 } of tasks) {
    for (const { protocol, published, hostIp, target, mode } of ports) {
      if (mode !== 'host') continue;
      const key = portKey({ protocol, published, hostIp });
      const port = found.get(key) ?? { protocol, published, hostIp, backends: [], backends6: [] };
      add(port, target, address, address6);
      found.set(key, port);
    }
  }
  return [...found]
    .filter(([key]) => !refused.has(key))
    .map(([, p]) => ({ ...p, backends: p.backends.sort(inOrder), backends6: p.backends6.sort(inOrder) }));
}

function add(
  port: { backends: PortBackend[]; backends6: PortBackend[] },
  target: number,
  address: string,
  address6: string | undefined,
): void {
  port.backends.push({ address, port: target });
  if (address6 !== undefined) port.backends6.push({ address: address6, port: target });
}

const inOrder = (a: PortBackend, b: PortBackend): number => compare(a.address, b.address) || a.port - b.port;

/** The addresses of a task's interface by which its ports are entered; of IPv6 only where its network has it. */
export const enteredAt = ({ ipv4, ipv6, network }: TaskInterface): Pick<HostModeTask, 'address' | 'address6'> => ({
  address: ipv4,
  ...(network.ipv6 && ipv6 !== undefined ? { address6: ipv6 } : {}),
});

/** Every published port of a view, before anybody said which are refused. */
export function portsOfView(view: ViewByKind, nodeId: string): PublishedPort[] {
  const tasks = view.tasks.filter((t) => t.nodeId === nodeId && t.desired === 'run' && t.ports.some((p) => p.mode === 'host'));
  const entered = tasks.flatMap((t) => {
    const door = exitOf(taskInterfaces(t.endpoints, view.networks, (n) => n.name).filter((i) => i.parent === undefined));
    return door ? [{ ports: t.ports, ...enteredAt(door) }] : [];
  });
  return nodePorts(view.publications, entered, new Set());
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
