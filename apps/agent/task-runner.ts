/** Carries out one operation on one task's container: the order of steps, and nothing about when. */
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import { healthProbe, type HealthProbe } from '#model/healthcheck.js';
import { namespaceOwner, type Task } from '#model/task.js';
import type { LogKeeperVerbs } from '#logs/keeper-client.js';
import type { Runtime } from '#runtime/runtime.js';
import type { Callers } from './callers.js';
import { containerFiles, writeContainerFiles, type FilesPlace } from './container-files.js';
import type { FileMounts } from './contents/file-mounts.js';
import type { TreeMounts } from './contents/tree-mounts.js';
import { containerSpec } from './container-spec.js';
import { ensureImage } from './ensure-image.js';
import type { ImagePeers } from './image-peers.js';
import type { Layout } from './layout.js';
import { logSource, stdioOf } from './log-source.js';
import { runPostStart, runPreStop } from './run-hooks.js';
import { sayInLog } from './say-in-log.js';
import type { VolumeMounts } from './volume-mounts.js';
import { prepareMounts } from './volumes.js';

/** How long a task's network may take to be made before that counts as a failure (and is tried again). */
const NETWORK_TIMEOUT_MS = 15_000;
/** How long a container that is made may wait for its caller. */
const CALLER_MS = 20_000;
/** For containers whose task is not known any more. */
const LEFTOVER_GRACE_MS = 10_000;

export interface TaskNetwork {
  /**
   * Path of the task's network namespace, once there is one: a container may be made for it, and not more.
   * @throws KERNEL
   */
  made(taskId: string, timeoutMs: number): Promise<string>;
  /**
   * Path of the task's network namespace, once everything in it is in place and was read back.
   * @throws KERNEL, TIMEOUT
   */
  ready(taskId: string, timeoutMs: number): Promise<string>;
}

export interface RunnerDeps {
  runtime: Runtime;
  /** Other nodes, to have images from. */
  peers?: ImagePeers | undefined;
  keeper: Pick<LogKeeperVerbs, 'open' | 'close'>;
  network: TaskNetwork;
  /** Resolves when the names around the task are answered, or were waited for long enough. */
  resolver: (task: Task) => Promise<void>;
  /** Path of the namespace that the agent itself is in: the node's. */
  nodeNetns: string;
  placeOf: (task: Task) => Promise<FilesPlace>;
  fileMounts: Pick<FileMounts, 'prepare' | 'forget'>;
  treeMounts: Pick<TreeMounts, 'prepare'>;
  volumeMounts: Pick<VolumeMounts, 'hold' | 'holdPart' | 'adopt' | 'release'>;
  layout: Layout;
  nodeName: string;
  callers: Pick<Callers, 'letIn'>;
  /** Runs the part that costs CPU and disk when its turn has come. */
  inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  clock: Clock;
  log: Log;
}

export type RunStep = 'preparing' | 'starting' | 'created';

/** What becomes of an earlier container: nothing: there is none; kept: its files are the new one's; dropped: it goes with all that it wrote. */
export type Earlier = 'nothing' | 'kept' | 'dropped';

export interface HowToRun {
  earlier: Earlier;
  /** Of a restart that was asked for: its container is marked with it. */
  order?: number | undefined;
}

export class TaskRunner {
  readonly #d: RunnerDeps;
  /** What was written last into the files of each task. */
  readonly #written = new Map<string, string>();

  constructor(deps: RunnerDeps) {
    this.#d = deps;
  }

  /**
   * Makes and starts the container in its finished network. It is made while its network is still being finished (which is
   * mostly waiting for the kernel), and started only after that.
   * `onStep` hears how far it is; 'created' comes before its process begins. A message says what it waits for.
   * Resolves with how its health is to be checked.
   */
  async run(task: Task, { earlier, order }: HowToRun, onStep: (step: RunStep, message?: string) => void): Promise<HealthProbe | undefined> {
    const { runtime, peers, keeper, layout, nodeName, placeOf, inTurn, clock, log } = this.#d;
    const stdio = stdioOf(task, layout);
    onStep('preparing');
    const began = clock.monotonic();
    const place = await placeOf(task);
    const ready = this.#namespace(task, 'ready').then(() => this.#d.resolver(task));
    // Heard below; until then it must not count as unhandled.
    ready.catch(() => undefined);
    const [image, netnsPath, mounts] = await allSettledOrThrow([
      ensureImage(runtime, task.container, nodeName, { peers, onWait: (message) => onStep('preparing', message) }),
      this.#namespace(task, 'made'),
      this.#mounts(task, place),
      keeper.open(logSource(task, layout)),
    ]);
    const prepared = clock.monotonic();
    await inTurn(async () => {
      if (earlier === 'dropped') await runtime.remove(task.id);
      const spec = containerSpec(task, { image: image.name, mounts, netnsPath, place, stdio, order });
      await (earlier === 'kept' ? runtime.recreate(spec) : runtime.create(spec));
      onStep('created');
    });
    const created = clock.monotonic();
    await this.#orRemove(ready, task);
    const wired = clock.monotonic();
    if (task.awaitsCaller) {
      onStep('preparing', 'waits for its caller to be attached');
      await this.#orRemove(this.#d.callers.letIn(task.id, CALLER_MS), task);
    }
    onStep('starting');
    await inTurn(() => runtime.start(task.id));
    const started = clock.monotonic();
    await this.#orRemove(runPostStart(this.#hooks, task), task);
    const ms = (from: number, to: number) => Math.round(to - from);
    log.debug(
      {
        task: task.name,
        preparedMs: ms(began, prepared),
        createdMs: ms(prepared, created),
        wiredMs: ms(created, wired),
        startedMs: ms(wired, started),
      },
      'made a container',
    );
    return healthProbe(task.container.healthcheck, image);
  }

