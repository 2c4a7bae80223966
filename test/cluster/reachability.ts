/**
 * Who reaches whom, all pairs. What should be is computed from the stack files and from where the tasks are, by the rules of
 * the drivers; what is, observed-reachability.ts asks.
 */
import { parse } from 'yaml';
import type { TaskLine, TestCluster } from './cluster.js';

/** Every server of these stacks listens on one of them. */
const PORTS = [80, 81] as const;
export const NO_ANSWER = '';

type Mode = 'networks' | 'bridge' | 'host' | 'none' | 'service';

/** A published port, and where it leads. */
interface Published {
  port: number;
  target: number;
}

interface ServiceFacts {
  stack: string;
  mode: Mode;
  /** Of mode `service`, and of `container:NAME` which is the same: whose network it has. */
  of: string;
  networks: string[];
  /** Where its server listens. */
  port: number;
  published: Published[];
  links: string[];
}

interface NetworkFacts {
  driver: string;
  internal: boolean;
  external: boolean;
}

export interface World {
  services: Map<string, ServiceFacts>;
  /** By key; the default bridge is `bridge`. */
  networks: Map<string, NetworkFacts>;
  tasks: Place[];
  nodes: { name: string; address: string }[];
}

/** A task, and its further addresses. */
export interface Place extends TaskLine {
  /** Network key → IPv6 address. */
  six: Record<string, string>;
}

/** One question. */
export interface Cell {
  /** A service's first task, or `outside`: the developer's shell, in the LAN of the nodes. */
  client: string;
  host: string;
  port: number;
  /** Who answers (`service` by name, a task's name by address), and ` itself` behind it if the client is seen as who it is. */
  expected: string;
}

/** `client → host:port` → the cell. */
export type Cells = Map<string, Cell>;

interface FileService {
  networks?: string[] | Record<string, unknown>;
  network_mode?: string;
  entrypoint?: string[];
  command?: string[];
  ports?: string[];
  links?: string[];
}
interface File {
  name: string;
  services: Record<string, FileService>;
  networks: Record<string, { driver?: string; internal?: boolean; external?: boolean }>;
}

export function readWorld(files: readonly string[], tasks: Place[], nodes: World['nodes']): World {
  const stacks = files.map((text) => parse(text) as File);
  const services = stacks.flatMap((f) => Object.entries(f.services).map(([name, s]) => [name, factsOf(f.name, s)] as const));
  const networks = stacks.flatMap((f) => Object.entries(f.networks));
  return {
    services: new Map(services),
    networks: new Map([
      ...networks.map(([key, n]): [string, NetworkFacts] => [
        key,
        { driver: n.driver ?? 'overlay', internal: n.internal ?? false, external: n.external ?? false },
      ]),
      ['bridge', { driver: 'bridge', internal: false, external: false }],
    ]),
    tasks,
    nodes,
  };
}

function factsOf(stack: string, s: FileService): ServiceFacts {
  const [said = '', whose = ''] = (s.network_mode ?? 'networks').split(':');
  // A container's name is `stack-service-slot`.
  const [mode, of] = said === 'container' ? ['service', whose.split('-')[1] ?? ''] : [said, whose];
  const argv = [...(s.entrypoint ?? []), ...(s.command ?? [])];
  const port = argv[argv.indexOf('-p') + 1]?.replace('[::]:', '');
  return {
    stack,
    mode: mode as Mode,
    of,
    networks: mode === 'bridge' ? ['bridge'] : Array.isArray(s.networks) ? s.networks : Object.keys(s.networks ?? {}),
    port: argv.includes('-p') ? Number(port) : 80,
    published: (s.ports ?? []).flatMap(publishedOf),
    links: s.links ?? [],
  };
}

/** `8080:80`, or two ranges of the same length. */
function publishedOf(text: string): Published[] {
  const [from = [], to = []] = text.split(':').map((range) => range.split('-').map(Number));
  const [first = 0, last = first] = from;
  return Array.from({ length: last - first + 1 }, (_, i) => ({ port: first + i, target: (to[0] ?? 0) + i }));
}

/** The tasks of these stacks with all their addresses. */
export async function placesOf(cluster: TestCluster, stacks: readonly string[]): Promise<Place[]> {
  const tasks = (await Promise.all(stacks.map((s) => cluster.tasks(s)))).flat();
  return tasks.map((task): Place => ({ ...task, six: Object.hasOwn(task.addresses, 'six') ? { six: sixOf(cluster, task) } : {} }));
}

