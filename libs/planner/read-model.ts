/**
 * The cluster in memory, built from the store's feed. Every value passes its schema; one that does not is reported and
 * set aside (its key stays known, so that nobody takes the place it holds), and never stops the rest.
 */
import type { z } from 'zod';
import { messageOf } from '#base/errors.js';
import { clusterSchema, controllerRecordSchema, tokenSchema, type Cluster, type ControllerRecord, type Token } from '#model/cluster.js';
import { decode } from '#model/codec.js';
import { confirmationSchema, type Confirmation } from '#model/confirmation.js';
import { contentRecordSchema, namedContentSchema, type ContentRecord, type NamedContent } from '#model/content.js';
import { eventChunkSchema, type EventChunk } from '#model/event.js';
import { splitKey } from '#model/keys.js';
import {
  connectionSchema,
  leaseSchema,
  networkSchema,
  nodeAddressSchema,
  vipSchema,
  type Connection,
  type Lease,
  type Network,
  type NodeAddress,
  type Vip,
} from '#model/network.js';
import { nodeFactsSchema, nodeSchema, nodeStateSchema, type Node, type NodeFacts, type NodeState } from '#model/node.js';
import { stackRecordSchema, type StackRecord } from '#model/stack.js';
import {
  endedTaskSchema,
  taskSchema,
  taskStatusSchema,
  tombstoneSchema,
  type EndedTask,
  type Task,
  type TaskStatus,
  type Tombstone,
} from '#model/task.js';
import { updateRecordSchema, type UpdateRecord } from '#model/update.js';
import { volumeRecordSchema, type VolumeRecord } from '#model/volume.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { awaitsNodes } from './drain.js';
import { NestedMap, SetIndex } from './indexes.js';
import { poolSchema, type Pool } from './pool.js';
import { Tallies } from './tallies.js';

interface FeedEntry {
  key: string;
  value: string;
  modRevision: number;
}

/** The feed's entries as the store delivers them (structurally; a pure room may not import the store). */
export type ModelFeed =
  | { type: 'snapshot'; clusterId: string; revision: number; entries: FeedEntry[] }
  | { type: 'changes'; revision: number; puts: FeedEntry[]; deletes: { key: string }[] };

export interface Applied {
  /** Collections (`tasks`, `stacks`, …) that something changed in. */
  collections: Set<string>;
  /** Keys that were put or deleted; undefined after a snapshot: all of them. */
  keys: readonly string[] | undefined;
  /** Values that could not be read. */
  problems: { key: string; why: string }[];
}

interface Collection {
  put(rest: string, text: string, key: string): void;
  drop(rest: string): void;
  clear(): void;
}

/** What a lease that cannot be read stands for: somebody's address. */
const UNREADABLE_LEASE: Lease = { kind: 'task', owner: '(unreadable)' };

function splitOnce(rest: string): [string, string] {
  const slash = rest.indexOf('/');
  return slash < 0 ? [rest, ''] : [rest.slice(0, slash), rest.slice(slash + 1)];
}

