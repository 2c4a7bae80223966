/** Which node a task goes to: filters that explain themselves, then spread. */
import { markOfImage } from '#model/held-images.js';
import type { Node } from '#model/node.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { NodeOrder } from './node-order.js';
import { NOTHING_RESERVED, type Reserved } from './tallies.js';

export type NodeStanding = 'ready' | 'down' | 'quarantined' | 'joining';

/** Why a node takes no new task; undefined when it does. */
export function refusalOf(state: ClusterState, node: Node): string | undefined {
  const standing = standingOf(state, node.id);
  if (standing !== 'ready') return standing;
  if (node.availability === 'drain') return 'drained';
  if (node.availability === 'pause') return 'paused';
  // What was replaced while it was away ends first.
  return state.tallies.orphansOn(node.id) > 0 ? 'coming back' : undefined;
}

/** A node's state as people see it. */
export function standingOf(state: ClusterState, nodeId: string): NodeStanding {
  const recorded = state.nodeStates.get(nodeId)?.state;
  if (recorded === undefined) return 'joining';
  if (recorded === 'down') return 'down';
  return state.facts.get(nodeId)?.quarantine === undefined ? 'ready' : 'quarantined';
}

export interface Candidates {
  ready: Node[];
  /** Why the others are not: `3 nodes: 1 down, 2 quarantined`. */
  explanation: string;
}

export function candidates(state: ClusterState): Candidates {
  const ready: Node[] = [];
  const out = new Map<string, number>();
  for (const node of state.nodes.values()) {
    const refusal = refusalOf(state, node);
    if (refusal === undefined) ready.push(node);
    else out.set(refusal, (out.get(refusal) ?? 0) + 1);
  }
  if (state.nodes.size === 0) return { ready, explanation: 'no node has joined yet' };
  const reasons = [...out]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([refusal, count]) => `${count} ${refusal}`)
    .join(', ');
  const total = `${state.nodes.size} node${state.nodes.size === 1 ? '' : 's'}`;
  return { ready, explanation: reasons ? `${total}: ${reasons}` : `${total}: all ready` };
}

/** Who wants a node. */
interface Wanting {
  stack: string;
  service: string;
  /** Of its image: `sha256:…`. */
  digest?: string | undefined;
}

/** Counts of tasks, and what is reserved, by node: those of the state, and what a plan adds and takes away. */
export class Spread {
  readonly #state: ClusterState;
  readonly #all = new Map<string, number>();
  readonly #ofService = new Map<string, Map<string, number>>();
  readonly #reserved = new Map<string, Reserved>();
  #open: Node[] | undefined;
  /** Orders of nodes by what tasks ask of them. */
  readonly #orders = new Map<string, NodeOrder>();

  constructor(state: ClusterState) {
    this.#state = state;
  }