interface IpAddress {
  addr_info: { family: string; scope: string; local: string }[];
}
function sixOf(cluster: TestCluster, task: TaskLine): string {
  // Of a task that has just gone there is nothing to read: '' is no address of one that runs.
  const { stdout } = cluster.inTask(task.id, 'ip', '-j', '-6', 'addr', 'show', 'scope', 'global');
  const all = (JSON.parse(stdout || '[]') as IpAddress[]).flatMap((l) => l.addr_info ?? []);
  return all.find((a) => a.family === 'inet6' && a.scope === 'global')?.local ?? '';
}

// ---- what should be

/** Where packets of a client begin. */
type Space = { kind: 'task'; task: Place } | { kind: 'host'; node: string } | { kind: 'none' } | { kind: 'outside' };

export function spaceOf(world: World, client: string): Space {
  if (client === 'outside') return { kind: 'outside' };
  const { mode, of } = serviceOf(world, client);
  const task = firstOf(world, mode === 'service' ? of : client);
  if (mode === 'host') return { kind: 'host', node: task.node };
  return mode === 'none' ? { kind: 'none' } : { kind: 'task', task };
}

function serviceOf(world: World, name: string): ServiceFacts {
  const found = world.services.get(name);
  if (!found) throw new Error(`no service ${name}`);
  return found;
}
export function firstOf(world: World, service: string): Place {
  const found = world.tasks.find((t) => t.service === service);
  if (!found) throw new Error(`no task of ${service}`);
  return found;
}

const networksOf = (world: World, task: Place): string[] => serviceOf(world, task.service).networks;
const isOn = (world: World, node: string, network: string): boolean =>
  world.tasks.some((t) => t.node === node && networksOf(world, t).includes(network));

/** How a client is seen by a task at its address on a network: as `itself`, as somebody, or not at all. */
function seenOn(world: World, from: Space, to: Place, network: string, family: 4 | 6): string | undefined {
  const { driver } = world.networks.get(network) ?? {};
  if (from.kind === 'none') return undefined;
  if (from.kind === 'outside') return driver === 'macvlan' ? '' : undefined;
  if (from.kind === 'host') {
    if (driver === 'macvlan') return '';
    if (driver === 'bridge') return from.node === to.node ? '' : undefined;
    // A node is on the networks of its tasks, and has a way to tasks that publish.
    const publishes = family === 4 && serviceOf(world, to.service).published.length > 0;
    return isOn(world, from.node, network) || publishes ? '' : undefined;
  }
  if (from.task.id === to.id) return ' itself';
  if (networksOf(world, from.task).includes(network)) return driver === 'bridge' && from.task.node !== to.node ? undefined : ' itself';
  // To the site's LAN as to anywhere outside; but a node is kept apart from what stands on its own device.
  return driver === 'macvlan' && goesOut(world, from.task) && from.task.node !== to.node ? '' : undefined;
}

/** By its node, with the node's address. */
const goesOut = (world: World, task: Place): boolean =>
  networksOf(world, task).some((key) => {
    const n = world.networks.get(key);
    return n !== undefined && !n.internal && n.driver !== 'macvlan';
  });

/** Whether the address that a node has in the LAN is reached. */
function reachesNode(world: World, from: Space, node: string): boolean {
  if (from.kind !== 'task') return from.kind !== 'none';
  if (goesOut(world, from.task)) return true;
  return inLan(world, from) !== '' && from.task.node !== node;
}

/** What stands in the LAN of the nodes comes to a node with its own address. */
const inLan = (world: World, from: Space): string =>
  from.kind === 'task' && networksOf(world, from.task).every((key) => world.networks.get(key)?.driver === 'macvlan') ? ' itself' : '';

/** Who listens in the namespace that a task owns. */
function listener(world: World, owner: Place, port: number): string | undefined {
  const there = [...world.services].find(
    ([name, s]) => s.port === port && (name === owner.service || (s.mode === 'service' && s.of === owner.service)),
  );
  return there?.[0];
}

const hostTasks = (world: World): Place[] => world.tasks.filter((t) => serviceOf(world, t.service).mode === 'host');

