/**
 * Keeps the kernel as the view wants it: one whole desired value, set whenever the view changed, and repaired on a timer and
 * when the kernel tells of a foreign change.
 * Tasks wait here for their namespace to be finished before their containers begin.
 */
import { statfs } from 'node:fs/promises';
import { backoffMs } from '#base/backoff.js';
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Failure } from '#linux/kernel.js';
import type { KernelReconciler } from '#linux/reconciler.js';
import type { ViewByKind } from '#model/view-state.js';
import type { KernelState } from '#overlay/kernel-state.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { namespacePath, taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { portKey } from '#overlay/node-ports.js';
import { describe } from '#overlay/operation.js';
import { isEncrypted, tunnelTrouble, type TunnelKeys } from '#overlay/tunnels.js';
import { backendsOf, losesBackend } from '../backends.js';
import type { DesiredStore } from '../desired-store.js';
import { RepairRecord } from '../repair-record.js';
import { RepairTimer, type RepairTimerOptions } from '../repair-timer.js';
import type { TaskNetwork } from '../task-runner.js';
import { TaskRounds } from '../task-rounds.js';

const COALESCE_MS = 10;
/** Before a backend that serves no more is taken out: what else the same message brings comes at once. */
const TAKE_OUT_MS = 1;
const MOST_PATIENCE_MS = 500;
/** For so long after new tasks were wired, their containers start, and news of them comes in drops. */
const STARTING_MS = 2_000;
const STARTING_PATIENCE_MS = 250;
/** Between looks whether a namespace is there. */
const LOOK_MS = 20;
/** File system of pinned namespaces (linux/magic.h). */
const NSFS_MAGIC = 0x6e_73_66_73;
const RETRY = { initialMs: 200, maxMs: 5_000 };

/** libs/linux `KernelReconciler`. */
export type KernelPort = Pick<KernelReconciler, 'set' | 'repair' | 'faults' | 'glance'>;

export interface NetworkLoopOptions {
  kernel: KernelPort;
  store: DesiredStore;
  host: {
    nodeId: string;
    address: string;
    devices?: () => ReadonlySet<string>;
    advertised?: () => readonly string[];
    /** false: the host's rules are left alone. */
    firewall?: boolean;
    /** Namespaces kept ready for tasks to come. */
    spares?: number;
    tunnelKeys?: (view: ViewByKind) => TunnelKeys | undefined;
  };
  /** false while what runs here may be more than the view on disk knows of: then nothing is taken away. */
  mayProgram: () => boolean;
  /** Keys of published ports that somebody else on this node has, and who; called before each set. */
  refusedPorts?: (view: ViewByKind) => Promise<ReadonlyMap<string, string>>;
  /** Called before namespaces are made, with the tasks they are for: what is made is on record first. */
  onTasks: (taskIds: readonly string[]) => Promise<void>;
  /** Called when the kernel leads nobody any more to backends that left the view, with its revision. */
  onTakenOut?: (revision: number) => void;
  /** Called when the kernel is as a later view says. */
  onProgrammed?: () => void;
  /** Called after drift was found. */
  onDrift: () => void;
  /** News of the kernel; left out where it tells none. */
  events?: RepairTimerOptions['events'];
  clock: Clock;
  log: Log;
}

interface Waiter {
  taskId: string;
  resolve: (path: string) => void;
  reject: (error: WeftError) => void;
}

/** A namespace that somebody waits for. */
interface Wanted {
  path: string;
  isThere: boolean;
}