export class ReadModel implements ClusterState {
  storeId = '';
  revision = 0;
  cluster: Cluster | undefined;
  leader: string | undefined;
  pool: Pool = poolSchema.parse({});
  readonly controllers = new Map<string, ControllerRecord>();
  readonly tokens = new Map<string, Token>();
  readonly nodes = new Map<string, Node>();
  readonly facts = new Map<string, NodeFacts>();
  readonly nodeStates = new Map<string, NodeState>();
  readonly sessions = new Map<string, string>();
  readonly controllerSessions = new Set<string>();
  readonly removedControllers = new Set<string>();
  readonly stacks = new Map<string, StackRecord>();
  readonly networks = new Map<string, Network>();
  readonly networkNames = new Map<string, string>();
  readonly tasks = new Map<string, Task>();
  readonly slots = new Map<string, string>();
  readonly ended = new Map<string, EndedTask>();
  readonly moves = new Map<string, string>();
  readonly updates = new Map<string, UpdateRecord>();
  readonly volumes = new Map<string, VolumeRecord>();
  readonly contents = new Map<string, ContentRecord>();
  readonly namedContents = new Map<string, NamedContent>();
  /** Only that it changes matters. */
  readonly #contentPool = new Map<string, string>();
  readonly #endedBySlot = new SetIndex();
  readonly statuses = new Map<string, TaskStatus>();
  readonly events = new Map<string, EventChunk>();
  readonly confirmations = new Map<string, Confirmation>();
  readonly draining = new Set<string>();
  readonly corrupt = new Map<string, string>();
  readonly #leases = new NestedMap<Lease>();
  readonly #vips = new NestedMap<Vip>();
  readonly #nodeAddresses = new NestedMap<NodeAddress>();
  readonly #connections = new NestedMap<Connection>();
  readonly #tombstones = new NestedMap<Tombstone>();
  readonly #revisions = new Map<string, number>();
  readonly #byNode = new SetIndex();
  readonly #byService = new SetIndex();
  readonly #byNetwork = new SetIndex();
  readonly #byStack = new SetIndex();
  readonly #byIndex = new Map<number, string>();
  /** Mark of an image → ids of the nodes that have it. */
  readonly #byImage = new SetIndex();
  readonly tallies = new Tallies();
  readonly #collections = new Map<string, Collection>();

