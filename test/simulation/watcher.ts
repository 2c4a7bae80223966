/**
 * Sees everything that is written to etcd and every process that begins or ends, at the very moment, and knows the whole
 * truth, as no part of the system does. It throws at the first thing that must not be.
 */
import { splitKey } from '#model/keys.js';
import type { Lease, NodeAddress, Vip } from '#model/network.js';
import type { Node, NodeState } from '#model/node.js';
import type { StackRecord } from '#model/stack.js';
import type { Task, TaskStatus } from '#model/task.js';
import type { WireEvent } from '#store/wire.js';
import type { Container, Machine } from './machine.js';
import { MoveWatch } from './move-watch.js';
import type { SimProcess } from './process.js';
import { RestartWatch } from './restart-watch.js';
import { fail } from './violation.js';

export interface WatcherTools {
  machines: ReadonlyMap<string, Machine>;
  /** Whether the node was out of touch, or its agent away, for long enough to be taken for dead. */
  mayBeDead: (nodeId: string) => boolean;
  /** Milliseconds. */
  now: () => number;
  note: (line: () => string) => void;
}

const slotOf = (t: Pick<Task, 'stack' | 'service' | 'slot'>): string => `${t.stack}/${t.service}/${t.slot}`;

const addressesOf = (x: { ipv4: string; ipv6?: string }): string[] => (x.ipv6 === undefined ? [x.ipv4] : [x.ipv4, x.ipv6]);

export class Watcher {
  readonly tasks = new Map<string, Task>();
  readonly statuses = new Map<string, TaskStatus>();
  readonly stacks = new Map<string, StackRecord>();
  readonly nodes = new Map<string, Node>();
  readonly nodeStates = new Map<string, NodeState>();
  /** Task → the node that a command sends it to. */
  readonly marks = new Map<string, string>();
  readonly restarts = new RestartWatch();
  readonly #moves: MoveWatch;
  readonly #slots = new Map<string, string>();
  readonly #leases = new Map<string, Lease>();
  readonly #nodeAddresses = new Map<string, NodeAddress>();
  readonly #vips = new Map<string, Vip>();
  readonly #sessions = new Set<string>();
  /** Tasks that ever were. */
  readonly #made = new Set<string>();
  /** Slots of services that ever started a task beside the one it replaces. */
  readonly #mayHaveTwo = new Set<string>();
  readonly #removedNodes = new Set<string>();
  /** Who holds the leader's key: this very process, not only a controller of the name. */
  #leader: SimProcess | undefined;
  /** Who writes the next commit; undefined: etcd itself, as leases expire. */
  writer: SimProcess | undefined;
  /** The last commit that changed more than sessions and statuses, as a count. */
  changes = 0;
  /** Agents are never killed and never stand still, but with their hosts. */
  agentsRun = false;
  readonly #o: WatcherTools;

  constructor(tools: WatcherTools) {
    this.#o = tools;
    this.#moves = new MoveWatch(tools.now);
  }

  onCommit(revision: number, events: readonly WireEvent[]): void {
    const { writer } = this;
    this.writer = undefined;
    const touched = new Set<string>();
    const made: Task[] = [];
    const ended: Task[] = [];
    for (const event of events) {
      const key = event.type === 'put' ? event.entry.key : event.key;
      const [collection, rest] = splitKey(key) ?? ['', ''];
      const value: unknown = event.type === 'put' ? valueOf(collection, event.entry.value) : undefined;
      this.#o.note(() => `  ${revision} ${writer?.name ?? 'etcd'}: ${event.type} ${collection}/${rest}${brief(collection, value)}`);
      if (collection === 'leader') this.#leader = event.type === 'put' ? writer : undefined;
      else this.#takeIn({ collection, rest, value, writer, touched, made, ended });
    }
    for (const task of made) this.#checkMade(task);
    for (const id of touched) this.#checkTask(id);
    for (const task of ended) this.#checkEnded(task);
  }

