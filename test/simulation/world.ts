/** A whole cluster in one process and in virtual time: etcd, controllers, hosts with agents, and the network between them. */
import { silentLog, type Log } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { MemoryEtcd } from '#store/memory-etcd.js';
import { MemoryStore } from '#store/memory-store.js';
import { openLine } from './agent-line.js';
import { Chance } from './chance.js';
import { ETCD, EtcdWay } from './etcd-way.js';
import type { Fault } from './faults.js';
import { Machine, type Container } from './machine.js';
import { LATE_PART, Net } from './net.js';
import { SimProcess } from './process.js';
import { runAgent, type NodeCalls } from './sim-agent.js';
import { startController, type SimController } from './sim-controller.js';
import { Timeline } from './timeline.js';
import { fail, Violation } from './violation.js';
import { Watcher } from './watcher.js';

/** An agent that is not heard for less than this, in milliseconds, is never declared dead; see the controller's README. */
const SURELY_ALIVE_MS = 2_000;

export interface WorldOptions {
  seed: number;
  nodes: number;
  controllers: number;
  /** Keep a line for every commit and process, not only for what is done to the cluster. */
  verbose?: boolean;
  /** See EtcdWay. */
  slowMs?: number;
  /** A planted one. */
  fault?: Fault;
}

export class World {
  readonly timeline = new Timeline();
  readonly chance: Chance;
  readonly net: Net;
  readonly watcher: Watcher;
  readonly etcd: MemoryEtcd;
  readonly etcdProcess: SimProcess;
  readonly machines = new Map<string, Machine>();
  readonly controllers = new Map<string, SimController>();
  readonly agents = new Map<string, SimProcess>();
  /** By node, of the agent that runs now. */
  readonly #calls = new Map<string, { process: SimProcess; calls: NodeCalls }>();
  readonly lines: string[] = [];
  violation: Violation | undefined;
  readonly #o: WorldOptions;
  /** Node id → when it was last surely in touch; undefined while it is. */
  readonly #outSince = new Map<string, number>();
  /** Node id → when it was last out, from when to when. */
  readonly #lastContact = new Map<string, { out: number; back: number }>();
  /** Node id → when it was last back after it had been out for long. */
  readonly #lastOut = new Map<string, number>();
  #ids = 0;

  constructor(options: WorldOptions) {
    this.#o = options;
    this.chance = new Chance(options.seed);
    this.net = new Net(this.timeline, this.chance);
    this.etcdProcess = new SimProcess(ETCD, this.timeline);
    const mayBeDead = (nodeId: string) => this.#mayBeDead(nodeId);
    this.watcher = new Watcher({
      machines: this.machines,
      mayBeDead,
      now: () => this.timeline.now,
      note: (line) => options.verbose && this.note(line()),
    });
    this.etcd = new MemoryEtcd({
      clock: this.etcdProcess,
      onCommit: (revision, events) => this.#guarded(() => this.watcher.onCommit(revision, events)),
    });
    for (let i = 1; i <= options.nodes; i++) {
      const nodeId = `aaaaaaa${i}`;
      this.machines.set(
        nodeId,
        new Machine(
          `n${i}`,
          nodeId,
          this.timeline,
          this.chance,
          (m, c) => this.#processChanged(m, c),
          () => this.etcdProcess.now(),
          options.fault?.disk,
        ),
      );
    }
    this.#found();
  }

  /** What a process says of itself: in the printed history only. */
  #logOf(name: string): Log {
    const error = (fields: object, message: string) => {
      if (message.startsWith('a value in etcd cannot be read')) this.break(`${name}: ${message} ${JSON.stringify(fields)}`);
    };
    if (!this.#o.verbose) return { ...silentLog, error };
    const say = (level: string) => (fields: object, message: string) =>
      this.note(`  ${name} ${level}: ${message} ${JSON.stringify(fields)}`);
    const sayError = (fields: object, message: string) => (say('error')(fields, message), error(fields, message));
    return { debug: () => undefined, info: say('info'), warn: say('warn'), error: sayError };
  }