  constructor() {
    this.#single(
      'cluster',
      (text, key) => (this.cluster = decode(clusterSchema, text, key)),
      () => (this.cluster = undefined),
    );
    this.#single(
      'leader',
      (text) => (this.leader = text),
      () => (this.leader = undefined),
    );
    this.#single(
      'pool',
      (text, key) => (this.pool = decode(poolSchema, text, key)),
      () => (this.pool = poolSchema.parse({})),
    );
    this.#flat('controllers', this.controllers, controllerRecordSchema);
    this.#flat('tokens', this.tokens, tokenSchema);
    this.#collections.set('nodes', {
      put: (rest, text, key) => {
        this.#dropNode(rest);
        const node = decode(nodeSchema, text, key);
        this.nodes.set(rest, node);
        this.#byIndex.set(node.index, rest);
      },
      drop: (rest) => this.#dropNode(rest),
      clear: () => {
        this.nodes.clear();
        this.#byIndex.clear();
      },
    });
    this.#collections.set('node-facts', {
      put: (rest, text, key) => {
        this.#dropFacts(rest);
        const facts = decode(nodeFactsSchema, text, key);
        this.facts.set(rest, facts);
        for (const mark of facts.images ?? []) this.#byImage.add(mark, rest);
      },
      drop: (rest) => this.#dropFacts(rest),
      clear: () => {
        this.facts.clear();
        this.#byImage.clear();
      },
    });
    this.#flat('node-states', this.nodeStates, nodeStateSchema);
    this.#flat('stacks', this.stacks, stackRecordSchema);
    this.#flat('networks', this.networks, networkSchema);
    this.#flat('task-status', this.statuses, taskStatusSchema);
    this.#flat('updates', this.updates, updateRecordSchema);
    this.#flat('events', this.events, eventChunkSchema);
    this.#flat('confirmations', this.confirmations, confirmationSchema);
    this.#flat('volumes', this.volumes, volumeRecordSchema);
    this.#flat('contents', this.contents, contentRecordSchema);
    this.#flat('named-contents', this.namedContents, namedContentSchema);
    this.#plain('content-pool', this.#contentPool);
    this.#collections.set('ended', {
      put: (rest, text, key) => this.#addEnded(rest, decode(endedTaskSchema, text, key)),
      drop: (rest) => this.#dropEnded(rest),
      clear: () => {
        this.ended.clear();
        this.#endedBySlot.clear();
      },
    });
    this.#nested('leases', this.#leases, leaseSchema, UNREADABLE_LEASE);
    this.#nested('vips', this.#vips, vipSchema);
    this.#nested('node-addresses', this.#nodeAddresses, nodeAddressSchema);
    this.#nested('connections', this.#connections, connectionSchema);
    this.#nested('tombstones', this.#tombstones, tombstoneSchema);
    this.#plain('slots', this.slots);
    this.#plain('moves', this.moves);
    this.#plain('network-names', this.networkNames);
    this.#plain('node-sessions', this.sessions);
    this.#presence('controller-sessions', this.controllerSessions);
    this.#presence('removed-controllers', this.removedControllers);
    this.#collections.set('tasks', {
      put: (rest, text, key) => {
        this.#dropTask(rest);
        this.#addTask(decode(taskSchema, text, key));
      },
      drop: (rest) => this.#dropTask(rest),
      clear: () => {
        this.tasks.clear();
        this.draining.clear();
        for (const index of [this.#byNode, this.#byService, this.#byNetwork, this.#byStack, this.tallies]) index.clear();
      },
    });
  }

  get leases(): ReadonlyMap<string, ReadonlyMap<string, Lease>> {
    return this.#leases.map;
  }
  get vips(): ReadonlyMap<string, ReadonlyMap<string, Vip>> {
    return this.#vips.map;
  }
  get nodeAddresses(): ReadonlyMap<string, ReadonlyMap<string, NodeAddress>> {
    return this.#nodeAddresses.map;
  }
  get connections(): ReadonlyMap<string, ReadonlyMap<string, Connection>> {
    return this.#connections.map;
  }
  get tombstones(): ReadonlyMap<string, ReadonlyMap<string, Tombstone>> {
    return this.#tombstones.map;
  }

  tasksOfNode = (nodeId: string): Task[] => this.#pick(this.#byNode.get(nodeId));
  tasksOfService = (stack: string, service: string): Task[] => this.#pick(this.#byService.get(serviceKey(stack, service)));
  tasksOfStack = (stack: string): Task[] => this.#pick(this.#byStack.get(stack));
  stacksWithTasks = (): Iterable<string> => this.#byStack.keys();
  holdersOf = (mark: string): ReadonlySet<string> => this.#byImage.get(mark) ?? NOBODY;
  nodeOfIndex = (index: number): Node | undefined => this.nodes.get(this.#byIndex.get(index) ?? '');
  tasksOfNetwork = (networkId: string): Task[] => this.#pick(this.#byNetwork.get(networkId));
  endedOf = (stack: string, service: string, slot: number): EndedTask[] =>
    [...(this.#endedBySlot.get(slotKey(stack, service, slot)) ?? [])]
      .flatMap((id) => this.ended.get(id) ?? [])
      .sort((a, b) => a.endedAt - b.endedAt || (a.taskId < b.taskId ? -1 : 1));
  revisionOf = (key: string): number => this.#revisions.get(key) ?? 0;

  /** Takes in what the store delivered. Never throws for a value that is not of the form it should have. */
  apply(feed: ModelFeed): Applied {
    const keys = feed.type === 'snapshot' ? undefined : [...feed.deletes, ...feed.puts].map((entry) => entry.key);
    const applied: Applied = { collections: new Set(), keys, problems: [] };
    this.revision = feed.revision;
    if (feed.type === 'snapshot') {
      this.storeId = feed.clusterId;
      this.#revisions.clear();
      this.corrupt.clear();
      for (const [name, collection] of this.#collections) {
        collection.clear();
        applied.collections.add(name);
      }
      for (const entry of feed.entries) this.#put(entry, applied);
      return applied;
    }
    for (const { key } of feed.deletes) this.#delete(key, applied);
    for (const entry of feed.puts) this.#put(entry, applied);
    return applied;
  }

  #put(entry: FeedEntry, applied: Applied): void {
    const [name, rest] = splitKey(entry.key) ?? ['', ''];
    const collection = this.#collections.get(name);
    if (!collection) return;
    this.#revisions.set(entry.key, entry.modRevision);
    applied.collections.add(name);
    try {
      collection.put(rest, entry.value, entry.key);
      this.corrupt.delete(entry.key);
    } catch (error) {
      const why = messageOf(error);
      this.corrupt.set(entry.key, why);
      applied.problems.push({ key: entry.key, why });
    }
  }

  #delete(key: string, applied: Applied): void {
    const [name, rest] = splitKey(key) ?? ['', ''];
    this.#revisions.delete(key);
    this.corrupt.delete(key);
    this.#collections.get(name)?.drop(rest);
    applied.collections.add(name);
  }

  #single(name: string, put: (text: string, key: string) => void, clear: () => void): void {
    this.#collections.set(name, { put: (_rest, text, key) => put(text, key), drop: clear, clear });
  }

  #flat<S extends z.ZodType>(name: string, map: Map<string, z.output<S>>, schema: S): void {
    this.#collections.set(name, {
      put: (rest, text, key) => {
        map.delete(rest);
        map.set(rest, decode(schema, text, key));
      },
      drop: (rest) => void map.delete(rest),
      clear: () => map.clear(),
    });
  }

  #plain(name: string, map: Map<string, string>): void {
    this.#collections.set(name, {
      put: (rest, text) => void map.set(rest, text),
      drop: (rest) => void map.delete(rest),
      clear: () => map.clear(),
    });
  }

  /** Keys that say something by being there. */
  #presence(name: string, set: Set<string>): void {
    this.#collections.set(name, {
      put: (rest) => void set.add(rest),
      drop: (rest) => void set.delete(rest),
      clear: () => set.clear(),
    });
  }

  #nested<S extends z.ZodType>(name: string, nested: NestedMap<z.output<S>>, schema: S, placeholder?: z.output<S>): void {
    this.#collections.set(name, {
      put: (rest, text, key) => {
        const [outer, inner] = splitOnce(rest);
        nested.delete(outer, inner);
        if (placeholder !== undefined) nested.set(outer, inner, placeholder);
        nested.set(outer, inner, decode(schema, text, key));
      },
      drop: (rest) => nested.delete(...splitOnce(rest)),
      clear: () => nested.clear(),
    });
  }

  #addTask(task: Task): void {
    this.tasks.set(task.id, task);
    if (awaitsNodes(task)) this.draining.add(task.id);
    this.tallies.count(task, serviceKey(task.stack, task.service), 1);
    this.#byStack.add(task.stack, task.id);
    this.#byNode.add(task.nodeId, task.id);
    this.#byService.add(serviceKey(task.stack, task.service), task.id);
    for (const e of task.endpoints) this.#byNetwork.add(e.networkId, task.id);
  }

  #dropTask(id: string): void {
    const task = this.tasks.get(id);
    if (!task) return;
    this.tasks.delete(id);
    this.draining.delete(id);
    this.tallies.count(task, serviceKey(task.stack, task.service), -1);
    this.#byStack.delete(task.stack, id);
    this.#byNode.delete(task.nodeId, id);
    this.#byService.delete(serviceKey(task.stack, task.service), id);
    for (const e of task.endpoints) this.#byNetwork.delete(e.networkId, id);
  }

  #dropFacts(nodeId: string): void {
    for (const mark of this.facts.get(nodeId)?.images ?? []) this.#byImage.delete(mark, nodeId);
    this.facts.delete(nodeId);
  }

  #dropNode(id: string): void {
    const node = this.nodes.get(id);
    if (!node) return;
    this.nodes.delete(id);
    if (this.#byIndex.get(node.index) === id) this.#byIndex.delete(node.index);
  }

  #addEnded(id: string, ended: EndedTask): void {
    this.#dropEnded(id);
    this.ended.set(id, ended);
    this.#endedBySlot.add(slotKey(ended.stack, ended.service, ended.slot), id);
  }

  #dropEnded(id: string): void {
    const ended = this.ended.get(id);
    if (!ended) return;
    this.ended.delete(id);
    this.#endedBySlot.delete(slotKey(ended.stack, ended.service, ended.slot), id);
  }

  #pick(ids: ReadonlySet<string> | undefined): Task[] {
    const out: Task[] = [];
    for (const id of ids ?? []) {
      const task = this.tasks.get(id);
      if (task) out.push(task);
    }
    return out;
  }
}

const NOBODY: ReadonlySet<string> = new Set();