  #namespace(task: Task, step: 'made' | 'ready'): Promise<string> {
    const owner = namespaceOwner(task);
    return owner === undefined ? Promise.resolve(this.#d.nodeNetns) : this.#d.network[step](owner, NETWORK_TIMEOUT_MS);
  }

  /** Writes what has changed in a running task's files: its addresses, whom it is linked to. */
  async refreshFiles(task: Task): Promise<void> {
    const place = await this.#d.placeOf(task);
    if (this.#written.get(task.id) !== JSON.stringify(containerFiles(task, place))) await this.#writeFiles(task, place);
  }

  async #writeFiles(task: Task, place: FilesPlace) {
    const mounts = await writeContainerFiles(this.#d.layout.taskDir(task.id), task, place);
    this.#written.set(task.id, JSON.stringify(containerFiles(task, place)));
    return mounts;
  }

  get #hooks(): Parameters<typeof runPostStart>[0] {
    const { runtime, clock, log, layout } = this.#d;
    return { runtime, clock, log, say: (task, kind, text) => sayInLog(layout, log, task, kind, text) };
  }

  /** Without it the container is not wanted. */
  async #orRemove(work: Promise<unknown>, task: Task): Promise<void> {
    try {
      await work;
    } catch (error) {
      await this.#d.runtime.remove(task.id).catch(() => undefined);
      throw error;
    }
  }

  /** How the health of a container that runs already is to be checked. @param image as the runtime knows it */
  async probeOf(task: Task, image: string): Promise<HealthProbe | undefined> {
    return healthProbe(task.container.healthcheck, (await this.#d.runtime.resolveImage(image)) ?? {});
  }

  /** Puts the log keeper and what is mounted right for a container that runs already. */
  async adopt(task: Task): Promise<void> {
    const { keeper, layout, volumeMounts } = this.#d;
    volumeMounts.adopt(task);
    await keeper.open(logSource(task, layout));
  }

  /** Runs its hooks, stops with the task's grace and removes the container. Resolves with its exit code. @param isRunning its process */
  async stop(task: Task, isRunning = true): Promise<number | undefined> {
    if (isRunning) await runPreStop(this.#hooks, task);
    const { stopSignal: signal, stopGraceMs } = task.container;
    return this.#end(task.id, { signal, graceMs: task.stopGraceMs ?? stopGraceMs });
  }

  /** Runs its hooks and ends its process as a stop does; the container stays. Resolves with its exit code. @param graceMs instead of its own */
  async endProcess(task: Task, graceMs?: number): Promise<number | undefined> {
    await runPreStop(this.#hooks, task);
    return this.#d.runtime.stop(task.id, { signal: task.container.stopSignal, graceMs: graceMs ?? task.container.stopGraceMs });
  }

  /** Resolves when all that a container printed which has ended has come. */
  settle(task: Task): Promise<void> {
    return this.#d.runtime.settle(task.id);
  }

  /** Ends its process, and nothing else; whoever is starting it finds it so. */
  async halt(task: Task): Promise<void> {
    const { stopSignal: signal, stopGraceMs } = task.container;
    await this.#d.runtime.stop(task.id, { signal, graceMs: stopGraceMs });
  }

  async removeLeftover(containerId: string): Promise<void> {
    await this.#end(containerId, { graceMs: LEFTOVER_GRACE_MS });
  }

  async #mounts(task: Task, place: FilesPlace) {
    const { layout, nodeName, fileMounts, treeMounts, volumeMounts } = this.#d;
    const files = await this.#writeFiles(task, place);
    const volumes = await prepareMounts(task.container.mounts, layout.volumes, nodeName, {
      hold: (name, options) => volumeMounts.hold(task.id, name, options),
      holdPart: (part, target) => volumeMounts.holdPart(task.id, part, target),
    });
    return [...files, ...volumes, ...(await treeMounts.prepare(task)), ...(await fileMounts.prepare(task))];
  }

  async #end(containerId: string, how: { signal?: string; graceMs: number }): Promise<number | undefined> {
    const { runtime, keeper, fileMounts, volumeMounts, inTurn, log } = this.#d;
    // Waiting for a process to obey costs nothing: no turn is needed for it.
    const exitCode = await runtime.stop(containerId, how);
    await inTurn(() => runtime.remove(containerId));
    this.#written.delete(containerId);
    await fileMounts.forget(containerId);
    await volumeMounts.release(containerId);
    await keeper.close(containerId).catch((error: unknown) => log.warn({ containerId, error: String(error) }, 'could not close the log'));
    return exitCode;
  }
}

/** As Promise.all, but waits for all before it fails: nothing goes on behind the back of a task that is tried again. */
async function allSettledOrThrow<T extends readonly unknown[] | []>(promises: T): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