  readonly newId = (): string => (++this.#ids).toString(16).padStart(8, '0');

  get controllerIds(): string[] {
    return Array.from({ length: this.#o.controllers }, (_, i) => `ccccccc${i + 1}`);
  }

  /** What happens, for the history that is printed. */
  note(line: string): void {
    this.lines.push(`${(this.timeline.now / 1000).toFixed(3).padStart(8)} ${line}`);
  }

  machine(name: string): Machine {
    const found = [...this.machines.values()].find((m) => m.name === name);
    if (!found) throw new Error(`no machine ${name}`);
    return found;
  }

  start(): void {
    for (const id of this.controllerIds) this.startController(id);
    for (const machine of this.machines.values()) this.startAgent(machine);
  }

  startController(id: string): void {
    if (this.controllers.get(id)?.process.isDead === false) return;
    const process = new SimProcess(`${id}#${this.newId()}`, this.timeline);
    const onTxn = (writer: SimProcess) => (this.watcher.writer = writer);
    const { net } = this;
    const way = new EtcdWay({ server: this.etcd, process, machine: id, net, onTxn, slowMs: this.#o.slowMs, tamper: this.#o.fault?.etcd });
    this.controllers.set(id, startController(process, id, new MemoryStore(way, { clock: process }), this.newId, this.#logOf(id)));
  }

  startAgent(machine: Machine): void {
    if (!machine.isPowered || this.agents.get(machine.nodeId)?.isDead === false) return;
    const process = new SimProcess(machine.name, this.timeline);
    this.agents.set(machine.nodeId, process);
    const caller = { process, machine: machine.name, nodeId: machine.nodeId };
    void runAgent({
      process,
      machine,
      controllers: this.controllerIds,
      chance: this.chance,
      orders: this.watcher.restarts,
      log: this.#logOf(machine.name),
      dial: (target, signal) => {
        const controller = this.controllers.get(target);
        const listener = controller && {
          process: controller.process,
          machine: target,
          converse: controller.hub.converse.bind(controller.hub),
        };
        return openLine(this.net, this.timeline, caller, listener, signal);
      },
    }).then(
      (calls) => void this.#calls.set(machine.nodeId, { process, calls }),
      (error: unknown) => this.#guarded(() => fail(`an agent ended: ${String(error)}`)),
    );
    this.touch(machine);
  }

  /** A controller calls the node service of an agent, if the call gets there. */
  callNode(controllerId: string, nodeId: string, call: (calls: NodeCalls) => void): void {
    const machine = this.machines.get(nodeId);
    if (!machine) return;
    this.net.send(controllerId, machine.name, () => {
      const now = this.#calls.get(nodeId);
      now?.process.do(() => call(now.calls));
    });
  }

  killAgent(machine: Machine): void {
    this.agents.get(machine.nodeId)?.kill();
    this.touch(machine);
  }

  /** Call whenever a way to a node, or its agent, may have changed: notes since when it is out of touch. */
  touch(machine: Machine): void {
    const { now } = this.timeline;
    const { nodeId, name } = machine;
    const isOut = this.#isOut(nodeId, name);
    const since = this.#outSince.get(nodeId);
    if (isOut && since === undefined) this.#outSince.set(nodeId, this.#goneAgain(nodeId, now));
    if (!isOut && since !== undefined) {
      this.#outSince.delete(nodeId);
      this.#lastContact.set(nodeId, { out: since, back: now });
      // A short one after it does not undo a long one.
      if (now - since > SURELY_ALIVE_MS) this.#lastOut.set(nodeId, now);
    }
  }

  /** Since when a node that goes now is out: one that was back for too short to be heard never was. */
  #goneAgain(nodeId: string, now: number): number {
    const last = this.#lastContact.get(nodeId);
    return last && now - last.back < heardAgainMs(last.back - last.out) ? last.out : now;
  }

  touchAll(): void {
    for (const machine of this.machines.values()) this.touch(machine);
  }

  #isOut(nodeId: string, name: string): boolean {
    const agent = this.agents.get(nodeId);
    return !agent || agent.isDead || agent.isFrozen || this.controllerIds.some((id) => this.net.isCut(name, id));
  }

  /** It was out for long, and that is not long ago. */
  #mayBeDead(nodeId: string): boolean {
    const { now } = this.timeline;
    const since = this.#outSince.get(nodeId);
    if (since !== undefined && now - since > SURELY_ALIVE_MS) return true;
    const backAt = this.#lastOut.get(nodeId);
    return backAt !== undefined && now - backAt < COMING_BACK_MS;
  }

  /** Runs until `until`, in milliseconds, or the first violation. */
  async run(until: number, isOver: () => boolean = () => false): Promise<void> {
    await this.timeline.run(until, () => this.violation !== undefined || isOver());
  }

  /** Something is wrong that is seen only now. */
  break(what: string): void {
    this.#guarded(() => fail(what));
  }

  end(): void {
    for (const { process } of this.controllers.values()) process.kill();
    for (const agent of this.agents.values()) agent.kill();
    this.etcd.close();
  }

  /** What joining leaves behind. */
  #found(): void {
    const cluster = { id: 'c0ffee00', createdAt: 0, pools: ['10.128.0.0/9'], subnetPrefix: 24, vxlanPort: 4789 };
    const nodes = [...this.machines.values()].map((m, i) => ({
      id: m.nodeId,
      name: m.name,
      address: `192.0.2.${i + 1}`,
      index: i + 1,
      labels: {},
      createdAt: 0,
    }));
    this.etcd.txn(
      [],
      [
        { put: keys.cluster(), value: encode(cluster) },
        { put: keys.pool(), value: encode({ nodeIndex: nodes.length }) },
        ...nodes.map((n) => ({ put: keys.node(n.id), value: encode(n) })),
        ...this.controllerIds.map((id, i) => ({
          put: keys.controller(id),
          value: encode({ id, name: id, address: `198.51.100.${i + 1}`, port: 4780 }),
        })),
      ],
    );
  }

  #processChanged(machine: Machine, container: Container): void {
    this.#guarded(() => this.watcher.onProcess(machine, container));
  }

  #guarded(check: () => unknown): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.violation ??= error;
      this.note(`*** ${error.message}`);
    }
  }
}

/** In this time, in milliseconds, what is sent on a way that is open arrives: a heartbeat, and its delay. */
const SOON_MS = 600;

/** How long a node that was out for `outMs` has to be back until it is surely heard: what it sent is sent again late (`Net.cut`). */
const heardAgainMs = (outMs: number): number => outMs * LATE_PART + SOON_MS;

/** After it is in touch again, a node has so long to be heard, in milliseconds: backoff, hello, and what was sent before it went. */
const COMING_BACK_MS = 12_000;
