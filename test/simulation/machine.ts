/** A node's host: its disk and its containers, which outlive the agent; a container runtime that takes its time. */
import { WeftError } from '#base/errors.js';
import type { Task } from '#model/task.js';
import type { ContainerInfo, Runtime, RuntimeEvent } from '#runtime/runtime.js';
import { NAME_LABEL, ORDER_LABEL, TASK_LABEL } from '../../apps/agent/plan-tasks.js';
import type { Disk } from '../../apps/agent/atomic-file.js';
import type { TaskRunner } from '../../apps/agent/task-runner.js';
import type { Chance } from './chance.js';
import type { SimProcess } from './process.js';
import type { Timeline } from './timeline.js';

export interface Container extends ContainerInfo {
  task: Task;
  /** Its process was ended to be started again in place. */
  isEndedByOrder?: boolean;
}

/** What a lazier agent would have written to its disk. */
export type DiskTamper = (path: string, text: string) => string;

export type RunnerPort = Pick<
  TaskRunner,
  'run' | 'adopt' | 'probeOf' | 'refreshFiles' | 'settle' | 'stop' | 'endProcess' | 'halt' | 'removeLeftover'
>;
export type RuntimePort = Pick<Runtime, 'list' | 'events' | 'exec'>;

/** One try in so many fails. */
const FAILURE = 0.01;
/** Flushing to disk takes so long, in milliseconds. */
const SYNC_MS = 3;

export class Machine {
  readonly containers = new Map<string, Container>();
  readonly #files = new Map<string, string>();
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();
  isPowered = true;
  #boots = 0;

  constructor(
    readonly name: string,
    readonly nodeId: string,
    private readonly timeline: Timeline,
    private readonly chance: Chance,
    /** Told of every process that begins or ends. */
    private readonly onChange: (machine: Machine, container: Container) => void,
    private readonly wallClock: () => number,
    private readonly tamper: DiskTamper = (_, text) => text,
  ) {}

  /** All processes end at once; what is on disk stays. */
  powerOff(): void {
    this.isPowered = false;
    this.#boots++;
    this.#listeners.clear();
    for (const c of this.containers.values()) this.#set(c, 'stopped');
  }

  powerOn(): void {
    this.isPowered = true;
  }

  /** A program ends by itself. */
  crash(id: string, exitCode: number): void {
    const container = this.containers.get(id);
    if (container?.state === 'running') this.#end(container, exitCode);
  }

  /** The kernel is made as the tasks' records say: those that run have the addresses that are written there now. */
  program(tasks: readonly Task[]): void {
    for (const task of tasks) {
      const container = this.containers.get(task.id);
      if (!container || container.task === task) continue;
      const hasMoved = addressesOf(container.task) !== addressesOf(task);
      container.task = task;
      if (hasMoved) this.onChange(this, container);
    }
  }

  disk(process: SimProcess): Disk {
    const files = this.#files;
    return {
      clock: process,
      read: (path) => Promise.resolve(files.get(path)),
      write: async (path, text) => {
        await process.sleep(SYNC_MS);
        files.set(path, this.tamper(path, text));
      },
      rename: (from, to) => {
        files.set(to, files.get(from) ?? '');
        files.delete(from);
        return Promise.resolve();
      },
    };
  }

  /** As one agent sees it: what a dead one asked for is done all the same, and never answered. */
  runtime(process: SimProcess): RuntimePort {
    return {
      list: () => this.#does(process, 1, () => [...this.containers.values()].map((c) => infoOf(c))),
      events: (onEvent) => {
        const listener = (event: RuntimeEvent) => process.do(() => onEvent(event));
        this.#listeners.add(listener);
        process.onDeath(() => this.#listeners.delete(listener));
        return { stop: () => void this.#listeners.delete(listener) };
      },
      exec: () => Promise.reject(new WeftError('RUNTIME', 'nothing can be run in a simulated container')),
    };
  }

  /** The steps of apps/agent/task-runner.ts, without files and namespaces. */
  runner(process: SimProcess): RunnerPort {
    const remove = (id: string) =>
      this.#does(process, 10, () => {
        const container = this.containers.get(id);
        if (container?.state === 'running') this.#end(container, 137);
        this.containers.delete(id);
      });
    const stop = (id: string, isOrdered = false) =>
      this.#does(process, 40, () => {
        const container = this.containers.get(id);
        if (container?.state === 'running') {
          container.isEndedByOrder = isOrdered;
          this.#end(container, 143);
        }
        return container?.exitCode;
      });
    return {
      run: async (task, { earlier, order }, onStep) => {
        onStep('preparing');
        if (earlier === 'dropped') await remove(task.id);
        await this.#does(process, 60, () => (earlier === 'kept' ? this.#recreate(task, order) : this.#create(task, order)));
        onStep('created');
        onStep('starting');
        await this.#does(process, 30, () => this.#start(task.id));
        return undefined;
      },
      adopt: () => Promise.resolve(),
      probeOf: () => Promise.resolve(undefined),
      refreshFiles: () => Promise.resolve(),
      settle: () => Promise.resolve(),
      stop: async ({ id }) => {
        const exitCode = await stop(id);
        await remove(id);
        return exitCode;
      },
      endProcess: ({ id }) => stop(id, true),
      halt: async ({ id }) => void (await stop(id)),
      removeLeftover: async (id) => {
        await stop(id);
        await remove(id);
      },
    };
  }

  #create(task: Task, order: number | undefined): void {
    if (this.containers.has(task.id)) throw new WeftError('CONFLICT', `a container ${task.id} exists already`);
    if (this.chance.is(FAILURE)) throw new WeftError('RUNTIME', 'the simulated runtime failed');
    const labels: Record<string, string> = { [TASK_LABEL]: task.id, [NAME_LABEL]: task.name };
    if (order !== undefined) labels[ORDER_LABEL] = String(order);
    this.containers.set(task.id, { id: task.id, image: task.container.image, labels, state: 'created', task });
  }

  /** What is left of the one before goes, running or not. */
  #recreate(task: Task, order: number | undefined): void {
    const before = this.containers.get(task.id);
    if (before?.state === 'running') this.#end(before, 137);
    this.containers.delete(task.id);
    this.#create(task, order);
  }

  #start(id: string): void {
    const container = this.containers.get(id);
    if (container?.state !== 'created') throw new WeftError('NOT_FOUND', `no container ${id} to start`);
    this.#set(container, 'running');
  }

  #end(container: Container, exitCode: number): void {
    container.exitCode = exitCode;
    container.exitedAt = this.wallClock();
    this.#set(container, 'stopped');
    for (const tell of this.#listeners) tell({ type: 'exit', containerId: container.id, exitCode, at: container.exitedAt });
  }

  #set(container: Container, state: Container['state']): void {
    container.state = state;
    this.onChange(this, container);
  }

  #does<T>(process: SimProcess, meanMs: number, act: () => T): Promise<T> {
    const boot = this.#boots;
    return new Promise((resolve, reject) => {
      this.timeline.after(meanMs * (0.3 + 1.4 * this.chance.next()), () => {
        if (!this.isPowered || boot !== this.#boots) return;
        try {
          const value = act();
          process.do(() => resolve(value));
        } catch (error) {
          process.do(() => reject(error as WeftError));
        }
      });
    });
  }
}

const addressesOf = ({ endpoints }: Task): string => endpoints.map((e) => `${e.networkId}/${e.ipv4}/${e.ipv6 ?? ''}`).join(' ');

const infoOf = ({ task: _, isEndedByOrder: __, ...info }: Container): ContainerInfo => ({ ...info });
