/** For tests: the tasks loop over a runtime in memory, with a network, a keeper and controllers that do as they are told. */
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import { turns } from '#base/turns.js';
import { HEALTH_TRANSITIONS, isTransition, TASK_TRANSITIONS } from '#model/task-life.js';
import type { Task } from '#model/task.js';
import { applySnapshot } from '#model/view-state.js';
import { FakeRuntime } from '#runtime/fake-runtime.js';
import { Callers } from './callers.js';
import type { ContactState } from './contact.js';
import { DesiredStore } from './desired-store.js';
import { layout, type Layout } from './layout.js';
import { Ledger } from './ledger.js';
import { TasksLoop } from './loops/tasks.js';
import { makeSnapshot, makeTask, NODE_ID, withTempDir } from './spec-kit.js';
import { StatusBoard, type StatusUpdate } from './status-board.js';
import { TaskRunner } from './task-runner.js';

const runsForever: Partial<Task> = { container: { ...makeTask('aaaaaaaa').container, command: ['sleep', 'infinity'] } };
export const a = makeTask('aaaaaaaa', runsForever);
export const b = makeTask('bbbbbbbb', { ...runsForever, slot: 2, name: 'shop-web-2' });
export const withCommand = (task: Task, ...command: string[]): Task => ({ ...task, container: { ...task.container, command } });

export class FakeKeeper {
  readonly open_ = new Set<string>();
  open = async ({ container }: { container: string }) => void this.open_.add(container);
  close = async (container: string) => this.open_.delete(container);
}

/** For tasks without configs and secrets. */
export const NO_FILES = { prepare: () => Promise.resolve([]), forget: () => Promise.resolve(), sweep: () => Promise.resolve() };
export const NO_VOLUMES = {
  hold: () => Promise.reject(new Error('no volume')),
  holdPart: () => Promise.reject(new Error('no volume')),
  adopt: () => undefined,
  release: () => Promise.resolve(),
  sweep: () => Promise.resolve(),
};

/** As it is set. */
class SetContact {
  state: ContactState = 'heard';
  readonly #listeners = new Set<() => void>();

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  set(state: ContactState): void {
    this.state = state;
    for (const listener of [...this.#listeners]) listener();
  }
}

export interface Rig {
  runtime: FakeRuntime;
  store: DesiredStore;
  board: StatusBoard;
  ledger: Ledger;
  keeper: FakeKeeper;
  paths: Layout;
  loop: TasksLoop;
  /** What the network says of a task. */
  network: { ready: (taskId: string) => Promise<string> };
  confirmed: { is: boolean };
  contact: SetContact;
  want(...tasks: Task[]): void;
  /** Ends the agent and begins another one on the same directory and runtime. */
  again(): Promise<Rig>;
}

let revision = 1;

/** Everything that tasks ever say has to be a step of the tables in libs/model: what is here was none. */
export const strangeSteps: string[] = [];
class WatchedBoard extends StatusBoard {
  override set(update: StatusUpdate): void {
    const before = this.get(update.taskId);
    const [from, to] = [before?.state ?? null, update.state];
    if (!isTransition(TASK_TRANSITIONS, from, to)) strangeSteps.push(`${from} → ${to}: ${update.message}`);
    const ranOn = from === 'running' && to === 'running' && before?.startedAt === update.startedAt;
    if (ranOn && !isTransition(HEALTH_TRANSITIONS, before?.health ?? null, update.health ?? null))
      strangeSteps.push(`health ${before?.health} → ${update.health}`);
    super.set(update);
  }
}

async function makeRig(dir: string, runtime: FakeRuntime): Promise<Rig> {
  const paths = layout(dir, join(dir, 'run'));
  const store = await DesiredStore.open(dir, silentLog);
  const ledger = await Ledger.open(dir, silentLog);
  const board = new WatchedBoard(NODE_ID, systemClock);
  const keeper = new FakeKeeper();
  const network = { ready: async (taskId: string) => `/run/netns/${taskId}` };
  const confirmed = { is: true };
  const contact = new SetContact();
  const runner = new TaskRunner({
    fileMounts: NO_FILES,
    treeMounts: NO_FILES,
    volumeMounts: NO_VOLUMES,
    runtime,
    keeper,
    network: { made: async (id) => `/run/netns/${id}`, ready: (id) => network.ready(id) },
    resolver: () => Promise.resolve(),
    nodeNetns: '/proc/1/ns/net',
    placeOf: async () => ({}),
    layout: paths,
    nodeName: 'n1',
    callers: new Callers(systemClock),
    inTurn: turns(8),
    clock: systemClock,
    log: silentLog,
  });
  const loop = new TasksLoop({
    runtime,
    runner,
    store,
    board,
    ledger,
    contact,
    isConfirmed: () => confirmed.is,
    clock: systemClock,
    log: silentLog,
  });
  await loop.start(new AbortController().signal);
  const again = async () => {
    await loop.stop();
    await Promise.all([store.flush(), ledger.flush()]);
    return makeRig(dir, runtime);
  };
  const want = (...tasks: Task[]) => store.set(applySnapshot(makeSnapshot(++revision, tasks)));
  return { runtime, store, board, ledger, keeper, paths, loop, network, confirmed, contact, want, again };
}

export async function withRig(use: (rig: Rig) => Promise<Rig | void>, runtime = new FakeRuntime({ images: ['busybox'] })): Promise<void> {
  await withTempDir(async (dir) => {
    const rig = await makeRig(dir, runtime);
    const last = (await use(rig)) ?? rig;
    await last.loop.stop();
    await Promise.all([last.store.flush(), last.ledger.flush()]);
  });
}

export const state = (rig: Rig, task: Task) => rig.board.get(task.id)?.state;
export const verbs = (rig: Rig, task: Task) => rig.runtime.calls.filter((c) => c.endsWith(task.id)).map((c) => c.split(' ')[0]);