  add(nodeId: string, stack: string, service: string, by = 1): void {
    this.#all.set(nodeId, (this.#all.get(nodeId) ?? 0) + by);
    const key = serviceKey(stack, service);
    const row = this.#ofService.get(key) ?? new Map<string, number>(this.#state.tallies.rowOf(key));
    row.set(nodeId, (row.get(nodeId) ?? 0) + by);
    this.#ofService.set(key, row);
    const node = by < 0 ? this.#state.nodes.get(nodeId) : undefined;
    if (node) for (const order of this.#orders.values()) order.lighter(node);
  }

  /** @param sign -1 gives it back */
  reserve(nodeId: string, { memoryBytes = 0, nanoCpus = 0 }: Partial<Reserved> = {}, sign = 1): void {
    if (memoryBytes === 0 && nanoCpus === 0) return;
    const before = this.#reserved.get(nodeId) ?? NOTHING_RESERVED;
    this.#reserved.set(nodeId, { memoryBytes: before.memoryBytes + sign * memoryBytes, nanoCpus: before.nanoCpus + sign * nanoCpus });
  }

  reservedOn(nodeId: string): Reserved {
    const [known, more] = [this.#state.tallies.reservedOn(nodeId), this.#reserved.get(nodeId)];
    if (!more) return known;
    return { memoryBytes: known.memoryBytes + more.memoryBytes, nanoCpus: known.nanoCpus + more.nanoCpus };
  }

  /** @param service `stack/service` */
  countOf(nodeId: string, service: string): number {
    return this.#rowOf(service).get(nodeId) ?? 0;
  }

  /** Tasks of a node, of all services. */
  readonly tasksOn = (nodeId: string): number => this.#state.tallies.tasksOn(nodeId) + (this.#all.get(nodeId) ?? 0);

  #rowOf(service: string): ReadonlyMap<string, number> {
    return this.#ofService.get(service) ?? this.#state.tallies.rowOf(service);
  }

  /** Nodes that take new tasks, whatever these ask for: they stay the same while a plan is made. */
  get open(): readonly Node[] {
    return (this.#open ??= [...this.#state.nodes.values()].filter((n) => refusalOf(this.#state, n) === undefined));
  }

  /**
   * As `choose` would from all nodes that are able, but finds it without looking at each.
   * @param kind what `fits` depends on: services that ask the same, and are on the same nodes as images, share an order
   * @param digest of the image
   * @param fits whether a node can ever have such a task
   * @param isAble whether it can have one now
   */
  best(of: Wanting & { kind: string }, fits: (node: Node) => boolean, isAble: (node: Node) => boolean): Node | undefined {
    const order = this.#orderFor(of.kind, of.digest, fits);
    const row = this.#rowOf(serviceKey(of.stack, of.service));
    const without = order.first((node) => (row.get(node.id) ?? 0) === 0 && isAble(node));
    if (without) return without;
    const having = [...row.keys()].flatMap((id) => this.#state.nodes.get(id) ?? []);
    return this.choose(
      having.filter((n) => refusalOf(this.#state, n) === undefined && fits(n) && isAble(n)),
      of,
    );
  }

  #orderFor(kind: string, digest: string | undefined, fits: (node: Node) => boolean): NodeOrder {
    const holders = this.#holdersOf(digest);
    const key = holders.size === 0 ? kind : `${kind} ${markOfImage(digest)}`;
    let order = this.#orders.get(key);
    if (!order) this.#orders.set(key, (order = new NodeOrder(kind === '' ? this.open : this.open.filter(fits), this.tasksOn, holders)));
    return order;
  }

  /** Nodes that have an image which not all have: as a rule `up` has brought it everywhere, and there is nothing to prefer. */
  #holdersOf(digest: string | undefined): ReadonlySet<string> {
    const holders = this.#state.holdersOf(markOfImage(digest) ?? '');
    return holders.size < this.#state.nodes.size ? holders : NOBODY;
  }

  /** Fewest tasks of the same service, then fewest tasks, then one that has the image, then the first by name. */
  choose(nodes: readonly Node[], { stack, service, digest }: Wanting): Node | undefined {
    const holders = this.#holdersOf(digest);
    const row = this.#rowOf(serviceKey(stack, service));
    let best: Node | undefined;
    let [bestRow, bestAll] = [Infinity, Infinity];
    for (const node of nodes) {
      const mine = row.get(node.id) ?? 0;
      if (mine > bestRow) continue;
      const all = this.tasksOn(node.id);
      const isBetter = mine < bestRow || all < bestAll || (all === bestAll && best !== undefined && isPreferred(holders, node, best));
      if (isBetter) [best, bestRow, bestAll] = [node, mine, all];
    }
    return best;
  }
}

const NOBODY: ReadonlySet<string> = new Set();

/** Between nodes with as many tasks. */
const isPreferred = (holders: ReadonlySet<string>, a: Node, b: Node): boolean =>
  holders.has(a.id) === holders.has(b.id) ? a.name < b.name : holders.has(a.id);
