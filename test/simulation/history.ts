/** Random histories: things done to a cluster, one after another, all from one seed; then quiet, in which it has to come right. */
import { ETCD } from './etcd-way.js';
import { unsettled } from './settled.js';
import { down, movesLeft, rebalance, restart, setAvailability, someStack, up } from './deeds.js';
import type { Fault } from './faults.js';
import type { Container, Machine } from './machine.js';
import { World } from './world.js';

export interface Kind {
  name: string;
  /** Things that may happen, by weight. */
  deeds: Record<string, number>;
  nodes: number;
  controllers: number;
  /** How long a request to etcd is on its way at most, in milliseconds; as usual if left out. */
  slowMs?: number;
  /** How likely services are to stop on partition; now and then if left out. */
  stopping?: number;
  /** How many things happen, at most. */
  most: number;
  /** How likely there is a rebalance once all is quiet; now and then, of kinds with rebalances, if left out. */
  levelled?: number;
}

/** Everything at once. */
export const EVERYTHING: Kind = {
  name: 'everything at once',
  deeds: {
    ...{ up: 6, down: 1, rebalance: 2, restart: 2, drain: 2 },
    ...{ crash: 3, agent: 3, power: 2, cut: 4, cutOff: 2, pause: 2, controller: 2, etcd: 2, freeze: 1 },
  },
  nodes: 3,
  controllers: 2,
  most: 12,
};

/** Who leads is contested: controllers lose etcd, stand still and die while there is much to write. */
export const CONTESTED: Kind = {
  name: 'who leads is contested',
  deeds: { up: 8, down: 2, rebalance: 2, restart: 1, crash: 2, wayToEtcd: 8, freeze: 3, controller: 2 },
  nodes: 3,
  controllers: 2,
  most: 20,
};

/**
 * As well, and etcd hears late: what a leader has sent is still on its way when it leads no more. For planted faults; nodes may
 * die here before they were ever heard, which is no death to the leader.
 */
export const LATE: Kind = { ...CONTESTED, name: 'who leads is contested, and etcd hears late', slowMs: 500 };

/** Nodes come and go from the sight of their controllers, which etcd hears late. */
export const OUT_OF_SIGHT: Kind = {
  name: 'nodes come and go from sight',
  deeds: { up: 1, cutOff: 8, pause: 6 },
  nodes: 3,
  controllers: 2,
  slowMs: 500,
  most: 30,
};

/** Nodes are cut off while their agents run: what is to stop there has stopped before it runs elsewhere. */
export const PARTED: Kind = {
  name: 'nodes are cut off while their agents run',
  deeds: { up: 4, restart: 3, crash: 2, power: 2, cutOff: 8, controller: 3, freeze: 2, etcd: 2, wayToEtcd: 3 },
  nodes: 3,
  controllers: 2,
  most: 20,
  stopping: 0.8,
};

/** Nodes are drained and taken back while others die: what no node takes stops and waits. */
export const DRAINED: Kind = {
  name: 'nodes are drained while others die',
  deeds: { up: 6, down: 1, rebalance: 5, crash: 3, power: 3, cutOff: 2, drain: 10, controller: 1 },
  nodes: 3,
  controllers: 2,
  most: 16,
};

/** Tasks are started again in place while their agents die. For planted faults. */
export const RESTARTED: Kind = {
  name: 'tasks are restarted while their agents die',
  deeds: { up: 2, restart: 8, agent: 8 },
  nodes: 3,
  controllers: 2,
  most: 16,
};

/** How long the cluster has to come right once everything works, in milliseconds. */
const QUIET_MS = 90_000;
const LOOK_MS = 500;
/** In so many histories there is a rebalance once all is quiet. */
const LEVELLED = 0.1;
/** So long after all has settled: that all is up then, everybody has heard. In milliseconds. */
const LONG_QUIET_MS = 6_500;

export interface Outcome {
  /** What must not be; undefined: all is well. */
  violation: string | undefined;
  steps: number;
  /** Virtual milliseconds. */
  lasted: number;
  lines: readonly string[];
}

