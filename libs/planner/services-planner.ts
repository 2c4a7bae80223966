/**
 * The services loop's memory: what has changed since the last plan, so that the next one looks at those stacks only. A plan
 * for what changed is the plan for everything (services-planner.spec.ts holds the two against each other): nothing else has
 * anything to do, or it said when it would.
 */
import { splitKey } from '#model/keys.js';
import { sameValue } from './spec-hash.js';
import type { NodeFacts } from '#model/node.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { DeathWatch } from './death-watch.js';
import { planServices } from './plan-services.js';
import { kindOfReason } from './reason-kinds.js';
import type { Placing } from './place-tasks.js';
import { whyNowhere } from './service-slots.js';
import type { Waits } from './waiting-events.js';

/** Changes here may be of consequence to any service. */
const ANY: ReadonlySet<string> = new Set(['cluster', 'controllers', 'nodes', 'node-states']);
/** Keys that begin with the stack's name. */
const BY_STACK: ReadonlySet<string> = new Set(['stacks', 'slots', 'updates', 'connections']);

export class ServicesPlanner {
  readonly #state: ClusterState;
  #all = true;
  readonly #dirty = new Set<string>();
  /** Stack → when there is more to do, milliseconds since the epoch. */
  readonly #wakes = new Map<string, number>();
  /** Stacks in which something waits: rests of addresses end unannounced. */
  readonly #waiting = new Set<string>();
  /** `stack/service` → what it waits for. */
  #waits: Waits = new Map();
  #isKnown = false;
  /** Task → stack: a task that is gone does not say any more whose it was. */
  readonly #stackOf = new Map<string, string>();
  /** Network id → name. */
  readonly #networkNames = new Map<string, string>();
  /** What placement knows of nodes. */
  readonly #facts = new Map<string, NodeFacts>();
  readonly #deaths = new DeathWatch();

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /** @param changed keys in etcd; undefined: everything may have changed */
  note(changed: readonly string[] | undefined): void {
    if (changed === undefined) this.#all = true;
    else if (!this.#all) for (const key of changed) this.#noteKey(...(splitKey(key) ?? ['', '']));
  }

  /** What a plan wrote was refused: what it was of has to be planned again. */
  forget(): void {
    this.#all = true;
  }

  /**
   * What has to be written now.
   * @param newId as planServices takes it
   * @param now milliseconds since the epoch
   * @param monotonic milliseconds
   */
  plan(newId: () => string, now: number, monotonic: number): Placing {
    if (this.#all) this.#deaths.observe(this.#state, monotonic);
    const only = this.#take(now);
    if (only?.size === 0) return { units: [], waiting: new Map(), wakes: this.#wakes, ...this.#next() };
    const placing = planServices(this.#state, newId, now, only, (nodeId) => this.#deaths.deadForMs(nodeId, monotonic));
    this.#remember(only, placing);
    this.#noteWaits(only, placing.waiting, now);
    return { ...placing, ...this.#next() };
  }

  /** The stacks to look at; undefined: all. */
  #take(now: number): ReadonlySet<string> | undefined {
    const only = new Set([...this.#dirty, ...this.#waiting]);
    for (const [stack, at] of this.#wakes) if (at <= now) only.add(stack);
    this.#dirty.clear();
    const wasAll = this.#all;
    this.#all = false;
    if (!wasAll) return only;
    this.#learn();
    return undefined;
  }

  #learn(): void {
    this.#stackOf.clear();
    for (const task of this.#state.tasks.values()) this.#stackOf.set(task.id, task.stack);
    this.#networkNames.clear();
    for (const network of this.#state.networks.values()) this.#networkNames.set(network.id, network.name);
    this.#facts.clear();
    for (const [id, facts] of this.#state.facts) this.#facts.set(id, placementFacts(facts));
  }

  #remember(only: ReadonlySet<string> | undefined, { waiting, wakes }: Placing): void {
    if (!only) {
      this.#wakes.clear();
      this.#waiting.clear();
    }
    for (const stack of only ?? []) {
      this.#wakes.delete(stack);
      this.#waiting.delete(stack);
    }
    for (const service of waiting.keys()) this.#waiting.add(firstOf(service));
    for (const [stack, at] of wakes) this.#wakes.set(stack, at);
  }

  /** Reasons that are still there keep the time since when, whatever their numbers; another map only when something is another. */
  #noteWaits(only: ReadonlySet<string> | undefined, waiting: ReadonlyMap<string, string>, now: number): void {
    const found = new Map([...nowhere(this.#state, only), ...waiting]);
    const over = [...this.#waits.keys()].filter((key) => (!only || only.has(firstOf(key))) && !found.has(key));
    const come = [...found].filter(([key, why]) => this.#waits.get(key)?.why !== why);
    this.#isKnown ||= only === undefined;
    if (over.length + come.length === 0) return;
    const next = new Map(this.#waits);
    for (const key of over) next.delete(key);
    for (const [key, why] of come) {
      const before = this.#waits.get(key);
      const isSame = before && kindOfReason(before.why) === kindOfReason(why);
      next.set(key, { why, since: isSame ? before.since : now });
    }
    this.#waits = next;
  }

  /** What services wait for; the same value while nothing of it changes. undefined before all was planned once. */
  get waits(): Waits | undefined {
    return this.#isKnown ? this.#waits : undefined;
  }

  #next(): Pick<Placing, 'againMs' | 'wakeAt'> {
    const soonest = Math.min(...this.#wakes.values());
    return { againMs: undefined, wakeAt: soonest === Infinity ? undefined : soonest };
  }

  /** Whether a service waits for something that may come unannounced. */
  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  #noteKey(collection: string, rest: string): void {
    if (ANY.has(collection)) this.#all = true;
    else if (BY_STACK.has(collection)) this.#dirty.add(firstOf(rest));
    else if (collection === 'tasks') this.#noteTask(rest);
    else if (collection === 'task-status' || collection === 'moves') this.#noteStack(this.#stackOf.get(rest));
    else if (collection === 'vips') this.#dirty.add(firstOf(rest.slice(rest.indexOf('/') + 1)));
    else if (collection === 'ended') this.#noteStack(this.#state.ended.get(rest)?.stack);
    else if (collection === 'confirmations' || collection === 'node-sessions') this.#noteDraining();
    else if (collection === 'node-facts') this.#noteFacts(rest);
    else if (collection === 'network-names') this.#noteNetwork(rest);
    else if (collection === 'networks') this.#noteNetworkId(rest);
  }

  #noteTask(id: string): void {
    const stack = this.#state.tasks.get(id)?.stack;
    this.#noteStack(this.#stackOf.get(id));
    this.#noteStack(stack);
    if (stack === undefined) this.#stackOf.delete(id);
    else this.#stackOf.set(id, stack);
  }

  #noteStack(stack: string | undefined): void {
    if (stack !== undefined) this.#dirty.add(stack);
  }

  /** What waits for every node to have taken it out. */
  #noteDraining(): void {
    for (const id of this.#state.draining) this.#noteStack(this.#state.tasks.get(id)?.stack);
  }

  #noteNetworkId(id: string): void {
    const network = this.#state.networks.get(id);
    for (const name of [this.#networkNames.get(id), network?.name]) if (name !== undefined) this.#noteNetwork(name);
    if (network) this.#networkNames.set(id, network.name);
    else this.#networkNames.delete(id);
    for (const [stack, row] of this.#state.connections) if ([...row.values()].some((c) => c.networkId === id)) this.#dirty.add(stack);
    // Services are on Docker's default bridge without naming it.
    if (network === undefined || network.discovery === false) this.#all = true;
  }

  #noteNetwork(name: string): void {
    for (const [stack, { spec }] of this.#state.stacks)
      if (Object.values(spec.networks).some((wish) => wish.name === name)) this.#dirty.add(stack);
  }

  /** Nodes tell much of themselves that no placement asks for. */
  #noteFacts(nodeId: string): void {
    const facts = this.#state.facts.get(nodeId);
    const [before, after] = [this.#facts.get(nodeId), facts && placementFacts(facts)];
    if (sameValue(before, after)) return;
    this.#all = true;
  }
}

/** Global services of these stacks that have to be nowhere at all. */
function* nowhere(state: ClusterState, only: ReadonlySet<string> | undefined): Generator<[string, string]> {
  for (const name of only ?? state.stacks.keys()) {
    const record = state.stacks.get(name);
    if (!record || record.removing) continue;
    for (const service of Object.values(record.spec.services)) {
      const why = record.stopped?.[service.name] ? undefined : whyNowhere(state, name, service);
      if (why !== undefined) yield [serviceKey(name, service.name), why];
    }
  }
}

const firstOf = (rest: string): string => {
  const slash = rest.indexOf('/');
  return slash < 0 ? rest : rest.slice(0, slash);
};

/** The rest never changes where a task may be; that an image came makes nothing move. */
const placementFacts = (facts: NodeFacts): NodeFacts => ({
  ...facts,
  at: 0,
  driftRepairs: 0,
  images: undefined,
  repairs: undefined,
  findings: undefined,
  listening: [],
  wireguard: undefined,
  versions: {},
});
