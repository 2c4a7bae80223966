/**
 * The views of all nodes, kept as the cluster changes: a change renews the parts it is of consequence to, and nobody else's.
 * What comes out is what ViewMaker makes of the same state (view-index.spec.ts holds the two against each other).
 */
import { splitKey } from '#model/keys.js';
import type { Network } from '#model/network.js';
import type { NodeFacts } from '#model/node.js';
import type { Publication, Resource } from '#model/node-view.js';
import type { Task, TaskStatus } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { Part, type View } from './diff-views.js';
import {
  commonResources,
  guestResources,
  insideResources,
  networkPart,
  partsOf,
  publicationResource,
  PUBLICATIONS,
  type ViewSource,
} from './node-view-of.js';
import { isPublished, overlayDoorOf, publicationsFor, publicationsOf } from './publications.js';
import { isRunning, isServing } from './serving.js';
import { sameValue } from './spec-hash.js';

/** What a change may have been of consequence to. */
export interface Touched {
  everything: boolean;
  /** Nodes whose own part may have changed. */
  nodes: Set<string>;
  /** Names of parts. */
  parts: Set<string>;
}

/** Whether a node that was told `view` may have to be told something. */
export function touches({ everything, nodes, parts }: Touched, nodeId: string, view: View): boolean {
  if (everything || nodes.has(nodeId)) return true;
  for (const name of parts) if (view.has(name)) return true;
  return false;
}

/** Changes here may be of consequence to every view. */
const ANY: ReadonlySet<string> = new Set(['cluster', 'controllers', 'nodes', 'node-states']);