/** Plays the history of a seed. The same seed is the same history, step by step. */
export async function play(seed: number, kind: Kind, options: { verbose?: boolean; fault?: Fault | undefined } = {}): Promise<Outcome> {
  const world = new World({ seed, nodes: kind.nodes, controllers: kind.controllers, slowMs: kind.slowMs, ...options });
  world.watcher.agentsRun = !('agent' in kind.deeds) && !('pause' in kind.deeds);
  const random = Math.random;
  // Backoff draws from it.
  Math.random = world.chance.next;
  try {
    // Whoever calls: from here on it is a microtask that goes on, and what the timeline says of next ticks is so (timeline.ts).
    await Promise.resolve();
    const history = new History(world, kind);
    await history.play();
    const { violation, timeline, lines } = world;
    return { violation: violation?.message, steps: timeline.steps, lasted: timeline.now, lines };
  } finally {
    Math.random = random;
    world.end();
    // Virtual time runs in microtasks: timers of the test run see to their own now.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

class History {
  readonly #world: World;
  readonly #kind: Kind;
  /** What mends what was broken. */
  readonly #mend = new Set<() => void>();

  constructor(world: World, kind: Kind) {
    this.#world = world;
    this.#kind = kind;
  }

  async play(): Promise<void> {
    const { chance } = this.#world;
    this.#world.start();
    await this.#world.run(500);
    this.#up('s0');
    const count = chance.int(2, this.#kind.most);
    for (let i = 0; i < count && !this.#world.violation; i++) {
      await this.#world.run(this.#world.timeline.now + this.#pause());
      if (!this.#world.violation) this.#do(this.#choose());
    }
    await this.#world.run(this.#world.timeline.now + this.#pause());
    if (!this.#world.violation) await this.#comeRight();
  }

  /** Mostly things come thick and fast; now and then long enough apart for a death to be noticed. */
  #pause(): number {
    const { chance } = this.#world;
    return chance.is(0.3) ? chance.int(1_000, 7_000) : chance.int(0, 800);
  }

  #choose(): string {
    const entries = Object.entries(this.#kind.deeds);
    let at = this.#world.chance.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [deed, weight] of entries) if ((at -= weight) < 0) return deed;
    return 'up';
  }

  #do(deed: string): void {
    const { chance } = this.#world;
    const machine = chance.pick([...this.#world.machines.values()]);
    const id = chance.pick(this.#world.controllerIds);
    const ms = chance.is(0.5) ? chance.int(100, 2_000) : chance.int(2_000, 15_000);
    switch (deed) {
      case 'up':
        return this.#up(chance.pick(['s0', 's0', 's1']));
      case 'down':
        return this.#down(chance.pick(['s0', 's1']));
      case 'crash':
        return this.#crash(machine);
      case 'agent':
        return this.#agent(machine, ms);
      case 'power':
        return this.#power(machine, ms);
      case 'cut':
        return this.#cut(machine.name, id, ms);
      case 'cutOff':
        return this.#cutOff(machine, ms);
      case 'pause':
        return this.#pauseAgent(machine, ms);
      case 'controller':
        return this.#controller(id, ms);
      case 'freeze':
        return this.#freeze(id, ms);
      case 'etcd':
        return chance.is(0.5) ? this.#cut(id, ETCD, ms) : this.#etcd(ms);
      case 'wayToEtcd':
        return this.#cut(id, ETCD, ms);
      case 'drain':
        return this.#drain(machine);
      case 'rebalance':
        return this.#rebalance();
      case 'restart':
        return this.#restart(machine);
    }
  }

  #note(line: string): void {
    this.#world.note(line);
  }

  /** Mended after `ms`, or when the quiet begins. */
  #until(ms: number, what: string, mend: () => void): void {
    const once = () => {
      if (!this.#mend.delete(once)) return;
      this.#note(what);
      mend();
      this.#world.touchAll();
    };
    this.#mend.add(once);
    this.#world.timeline.after(ms, once);
    this.#world.touchAll();
  }

  #up(name: string): void {
    const stack = someStack(this.#world.chance, name, this.#kind.stopping);
    this.#note(
      `up ${name}: ${Object.values(stack.services)
        .map((s) => `${s.name}×${s.replicas} ${s.container.image}`)
        .join(', ')}`,
    );
    up(this.#world, stack);
  }

  #down(name: string): void {
    this.#note(`down ${name}`);
    down(this.#world, name);
  }

  #crash(machine: Machine): void {
    const container = this.#oneThatRuns(machine);
    if (!container) return;
    this.#note(`${container.task.name} on ${machine.name} ends with code 1`);
    machine.crash(container.id, 1);
  }

  #agent(machine: Machine, ms: number): void {
    if (this.#world.agents.get(machine.nodeId)?.isDead !== false) return;
    this.#note(`the agent of ${machine.name} is killed`);
    this.#world.killAgent(machine);
    this.#until(ms, `the agent of ${machine.name} starts`, () => this.#world.startAgent(machine));
  }

  #power(machine: Machine, ms: number): void {
    if (!machine.isPowered) return;
    this.#note(`${machine.name} loses its power`);
    machine.powerOff();
    this.#world.killAgent(machine);
    this.#until(ms, `${machine.name} has power again`, () => {
      machine.powerOn();
      this.#world.startAgent(machine);
    });
  }

  #cut(a: string, b: string, ms: number): void {
    this.#note(`the way between ${a} and ${b} is cut`);
    this.#until(ms, `the way between ${a} and ${b} is mended`, this.#world.net.cut(a, b));
  }

  #cutOff(machine: Machine, ms: number): void {
    this.#note(`${machine.name} is cut off`);
    const mends = this.#world.controllerIds.map((id) => this.#world.net.cut(machine.name, id));
    this.#until(ms, `${machine.name} is back in the network`, () => mends.forEach((mend) => mend()));
  }

  #pauseAgent(machine: Machine, ms: number): void {
    const agent = this.#world.agents.get(machine.nodeId);
    if (!agent || agent.isDead || agent.isFrozen) return;
    this.#note(`the agent of ${machine.name} stands still`);
    agent.freeze();
    this.#until(ms, `the agent of ${machine.name} goes on`, () => agent.thaw());
  }

  #controller(id: string, ms: number): void {
    const process = this.#world.controllers.get(id)?.process;
    if (!process || process.isDead) return;
    this.#note(`controller ${id}${this.#world.watcher.isLeading(process) ? ' (it leads)' : ''} is killed`);
    process.kill();
    this.#until(ms, `controller ${id} starts`, () => this.#world.startController(id));
  }

  #freeze(id: string, ms: number): void {
    const process = this.#world.controllers.get(id)?.process;
    if (!process || process.isDead || process.isFrozen) return;
    this.#note(`controller ${id}${this.#world.watcher.isLeading(process) ? ' (it leads)' : ''} stands still`);
    process.freeze();
    this.#until(ms, `controller ${id} goes on`, () => process.thaw());
  }

  #etcd(ms: number): void {
    const { etcd, chance } = this.#world;
    const kill = chance.is(0.5);
    this.#note(kill ? 'etcd is killed' : 'etcd stands still');
    if (kill) etcd.kill();
    else etcd.freeze();
    this.#until(ms, kill ? 'etcd starts' : 'etcd goes on', () => (kill ? etcd.restart() : etcd.thaw()));
  }

  #drain(machine: Machine): void {
    const availability = this.#world.chance.pick(['drain', 'drain', 'active', 'pause'] as const);
    this.#note(`${machine.name}: ${availability}`);
    setAvailability(this.#world, machine.nodeId, availability);
  }

  #rebalance(): void {
    this.#note(`rebalance: ${rebalance(this.#world)} tasks are to move`);
  }

  /** All tasks of a service, as files that are synced ask for it. */
  #restart(machine: Machine): void {
    const container = this.#oneThatRuns(machine);
    if (!container) return;
    const { stack, service } = container.task;
    this.#note(`restart ${stack}/${service} in place`);
    restart(this.#world, stack, service);
  }

  #oneThatRuns({ containers }: Machine): Container | undefined {
    const running = [...containers.values()].filter((c) => c.state === 'running');
    return running.length === 0 ? undefined : this.#world.chance.pick(running);
  }

  /** Everything works again, but perhaps one host, which stays dead; then the cluster comes right. */
  async #comeRight(): Promise<void> {
    const { chance, machines } = this.#world;
    for (const mend of [...this.#mend]) mend();
    const dead = chance.is(0.25) ? chance.pick([...machines.values()]) : undefined;
    this.#note(`quiet${dead ? `, and ${dead.name} stays dead` : ''}`);
    if (dead) {
      dead.powerOff();
      this.#world.killAgent(dead);
    }
    await this.#settle();
    const levelled = this.#kind.levelled ?? ('rebalance' in this.#kind.deeds ? LEVELLED : 0);
    if (!this.#world.violation && chance.is(levelled)) await this.#levelOut();
  }

  async #settle(also: () => string[] = () => []): Promise<void> {
    const { timeline } = this.#world;
    const until = timeline.now + QUIET_MS;
    let reasons: string[] = [];
    while (timeline.now < until && !this.#world.violation) {
      await this.#world.run(timeline.now + LOOK_MS);
      reasons = [...unsettled(this.#world), ...also()];
      if (reasons.length === 0) return;
    }
    if (!this.#world.violation) this.#world.break(`not settled after ${QUIET_MS / 1000} s of quiet: ${reasons.slice(0, 5).join('; ')}`);
  }

  /** Where nothing happens besides, a rebalance moves what it says, and then there is nothing to move. */
  async #levelOut(): Promise<void> {
    const { timeline } = this.#world;
    await this.#world.run(timeline.now + LONG_QUIET_MS);
    if (this.#world.violation) return;
    this.#rebalance();
    await this.#settle(() => (movesLeft(this.#world) > 0 ? ['a rebalance would move tasks again'] : []));
  }
}