  #takeIn(change: {
    collection: string;
    rest: string;
    value: unknown;
    writer: SimProcess | undefined;
    touched: Set<string>;
    made: Task[];
    ended: Task[];
  }): void {
    const { collection, rest, value, writer } = change;
    const isByLeader =
      collection === 'tasks' || collection === 'slots' || collection === 'ended' || (collection === 'node-states' && value !== undefined);
    if (isByLeader && writer !== this.#leader)
      fail(`${writer?.name ?? 'nobody'} wrote ${collection}/${rest} as leader; the leader is ${this.#leader?.name ?? 'nobody'}`);
    if (!collection.endsWith('-sessions') && collection !== 'task-status' && collection !== 'node-facts') this.changes++;
    switch (collection) {
      case 'tasks':
        return this.#takeTask(rest, value as Task | undefined, change);
      case 'slots':
        put(this.#slots, rest, value as string | undefined);
        if (rest.endsWith('/next')) this.#mayHaveTwo.add(rest.slice(0, -'/next'.length));
        return;
      case 'leases':
        return put(this.#leases, rest, value as Lease | undefined);
      case 'node-addresses':
        return put(this.#nodeAddresses, rest, value as NodeAddress | undefined);
      case 'vips':
        return put(this.#vips, rest, value as Vip | undefined);
      case 'task-status':
        this.#moves.onStatus(rest, value as TaskStatus | undefined, this.tasks.get(rest));
        return put(this.statuses, rest, value as TaskStatus | undefined);
      case 'stacks':
        this.#moves.onStack(rest, value as StackRecord | undefined);
        return put(this.stacks, rest, value as StackRecord | undefined);
      case 'moves':
        return put(this.marks, rest, value as string | undefined);
      case 'node-sessions':
        return void (value === undefined ? this.#sessions.delete(rest) : this.#sessions.add(rest));
      case 'node-states':
        return this.#takeNodeState(rest, value as NodeState | undefined);
      case 'nodes':
        if (value === undefined) this.#removedNodes.add(rest);
        return put(this.nodes, rest, value as Node | undefined);
    }
  }

  #takeTask(id: string, task: Task | undefined, { touched, made, ended }: { touched: Set<string>; made: Task[]; ended: Task[] }): void {
    const before = this.tasks.get(id);
    if (task === undefined) {
      this.tasks.delete(id);
      if (before) ended.push(before);
      return;
    }
    if (!before && this.#made.has(id)) fail(`task ${task.name} (${id}) was made twice`);
    if (before?.desired === 'stop' && task.desired === 'run') fail(`task ${task.name} was told to stop, and then to run again`);
    if (before && before.nodeId !== task.nodeId) fail(`task ${task.name} changed its node`);
    if (task.orphan && !before?.orphan && (this.nodeStates.get(task.nodeId)?.state !== 'down' || this.#sessions.has(task.nodeId)))
      fail(`task ${task.name} was given up, and its node lives`);
    if (!before) made.push(task);
    this.#made.add(id);
    this.tasks.set(id, task);
    this.#moves.onTask(before, task);
    touched.add(id);
  }

  #takeNodeState(nodeId: string, state: NodeState | undefined): void {
    if (state?.state === 'down' && this.nodeStates.get(nodeId)?.state !== 'down' && !this.#o.mayBeDead(nodeId))
      fail(`node ${this.nodes.get(nodeId)?.name} was declared dead, and lives`);
    put(this.nodeStates, nodeId, state);
    this.#moves.onNode(nodeId, state?.state === 'ready');
  }

  /** Its node takes tasks, at this very moment. */
  #checkMade({ id, name, nodeId }: Task): void {
    const node = this.nodes.get(nodeId);
    const { availability = 'active' } = node ?? {};
    const state = this.nodeStates.get(nodeId)?.state;
    if (!node || state !== 'ready' || availability !== 'active')
      fail(`task ${name} (${id}) was made on ${node?.name ?? nodeId}, which is ${[state, availability].join(' and ')}`);
  }

  /** Its addresses are its own, and nobody else has its slot. */
  #checkTask(id: string): void {
    const task = this.tasks.get(id);
    if (!task) return;
    for (const e of task.endpoints) {
      for (const address of addressesOf(e)) {
        const key = `${e.networkId}/${address}`;
        const lease = this.#leases.get(key);
        if (lease?.owner !== id || lease.restsUntil !== undefined)
          fail(`${address} of ${task.name} (${id}) is leased as ${JSON.stringify(lease)}`);
        this.#checkOwner(key, e.networkId, address, task);
      }
    }
    if (task.desired !== 'run' || task.orphan) return;
    const same = [...this.tasks.values()].filter((t) => t.desired === 'run' && !t.orphan && slotOf(t) === slotOf(task));
    const most = this.#slots.has(`${slotOf(task)}/next`) ? 2 : 1;
    if (same.length > most) fail(`slot ${slotOf(task)} is assigned to ${same.map((t) => t.id).join(' and ')}`);
  }

  #checkOwner(key: string, networkId: string, address: string, task: Task): void {
    for (const other of this.tasks.values()) {
      if (other.id === task.id) continue;
      if (other.endpoints.some((e) => e.networkId === networkId && addressesOf(e).includes(address)))
        fail(`${key} belongs to ${task.name} (${task.id}) and ${other.name} (${other.id})`);
    }
    for (const [where, owner] of [...this.#nodeAddresses, ...this.#vips])
      if (where.startsWith(`${networkId}/`) && addressesOf(owner).includes(address)) fail(`${key} belongs to ${task.name} and ${where}`);
  }

  /** A record goes when its process has gone. */
  #checkEnded(task: Task): void {
    if (this.#removedNodes.has(task.nodeId)) return;
    const container = this.#o.machines.get(task.nodeId)?.containers.get(task.id);
    if (container?.state === 'running') fail(`the record of ${task.name} (${task.id}) went while it runs`);
  }

  /** A process began or ended on a machine. */
  onProcess(machine: Machine, container: Container): void {
    const { task, state } = container;
    this.#o.note(() => `  ${machine.name}: ${task.name} (${task.id}) ${state}`);
    this.restarts.onProcess(container);
    if (state !== 'running' || this.#removedNodes.has(machine.nodeId)) return;
    if (!this.tasks.has(task.id)) fail(`${task.name} (${task.id}) was started on ${machine.name}, and has no record`);
    const running = this.#running();
    this.#checkProcesses(running, task);
    if (this.agentsRun) this.#checkParted(running, machine, task);
    if (!this.#counts(machine, task)) return;
    const same = running.filter(({ where, container }) => slotOf(container.task) === slotOf(task) && this.#counts(where, container.task));
    if (same.length > (this.#mayHaveTwo.has(slotOf(task)) ? 2 : 1))
      fail(`slot ${slotOf(task)} runs on ${same.map(({ where }) => where.name).join(' and ')}`);
  }

  /** Whether a process is one that its slot may have only one of: not given up with its node. */
  #counts(machine: Machine, { id }: Task): boolean {
    const record = this.tasks.get(id);
    return record !== undefined && !record.orphan && this.nodeStates.get(machine.nodeId)?.state !== 'down';
  }

  /** What stops on partition never runs twice, not even where one is on a node that was given up. */
  #checkParted(running: readonly { where: Machine; container: Container }[], machine: Machine, task: Task): void {
    if (task.onPartition !== 'stop' || this.#mayHaveTwo.has(slotOf(task))) return;
    const other = running.find(
      ({ where, container }) => where !== machine && container.task.onPartition === 'stop' && slotOf(container.task) === slotOf(task),
    );
    if (other) fail(`${task.name} stops on partition, and was started on ${machine.name} while it runs on ${other.where.name}`);
  }

  #checkProcesses(running: readonly { where: Machine; container: Container }[], task: Task): void {
    const mine = new Set(task.endpoints.flatMap((e) => addressesOf(e).map((a) => `${e.networkId}/${a}`)));
    for (const { where, container } of running) {
      if (container.task.id === task.id) continue;
      const shared = container.task.endpoints.flatMap((e) => addressesOf(e).map((a) => `${e.networkId}/${a}`)).find((key) => mine.has(key));
      if (shared !== undefined)
        fail(`${shared} is used by ${task.name} (${task.id}) and by ${container.task.name} (${container.task.id}) on ${where.name}`);
    }
  }

  #running(): { where: Machine; container: Container }[] {
    const found: { where: Machine; container: Container }[] = [];
    for (const where of this.#o.machines.values()) {
      if (!where.isPowered || this.#removedNodes.has(where.nodeId)) continue;
      for (const container of where.containers.values()) if (container.state === 'running') found.push({ where, container });
    }
    return found;
  }

  isRemoved = (nodeId: string): boolean => this.#removedNodes.has(nodeId);
  isLeading = (process: SimProcess): boolean => this.#leader === process;
}

function put<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** Records that are looked into; of others, that they are there is enough. */
const RECORDS: ReadonlySet<string> = new Set([
  'tasks',
  'leases',
  'node-addresses',
  'vips',
  'task-status',
  'stacks',
  'node-states',
  'nodes',
]);

const valueOf = (collection: string, text: string): unknown => (RECORDS.has(collection) ? JSON.parse(text) : text);

/** Of a value, what a person wants to read. */
function brief(collection: string, value: unknown): string {
  if (value === undefined || collection === 'stacks' || collection === 'networks') return '';
  if (collection === 'tasks') {
    const { name, nodeId, desired, orphan, endpoints } = value as Task;
    return ` ${name} on ${nodeId} ${desired}${orphan ? ' orphan' : ''} ${endpoints.map((e) => e.ipv4).join(' ')}`;
  }
  if (collection === 'task-status') {
    const { state, message } = value as TaskStatus;
    return ` ${state} ${message}`;
  }
  return ` ${JSON.stringify(value)}`;
}