export class ViewIndex implements ViewSource<Part> {
  readonly #state: ClusterState;
  /** Name of a part that nodes share → as it was made last; networks twice, from inside and as guests see them. */
  readonly #parts = new Map<string, Part>();
  readonly #guests = new Map<string, Part>();
  /** What has to be made anew. */
  readonly #stale = new Set<string>();
  readonly #staleGuests = new Set<string>();
  /** Tasks as they were looked at last: one that is gone does not say any more where it was. */
  readonly #tasks = new Map<string, Task>();
  /** Of what is said of them, what views tell: most of what a task goes through until it serves is told nobody else. */
  readonly #standings = new Map<string, Standing>();
  /** Published tasks → the overlay network they are entered by. */
  readonly #published = new Map<string, string | undefined>();
  readonly #doors = new Map<string, Set<string>>();
  readonly #facts = new Map<string, Partial<NodeFacts>>();
  /** Stacks with published ports. */
  readonly #publishing = new Set<string>();
  #publications: Publication[] = [];
  #isKnown = false;

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /**
   * Something has changed in the state.
   * @param changed keys in etcd; undefined: everything may have
   */
  note(changed: readonly string[] | undefined): Touched {
    const touched: Touched = { everything: changed === undefined || !this.#isKnown, nodes: new Set(), parts: new Set() };
    for (const key of changed ?? []) {
      if (touched.everything) break;
      this.#noteKey(touched, ...(splitKey(key) ?? ['', '']));
    }
    if (touched.everything) this.#noteAll();
    for (const name of touched.parts) {
      if (this.#parts.has(name)) this.#stale.add(name);
      if (this.#guests.has(name)) this.#staleGuests.add(name);
    }
    return touched;
  }

  /** Everything the node is told now. */
  viewOf(nodeId: string): View {
    if (!this.#isKnown) this.note(undefined);
    return partsOf(this.#state, nodeId, this);
  }

  common(): Part {
    return this.#shared(this.#parts, this.#stale, 'common', () => commonResources(this.#state));
  }

  own(_nodeId: string, resources: Resource[]): Part {
    return Part.of(resources);
  }

  inside(network: Network, nodeId: string): Part {
    if (network.driver === 'bridge') return Part.of(insideResources(this.#state, network, this.#doors, nodeId));
    const make = () => insideResources(this.#state, network, this.#doors);
    return this.#shared(this.#parts, this.#stale, networkPart(network.id), make);
  }

  asGuest(network: Network): Part {
    const make = () => guestResources(this.#state, network, this.#doors);
    return this.#shared(this.#guests, this.#staleGuests, networkPart(network.id), make);
  }

  publications(nodeId: string): Part {
    const make = () => (this.#publications = publicationsOf(this.#state)).map(publicationResource);
    const all = this.#shared(this.#parts, this.#stale, PUBLICATIONS, make);
    const own = publicationsFor(this.#state, this.#publications, nodeId);
    return own.every((p, i) => p === this.#publications[i]) ? all : Part.of(own.map(publicationResource));
  }

  doors(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#doors;
  }

  #shared(parts: Map<string, Part>, stale: Set<string>, name: string, make: () => Resource[]): Part {
    let part = parts.get(name);
    if (part && !stale.has(name)) return part;
    parts.set(name, (part = Part.of(make(), part)));
    stale.delete(name);
    return part;
  }

  /** Parts are kept to be compared with: what they say may not have changed. */
  #noteAll(): void {
    const { tasks, facts, networks, stacks } = this.#state;
    for (const index of [this.#tasks, this.#standings, this.#published, this.#doors, this.#facts, this.#publishing]) index.clear();
    for (const task of tasks.values()) this.#learn(task);
    for (const name of stacks.keys()) this.#learnPorts(name);
    for (const [id, of] of facts) this.#facts.set(id, toldFacts(of));
    for (const [parts, stale] of [[this.#parts, this.#stale] as const, [this.#guests, this.#staleGuests] as const]) {
      for (const name of parts.keys()) stale.add(name);
      for (const name of parts.keys()) if (name.startsWith(NETWORK) && !networks.has(name.slice(NETWORK.length))) parts.delete(name);
    }
    this.#isKnown = true;
  }

  #noteKey(touched: Touched, collection: string, rest: string): void {
    const [first = '', second = ''] = rest.split('/');
    if (ANY.has(collection)) touched.everything = true;
    else if (collection === 'tasks') this.#noteTask(touched, rest, true);
    else if (collection === 'task-status') this.#noteTask(touched, rest, false);
    else if (collection === 'stacks') this.#noteStack(touched, rest);
    else if (collection === 'networks') this.#noteNetwork(touched, rest);
    else if (collection === 'vips') touched.parts.add(networkPart(first));
    else if (collection === 'node-addresses') {
      touched.parts.add(networkPart(first));
      touched.nodes.add(second);
    } else if (collection === 'node-facts') this.#noteFacts(touched, rest);
    else if (collection === 'confirmations' || collection === 'node-sessions') this.#noteDraining(touched);
  }

  /** @param isRecord the task itself has changed, not only what is said of it */
  #noteTask(touched: Touched, id: string, isRecord: boolean): void {
    if (!isRecord && !this.#hasNewStanding(id)) return;
    const [before, task] = [this.#tasks.get(id), this.#state.tasks.get(id)];
    for (const one of [before, task]) {
      if (!one) continue;
      if (isRecord) touched.nodes.add(one.nodeId);
      this.#noteNetworksOf(touched, one);
    }
    if (this.#published.has(id)) touched.parts.add(PUBLICATIONS);
    if (isRecord) this.#renew(touched, id, task);
  }

  #hasNewStanding(id: string): boolean {
    const task = this.#state.tasks.get(id);
    if (!task) return true;
    const standing = standingOf(task, this.#state.statuses.get(id));
    if (this.#standings.get(id) === standing) return false;
    this.#standings.set(id, standing);
    return true;
  }

  #noteNetworksOf(touched: Touched, task: Task): void {
    for (const { networkId } of task.endpoints) touched.parts.add(networkPart(networkId));
    // In the network of its node it has names on the networks of its stack.
    if (task.endpoints.length > 0) return;
    for (const network of this.#state.networks.values()) if (network.stack === task.stack) touched.parts.add(networkPart(network.id));
  }

  /** Looks anew at whether and where connections are brought to a task. */
  #renew(touched: Touched, id: string, task: Task | undefined): void {
    const before = this.#published.get(id);
    const was = this.#published.has(id);
    this.#forget(id, before);
    if (task) this.#learn(task);
    const now = this.#published.get(id);
    if (was || this.#published.has(id)) touched.parts.add(PUBLICATIONS);
    if (before === now) return;
    for (const networkId of [before, now]) {
      if (networkId === undefined) continue;
      touched.parts.add(networkPart(networkId));
      // All nodes are told of networks that they bring connections to.
      touched.parts.add(PUBLICATIONS);
    }
  }

  #learn(task: Task): void {
    this.#tasks.set(task.id, task);
    this.#standings.set(task.id, standingOf(task, this.#state.statuses.get(task.id)));
    if (!isPublished(this.#state, task)) return;
    const networkId = overlayDoorOf(this.#state, task);
    this.#published.set(task.id, networkId);
    if (networkId === undefined) return;
    const tasks = this.#doors.get(networkId);
    if (tasks) tasks.add(task.id);
    else this.#doors.set(networkId, new Set([task.id]));
  }

  #forget(id: string, networkId: string | undefined): void {
    this.#tasks.delete(id);
    this.#standings.delete(id);
    this.#published.delete(id);
    const tasks = networkId === undefined ? undefined : this.#doors.get(networkId);
    tasks?.delete(id);
    if (tasks?.size === 0) this.#doors.delete(networkId ?? '');
  }

  #learnPorts(stack: string): boolean {
    const services = Object.values(this.#state.stacks.get(stack)?.spec.services ?? {});
    const isPublishing = services.some((s) => s.ports.length > 0);
    if (isPublishing) this.#publishing.add(stack);
    else this.#publishing.delete(stack);
    return isPublishing;
  }

  /** Names and virtual addresses follow the services, and so does what is published. */
  #noteStack(touched: Touched, name: string): void {
    const was = this.#publishing.has(name);
    if (this.#learnPorts(name) || was) touched.parts.add(PUBLICATIONS);
    for (const task of this.#state.tasksOfStack(name)) {
      this.#noteNetworksOf(touched, task);
      this.#renew(touched, task.id, task);
    }
    for (const network of this.#state.networks.values()) if (network.stack === name) touched.parts.add(networkPart(network.id));
    for (const [networkId, row] of this.#state.vips)
      for (const vip of row.values()) if (vip.stack === name) touched.parts.add(networkPart(networkId));
  }

  #noteNetwork(touched: Touched, id: string): void {
    touched.parts.add(networkPart(id));
    if (this.#doors.has(id)) touched.parts.add(PUBLICATIONS);
    for (const task of this.#state.tasksOfNetwork(id)) {
      touched.nodes.add(task.nodeId);
      this.#renew(touched, task.id, task);
    }
    if (this.#state.networks.has(id)) return;
    this.#parts.delete(networkPart(id));
    this.#guests.delete(networkPart(id));
  }

  #noteFacts(touched: Touched, nodeId: string): void {
    const facts = this.#state.facts.get(nodeId);
    if (!sameValue(this.#facts.get(nodeId), facts && toldFacts(facts))) touched.everything = true;
  }

  /** Whoever drains is told when all nodes have taken it out. */
  #noteDraining(touched: Touched): void {
    for (const id of this.#state.draining) touched.nodes.add(this.#state.tasks.get(id)?.nodeId ?? '');
  }
}

const NETWORK = networkPart('');

/** What a view tells of a task's status: whether its endpoints are there, its names, and whether clients are led to it. */
type Standing = 'stopped' | 'serves' | 'runs' | 'comes';

function standingOf(task: Task, status: TaskStatus | undefined): Standing {
  if (status?.state === 'stopped') return 'stopped';
  if (isServing(task, status)) return 'serves';
  return isRunning(task, status) ? 'runs' : 'comes';
}

/** Of what nodes say of themselves, what other nodes are told. */
const toldFacts = ({ underlayMtu, wireguard, addresses }: NodeFacts): Partial<NodeFacts> => ({ underlayMtu, wireguard, addresses });