export class NetworkLoop implements TaskNetwork {
  /** Kernel objects put back since the start. */
  readonly repairs: RepairRecord;
  readonly #o: NetworkLoopOptions;
  readonly #stops: Stop[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #wanted = new Set<Wanted>();
  #looking: Promise<void> | undefined;
  /** Tasks whose namespaces the kernel has, finished. */
  #finished: ReadonlySet<string> = new Set();
  /** Tasks whose network must not be made here, and why. */
  readonly #refused = new Map<string, WeftError>();
  #lastError: string | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #delayMs = 0;
  #lastTookMs = 0;
  /** What the last set led clients to. */
  #backends: ReadonlySet<string> = new Set();
  #programmed = 0;
  #lastSetAt = -Infinity;
  #lastWiredAt = -Infinity;
  #desired: KernelState | undefined;
  readonly #drift: RepairTimer;
  readonly #rounds: TaskRounds;
  #running: Promise<void> | undefined;
  /** A look for drift: no change waits for it. */
  #lookingForDrift: Promise<void> | undefined;
  #dirty = false;
  #stopped = false;

  constructor(options: NetworkLoopOptions) {
    this.#o = options;
    const { clock, events } = options;
    this.repairs = new RepairRecord(clock);
    this.#drift = new RepairTimer({
      begin: (work) => this.#beginLook(work),
      repair: () => this.#repair(),
      changedAt: () => (this.#isBusy ? clock.monotonic() : this.#lastSetAt),
      desired: () => this.#desired,
      events,
      clock,
    });
    this.#rounds = new TaskRounds({
      namespaces: () => Object.keys(this.#desired?.namespaces ?? {}).filter((ns) => ns !== NODE_NAMESPACE),
      glance: (namespaces) => options.kernel.glance(namespaces),
      isBusy: () => this.#isBusy,
      onWrong: () => this.#drift.soon(),
      clock,
      log: options.log,
    });
  }

  /** Revision of the view that the kernel was last made as, wholly; 0 for none since the start. */
  get programmedRevision(): number {
    return this.#programmed;
  }

  start(): void {
    if (this.#stops.length > 0) return;
    this.#stops.push(
      this.#o.store.onChange(() => this.kick(this.#patienceMs())),
      () => this.#drift.stop(),
      () => this.#rounds.stop(),
    );
    this.#drift.start();
    this.#rounds.start();
    this.kick();
  }

  /** Leaves the kernel as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const stop of this.#stops.splice(0)) await stop();
    await Promise.all([this.#running, this.#lookingForDrift]);
  }

  get #isBusy(): boolean {
    return this.#running !== undefined || this.#lookingForDrift !== undefined;
  }

  /**
   * New tasks are wired at once. Other changes (a name's backends, say) may come many a second while a stack starts; gathered
   * for as long as the last set took, they leave half of the time to the containers. A backend that goes is taken out at
   * once: its task ends after the drain time, wherever clients are.
   */
  #patienceMs(): number {
    const { store, host, clock } = this.#o;
    if (losesBackend(this.#backends, backendsOf(store.byKind))) return TAKE_OUT_MS;
    const isAwaited = store.byKind.tasks.some((t) => t.nodeId === host.nodeId && !this.#finished.has(t.id));
    if (isAwaited) return COALESCE_MS;
    const least = clock.monotonic() - this.#lastWiredAt < STARTING_MS ? STARTING_PATIENCE_MS : COALESCE_MS;
    return Math.min(MOST_PATIENCE_MS, Math.max(least, this.#lastTookMs));
  }

  kick(delayMs = COALESCE_MS): void {
    this.#dirty = true;
    if (this.#stopped || (this.#timer && this.#delayMs <= delayMs)) return;
    // A change does not wait for the end of a long delay between tries.
    clearTimeout(this.#timer);
    this.#delayMs = delayMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#begin(() => this.#set());
    }, delayMs);
  }

  async made(taskId: string, timeoutMs: number): Promise<string> {
    const { clock } = this.#o;
    const deadline = clock.monotonic() + timeoutMs;
    const wanted: Wanted = { path: pathOf(taskId), isThere: false };
    this.#wanted.add(wanted);
    try {
      while (!wanted.isThere && !this.#finished.has(taskId)) {
        if (clock.monotonic() > deadline) throw this.#notReady(taskId);
        this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
        await this.#looking;
        const refusal = wanted.isThere ? undefined : this.#refused.get(taskId);
        if (refusal) throw refusal;
      }
      return wanted.path;
    } finally {
      this.#wanted.delete(wanted);
    }
  }

  /**
   * One look on behalf of all who wait: each for itself, they would take the CPU from what they wait for. Namespaces are made
   * in the order of their names, so behind the first that is missing none is looked for; if that one cannot be made, the
   * others' are finished without a look.
   */
  async #look(): Promise<void> {
    const inOrder = [...this.#wanted].sort((a, b) => (a.path < b.path ? -1 : 1));
    for (const wanted of inOrder) {
      wanted.isThere = await isNamespace(wanted.path);
      if (!wanted.isThere) return this.#o.clock.sleep(LOOK_MS);
    }
  }

  async ready(taskId: string, timeoutMs: number): Promise<string> {
    if (this.#finished.has(taskId)) return pathOf(taskId);
    const refusal = this.#refused.get(taskId);
    if (refusal) throw refusal;
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        waiter = { taskId, resolve, reject };
        this.#waiters.add(waiter);
        timer = setTimeout(() => reject(this.#notReady(taskId)), timeoutMs);
      });
    } finally {
      clearTimeout(timer);
      if (waiter) this.#waiters.delete(waiter);
    }
  }

  #notReady(taskId: string): WeftError {
    return new WeftError('KERNEL', {
      what: `the network of task ${taskId} is not ready`,
      why: this.#lastError ?? 'it takes longer than expected',
    });
  }

  /** One change at a time; what comes meanwhile is taken up afterwards. */
  #begin(work: () => Promise<void>): void {
    if (this.#running || this.#stopped) return;
    this.#running = work().finally(() => {
      this.#running = undefined;
      if (this.#dirty && !this.#timer) this.kick(this.#patienceMs());
    });
  }

  /** Not while a change is under way; changes that come meanwhile are made beside it. */
  #beginLook(work: () => Promise<void>): boolean {
    if (this.#isBusy || this.#stopped) return false;
    this.#lookingForDrift = work().finally(() => (this.#lookingForDrift = undefined));
    return true;
  }

  async #set(): Promise<void> {
    const { kernel, store, host, onTasks, mayProgram, clock, log } = this.#o;
    this.#dirty = false;
    if (!store.isKnown || !mayProgram()) return;
    const view = store.byKind;
    const { revision } = store.view;
    const tasks = view.tasks.filter((t) => t.nodeId === host.nodeId).map((t) => t.id);
    try {
      await onTasks(tasks);
      const began = clock.monotonic();
      const tunnel = host.tunnelKeys?.(view);
      const taken = (await this.#o.refusedPorts?.(view)) ?? NONE_TAKEN;
      this.#refuse(view, tunnel, taken);
      this.#desired = nodeKernel(view, {
        ...host,
        devices: host.devices?.(),
        advertised: host.advertised?.(),
        tunnel,
        refusedPorts: new Set(taken.keys()),
      });
      const { failed, operations } = await kernel.set(this.#desired);
      const before = this.#backends;
      this.#backends = backendsOf(view);
      this.#lastSetAt = clock.monotonic();
      this.#lastTookMs = this.#lastSetAt - began;
      if (operations.some(({ op }) => op === 'addNamespace' || op === 'takeNamespace')) this.#lastWiredAt = this.#lastSetAt;
      log.debug(
        { tookMs: Math.round(this.#lastTookMs), operations: operations.length, first: operations.slice(0, 5).map(describe) },
        'set the network',
      );
      this.#finish(tasks, failed);
      if (failed.length === 0) {
        this.#failures = 0;
        this.#lastError = undefined;
        this.#programmed = revision;
        if (losesBackend(before, this.#backends)) this.#o.onTakenOut?.(revision);
        this.#o.onProgrammed?.();
        return;
      }
      this.#lastError = failed
        .slice(0, 3)
        .map(({ operation, error }) => `could not ${describe(operation)} (${error})`)
        .join('; ');
    } catch (error) {
      this.#lastError = messageOf(error);
    }
    log.error({ error: this.#lastError }, 'the network could not be made as it should be; trying again');
    this.kick(backoffMs(this.#failures++, RETRY));
  }

  /** Tasks whose network must not be made here, or whose own port of the node is somebody else's. */
  #refuse(view: ViewByKind, tunnel: TunnelKeys | undefined, taken: ReadonlyMap<string, string>): void {
    this.#refused.clear();
    for (const task of taken.size === 0 ? [] : view.tasks) {
      const key = task.ports.filter((p) => p.mode === 'host').find((p) => taken.has(portKey(p)));
      if (key && task.nodeId === this.#o.host.nodeId) this.#refused.set(task.id, portTaken(portKey(key), taken));
    }
    this.#refuseInClear(view, tunnel);
    for (const waiter of this.#waiters) {
      const refusal = this.#refused.get(waiter.taskId);
      if (!refusal) continue;
      this.#waiters.delete(waiter);
      waiter.reject(refusal);
    }
  }

  /** Tasks of encrypted networks that this node cannot encrypt: better no network than one in clear. */
  #refuseInClear(view: ViewByKind, tunnel: TunnelKeys | undefined): void {
    const why = tunnelTrouble(view, this.#o.host.nodeId, tunnel);
    if (why === undefined) return;
    const names = new Map(view.networks.filter(isEncrypted).map((n) => [n.id, n.name]));
    for (const task of view.tasks) {
      const name = task.endpoints.flatMap((e) => names.get(e.networkId) ?? [])[0];
      if (name !== undefined)
        this.#refused.set(task.id, new WeftError('KERNEL', { what: `network ${name} is encrypted, and is not here`, why }));
    }
  }

  /**
   * A task is finished when nothing of its own failed, and nothing of the node's that it may depend on; what was finished
   * before stays so. What could not be taken away is in nobody's way.
   */
  #finish(tasks: readonly string[], failed: readonly Failure[]): void {
    const broken = new Set(failed.filter(({ operation }) => !/^(remove|forget)/.test(operation.op)).map(({ operation }) => operation.ns));
    const isWhole = (id: string) =>
      !this.#refused.has(id) && !broken.has(taskNamespace(id)) && (!broken.has(NODE_NAMESPACE) || this.#finished.has(id));
    this.#finished = new Set(tasks.filter(isWhole));
    for (const waiter of this.#waiters) {
      if (!this.#finished.has(waiter.taskId)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(pathOf(waiter.taskId));
    }
  }

  async #repair(): Promise<void> {
    const { kernel, onDrift, log } = this.#o;
    try {
      const { repaired, wrong = [], failed } = await kernel.repair();
      if (failed.length > 0) this.kick(backoffMs(this.#failures++, RETRY));
      if (repaired.length === 0) return;
      // What it did is told by the kernel, too.
      this.#lastSetAt = this.#o.clock.monotonic();
      this.repairs.note(wrong);
      onDrift();
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'could not look for drift in the network');
    }
  }
}

/** Whether a namespace is pinned there. `ip netns add` makes an ordinary file first. */
async function isNamespace(path: string): Promise<boolean> {
  return statfs(path).then(
    ({ type }) => type === NSFS_MAGIC,
    () => false,
  );
}

const NONE_TAKEN: ReadonlyMap<string, string> = new Map();

const portTaken = (key: string, taken: ReadonlyMap<string, string>): WeftError =>
  new WeftError('PORT_TAKEN', { what: `port ${key} of this node cannot be opened`, why: taken.get(key) });

const pathOf = (taskId: string): string => namespacePath(taskNamespace(taskId));