export function expectedCells(world: World): Cells {
  const cells: Cells = new Map();
  const add = (cell: Cell): void => void cells.set(`${cell.client} → ${cell.host}:${cell.port}`, cell);
  for (const client of [...world.services.keys(), 'outside']) {
    const from = spaceOf(world, client);
    for (const port of PORTS) {
      if (client !== 'outside')
        for (const target of world.services.keys())
          for (const host of hostsOf(world, client, from, target))
            add({ client, host, port, expected: byName(world, client, from, target, port) });
      for (const to of world.tasks)
        for (const at of addressesOf(to)) add({ client, ...at, port, expected: byAddress(world, from, to, at, port) });
      for (const node of world.nodes) {
        const there = hostTasks(world).find((t) => t.node === node.name && serviceOf(world, t.service).port === port);
        const expected = there && reachesNode(world, from, node.name) ? node.name : NO_ANSWER;
        add({ client, host: node.address, port, expected });
      }
    }
    for (const [name, { published, port: served }] of world.services)
      for (const { port, target } of published)
        for (const node of world.nodes) {
          const answers = target === served && opensAt(world, name, node.name) && reachesNode(world, from, node.name);
          add({ client, host: node.address, port, expected: answers ? `${name}${inLan(world, from)}` : NO_ANSWER });
        }
  }
  return cells;
}

/** Every node enters an overlay network; one that ends at its node is entered there. */
const opensAt = (world: World, service: string, node: string): boolean =>
  serviceOf(world, service).networks.some((key) => world.networks.get(key)?.driver === 'overlay') || firstOf(world, service).node === node;

/** Whether it is on a network that other stacks use too, where names may be said with their stack. */
const isAbroad = (world: World, service: string): boolean =>
  serviceOf(world, service).networks.some((key) => world.networks.get(key)?.external);

interface At {
  host: string;
  network: string;
  family: 4 | 6;
}

export const addressesOf = (task: Place): At[] => [
  ...Object.entries(task.addresses).flatMap(([network, host]): At[] => (host ? [{ network, host, family: 4 }] : [])),
  ...Object.entries(task.six).map(([network, host]): At => ({ network, host: `[${host}]`, family: 6 })),
];

/** What a client may call a service. */
function hostsOf(world: World, client: string, from: Space, target: string): string[] {
  const isMet = from.kind === 'task' && isAbroad(world, from.task.service) && isAbroad(world, target);
  const { stack } = serviceOf(world, target);
  return isMet && serviceOf(world, client).stack !== stack ? [target, `${target}.${stack}`] : [target];
}

function byAddress(world: World, from: Space, to: Place, at: At, port: number): string {
  const who = listener(world, to, port);
  const seen = seenOn(world, from, to, at.network, at.family);
  if (who === undefined || seen === undefined) return NO_ANSWER;
  return `${to.name}${seen}`;
}

function byName(world: World, client: string, from: Space, target: string, port: number): string {
  const facts = serviceOf(world, target);
  const asks = serviceOf(world, client);
  if (from.kind !== 'task') return NO_ANSWER;
  const to = world.tasks.find((t) => t.service === target);
  if (asks.mode === 'bridge') {
    const linked = asks.links.includes(target) && to !== undefined && facts.port === port && seenOn(world, from, to, 'bridge', 4);
    return linked ? `${target}${linked}` : NO_ANSWER;
  }
  if (to === undefined) return NO_ANSWER;
  if (facts.mode === 'host') return facts.port === port && findsHost(world, from, to) ? to.node : NO_ANSWER;
  const shared = facts.networks.filter((key) => key !== 'bridge' && networksOf(world, from.task).includes(key));
  const who = listener(world, to, port);
  return shared.length > 0 && facts.mode === 'networks' && who !== undefined ? `${target} itself` : NO_ANSWER;
}

/** A task in the network of its node has its names on the networks of its stack; on internal ones by the node's address there. */
function findsHost(world: World, from: Extract<Space, { kind: 'task' }>, to: Place): boolean {
  const own = networksOf(world, from.task).filter((key) => !world.networks.get(key)?.external);
  if (own.length === 0 || serviceOf(world, from.task.service).stack !== serviceOf(world, to.service).stack) return false;
  const inside = own.filter((key) => world.networks.get(key)?.internal);
  if (inside.length < own.length) return reachesNode(world, from, to.node);
  return inside.some((key) => isOn(world, to.node, key));
}

/** `client → host:port: expected …, found …`, sorted. */
export function differences(expected: Cells, observed: ReadonlyMap<string, string>): string[] {
  return [...expected]
    .filter(([key, cell]) => observed.get(key) !== cell.expected)
    .map(([key, { expected: wish }]) => `${key}: expected ${wish || 'nothing'}, found ${observed.get(key) || 'nothing'}`)
    .sort();
}

/** The cells that were not as expected. */
export const onlyWrong = (expected: Cells, observed: ReadonlyMap<string, string>): Cells =>
  new Map([...expected].filter(([key, cell]) => observed.get(key) !== cell.expected));
