/**
 * Keeps the containers as the tasks say: plans (plan-tasks.ts) whenever the view or a container changed, and carries the
 * operations out, side by side for different tasks, one after another for the same.
 */
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { asWeftError, messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { after, every } from '#base/timers.js';
import type { Task, TaskState } from '#model/task.js';
import type { ContainerInfo, Runtime, RuntimeEvent } from '#runtime/runtime.js';
import type { Callers } from '../callers.js';
import type { DesiredStore } from '../desired-store.js';
import { drainForRestart, drainTask, type DrainTools } from '../drain-task.js';
import type { HealthProbe } from '#model/healthcheck.js';
import type { Contact } from '../contact.js';
import { checkContact, haltStarting, withOwnGrace } from '../cut-off.js';
import { HealthWatch } from '../health-watch.js';
import { healthMessage, type Health } from '../judge-health.js';
import type { Ledger } from '../ledger.js';
import { infoOf, Observed } from '../observed.js';
import type { Operation, RestartAsked } from '../plan-tasks.js';
import {
  afterEnd,
  afterFailure,
  afterStart,
  afterSuspension,
  inSeconds,
  mayRun,
  NAME_LABEL,
  planTasks,
  TASK_LABEL,
} from '../plan-tasks.js';
import type { StatusBoard } from '../status-board.js';
import { TaskBook } from '../task-book.js';
import type { TaskRunner } from '../task-runner.js';

const FULL_PASS_MS = 10_000;
/** Before a removal that failed is tried again. */
const HOLD_OFF_MS = 2_000;

export interface TasksLoopOptions {
  runtime: Pick<Runtime, 'list' | 'events' | 'exec'>;
  runner: Pick<TaskRunner, 'run' | 'adopt' | 'probeOf' | 'refreshFiles' | 'settle' | 'stop' | 'endProcess' | 'halt' | 'removeLeftover'>;
  store: DesiredStore;
  board: StatusBoard;
  ledger: Ledger;
  /** Left out where nobody can be attached. */
  callers?: Pick<Callers, 'has' | 'end'>;
  /** Whether controllers hear this node. */
  contact: Pick<Contact, 'state' | 'onChange'>;
  /** Whether a controller was heard since the start, and is believed. */
  isConfirmed: () => boolean;
  clock: Clock;
  log: Log;
}

export class TasksLoop {
  readonly #o: TasksLoopOptions;
  readonly #observed = new Observed();
  readonly #book: TaskBook;
  readonly #busy = new Map<string, Promise<void>>();
  readonly #stops: Stop[] = [];
  /** Removals that failed → when to try again, ms since the epoch. */
  readonly #holdOff = new Map<string, number>();
  /** When the present container was made: exits before that are of its predecessor. */
  readonly #createdAt = new Map<string, number>();
  readonly #ending = new AbortController();
  readonly #health: HealthWatch;
  #stopped = false;
  #planned = false;
  #offWake: () => void = () => undefined;

  constructor(options: TasksLoopOptions) {
    this.#o = options;
    const { runtime, clock, log } = options;
    this.#book = new TaskBook(options);
    this.#health = new HealthWatch({ runtime, clock, log, onChange: (id, health) => this.#healthChanged(id, health) });
  }

  /** Looks once at what is there (waiting for the runtime if need be); then works until stopped. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#firstLook(signal);
    const events = this.#o.runtime.events((event) => this.#onEvent(event));
    this.#stops.push(
      this.#o.store.onChange(() => this.kick()),
      this.#o.contact.onChange(() => this.#contactChanged()),
      () => events.stop(),
      every(this.#o.clock, FULL_PASS_MS, () => void this.#lookAgain()),
    );
    // What ended between the listing and the subscription is found by one more look.
    await this.#lookAgain();
  }

  /** Plans no more and waits for what is under way to come to rest; containers stay as they are. */
  async stop(graceMs = 2_000): Promise<void> {
    this.#stopped = true;
    this.#ending.abort();
    this.#health.endAll();
    this.#offWake();
    for (const stop of this.#stops.splice(0)) await stop();
    const over = new AbortController();
    const enough = this.#o.clock.sleep(graceMs, over.signal).catch(() => undefined);
    await Promise.race([Promise.allSettled(this.#busy.values()), enough]);
    over.abort();
  }

  /** Ids of the containers here. */
  containerIds(): string[] {
    return this.#observed
      .all()
      .filter((c) => c.labels[TASK_LABEL] !== undefined)
      .map((c) => c.id);
  }

  container(taskId: string): ContainerInfo | undefined {
    return this.#observed.get(taskId);
  }

  isBusy(taskId: string): boolean {
    return this.#busy.has(taskId);
  }

  /**
   * Has the process of a task ended and started again in its container. Resolves once that is on record: it comes about even if this agent dies.
   * @throws CONFLICT for a task that is not to run, or that runs for its caller alone
   */
  async restart(taskId: string, asked: RestartAsked): Promise<void> {
    const { store, ledger } = this.#o;
    const task = store.task(taskId);
    if (task?.desired !== 'run' || task.awaitsCaller)
      throw new WeftError('CONFLICT', {
        what: `${task?.name ?? `task ${taskId.slice(0, 64)}`} cannot be restarted`,
        why: task?.awaitsCaller ? 'it runs once, for whoever is attached to it' : 'it was told to stop',
      });
    this.#book.remember(task, { ...this.#book.recall(taskId), restartAsked: { ...asked, order: this.#o.clock.now() } });
    await ledger.flush();
    this.kick();
  }

  /** Something changed: plan soon. */
  kick(): void {
    if (this.#planned || this.#stopped) return;
    this.#planned = true;
    void this.#o.clock.sleep(0).then(() => {
      this.#planned = false;
      if (!this.#stopped) this.#pass();
    });
  }

  async #firstLook(signal: AbortSignal): Promise<void> {
    const { runtime, clock, log } = this.#o;
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        return await this.#observed.refresh(
          () => runtime.list(),
          () => false,
        );
      } catch (error) {
        if (tries % 10 === 0) log.warn({ error: messageOf(error) }, 'the container runtime does not answer yet');
        await clock.sleep(500, signal).catch(() => undefined);
      }
    }
  }

  async #lookAgain(): Promise<void> {
    try {
      await this.#observed.refresh(
        () => this.#o.runtime.list(),
        (id) => this.#busy.has(id),
      );
      this.kick();
    } catch (error) {
      this.#o.log.warn({ error: messageOf(error) }, 'cannot list the containers; looking again later');
    }
  }

  #onEvent(event: RuntimeEvent): void {
    if (event.type === 'resync') return void this.#lookAgain();
    const info = this.#observed.get(event.containerId);
    if (!info) return;
    if (event.type === 'oom') return this.#ranOutOfMemory(info);
    if (event.at < (this.#createdAt.get(event.containerId) ?? 0)) return;
    this.#observed.put({ ...info, state: 'stopped', exitCode: event.exitCode, exitedAt: event.at });
    this.kick();
  }

  #ranOutOfMemory({ id, labels }: ContainerInfo): void {
    this.#book.ranOutOfMemory(id, true);
    this.#o.log.warn({ task: labels[NAME_LABEL] }, 'ran out of memory');
  }

  #pass(): void {
    const { store, contact, isConfirmed, clock } = this.#o;
    const desired = store.byKind.tasks;
    this.#forgetGone(desired);
    for (const task of desired) this.#book.meet(task, this.#observed.get(task.id));
    const plan = planTasks({
      desired,
      believed: store.isKnown && isConfirmed(),
      containers: this.#observed.all(),
      memory: this.#book.memory,
      contact: contact.state,
      busy: new Set(this.#busy.keys()),
      holdOff: this.#holdOff,
      now: clock.now(),
    });
    for (const operation of plan.operations) this.#begin(operation);
    this.#refreshFiles(desired);
    this.#offWake();
    if (plan.wakeAt !== undefined) this.#offWake = after(clock, Math.max(1, plan.wakeAt - clock.now()), () => this.kick());
  }

  /** Addresses of a running task, and of those it is linked to, change without it being made anew. */
  #refreshFiles(desired: readonly Task[]): void {
    const { runner, log } = this.#o;
    for (const task of desired) {
      if (this.#busy.has(task.id) || this.#observed.get(task.id)?.state !== 'running') continue;
      runner.refreshFiles(task).catch((error: unknown) => log.warn({ task: task.name, error: messageOf(error) }, 'cannot write its files'));
    }
  }

  /** The record is gone: nothing is left to say about it. What its container leaves behind is swept by cleaning. */
  #forgetGone(desired: readonly Task[]): void {
    const wanted = new Set(desired.map((t) => t.id));
    for (const id of this.#book.memory.keys()) {
      if (wanted.has(id) || this.#busy.has(id)) continue;
      this.#createdAt.delete(id);
      this.#health.end(id);
      this.#book.forget(id);
    }
  }

  #begin(operation: Operation): void {
    const id = operation.type === 'remove-leftover' ? operation.containerId : operation.task.id;
    const work = this.#carryOut(operation)
      .catch((error: unknown) => this.#failed(operation, error))
      .finally(() => {
        this.#busy.delete(id);
        this.kick();
      });
    this.#busy.set(id, work);
  }

  async #carryOut(operation: Operation): Promise<void> {
    switch (operation.type) {
      case 'run':
        return this.#run(operation.task, operation.again);
      case 'adopt':
        return this.#adopt(operation.task);
      case 'restart':
        return this.#restart(operation.task, operation.asked);
      case 'ended':
        return this.#ended(operation.task, operation);
      case 'suspend':
        return this.#suspend(operation.task);
      case 'stop':
        return this.#stop(operation.task, operation.exists);
      case 'remove-leftover':
        return this.#removeLeftover(operation.containerId, operation.name);
    }
  }

  async #run(task: Task, again: boolean): Promise<void> {
    const { runner, clock, log } = this.#o;
    const { hooksPending = false, restartAsked: asked, attempts } = this.#book.recall(task.id);
    this.#book.remember(task, { ...this.#book.recall(task.id), hooksPending: task.container.postStart !== undefined });
    const isFirstTry = attempts === 0 && asked === undefined;
    // A try that failed may have left anything, and hooks that did not come to their end half of what they do.
    const isFirst = isFirstTry && this.#observed.get(task.id) === undefined;
    const earlier = isFirst ? 'nothing' : hooksPending ? 'dropped' : 'kept';
    const probe = await runner.run(task, { earlier, order: asked?.order }, (step, message) => {
      if (step === 'created') return this.#created(task);
      if (step === 'starting') checkContact(task, this.#o.contact.state);
      // Later tries leave what went wrong to be read, until it is right, or until there is something to wait for.
      if (isFirstTry || message) this.#book.say(task, step, message ?? '');
    });
    this.#book.remember(task, { ...afterStart(this.#book.recall(task.id), clock.now(), { again, asked }), health: probe && 'starting' });
    if (probe) this.#health.begin(task.id, probe, clock.now());
    // Its exit may have been heard already: the next pass sees it.
    if (this.#observed.get(task.id)?.state === 'created') this.#observed.put(infoOf(task, 'running'));
    this.#book.say(task, 'running', '');
    log.info({ task: task.name, id: task.id }, again ? 'restarted' : 'started');
  }

  #created(task: Task): void {
    this.#createdAt.set(task.id, this.#o.clock.now());
    this.#book.ranOutOfMemory(task.id, false);
    this.#observed.put(infoOf(task, 'created'));
  }

  async #adopt(task: Task): Promise<void> {
    const { runner, ledger, clock, log } = this.#o;
    const startedAt = ledger.get(task.id)?.startedAt ?? clock.now();
    this.#book.remember(task, { ...this.#book.recall(task.id), phase: 'running', startedAt });
    // With the health it had: a restart of the agent is no reason to send nobody there.
    this.#book.say(task, 'running', '');
    log.info({ task: task.name, id: task.id }, 'adopted: it runs already');
    await runner
      .adopt(task)
      .catch((error: unknown) =>
        log.warn({ task: task.name, error: messageOf(error) }, 'the log of an adopted container could not be opened'),
      );
    await this.#adoptHealth(task, startedAt);
  }

  async #adoptHealth(task: Task, startedAt: number): Promise<void> {
    const { runner } = this.#o;
    const image = this.#observed.get(task.id)?.image ?? task.container.image;
    const probe: HealthProbe | undefined = await runner.probeOf(task, image);
    const memory = this.#book.recall(task.id);
    if (this.#stopped || memory.phase !== 'running') return;
    if (probe) this.#health.begin(task.id, probe, startedAt, memory.health);
    const health = probe && (memory.health ?? 'starting');
    if (health === memory.health) return;
    this.#book.remember(task, { ...memory, health });
    this.#book.say(task, 'running', '');
  }

  #healthChanged(taskId: string, health: Health): void {
    const task = this.#o.store.byKind.tasks.find((t) => t.id === taskId);
    const memory = this.#book.recall(taskId);
    if (!task || task.desired !== 'run' || memory.phase !== 'running') return;
    this.#book.remember(task, { ...memory, health: health.state });
    this.#book.say(task, 'running', healthMessage(health));
  }

  async #ended(task: Task, end: { exitCode?: number; exitedAt: number }): Promise<void> {
    const { clock, log } = this.#o;
    const now = clock.now();
    this.#health.end(task.id);
    const memory = afterEnd(this.#book.recall(task.id), end, now, task.restart);
    this.#book.remember(task, memory);
    await this.#tellCallers(task, end.exitCode);
    if (memory.phase === 'done') {
      log.info({ task: task.name, id: task.id, exitCode: memory.exitCode, restarts: memory.restarts }, 'ended, and stays so');
      return this.#book.sayDone(task);
    }
    const message = `${this.#book.endOf(task.id, end.exitCode)}; restarting in ${inSeconds(memory.notBefore - now)}`;
    this.#book.say(task, 'restarting', message);
    log.warn({ task: task.name, id: task.id, restarts: memory.restarts }, message);
  }

  async #restart(task: Task, { drainMs, graceMs }: RestartAsked): Promise<void> {
    const { runner, store } = this.#o;
    this.#health.end(task.id);
    this.#book.remember(task, { ...this.#book.recall(task.id), health: undefined });
    await drainForRestart(task, drainMs, this.#drainTools(task, 'restarting'));
    if (store.task(task.id)?.desired !== 'run' || !mayRun(task, this.#o.contact.state)) return;
    const exitCode = await runner.endProcess(task, graceMs);
    this.#book.remember(task, { ...this.#book.recall(task.id), exitCode });
    await this.#tellCallers(task, exitCode);
    await this.#run(task, true);
  }

  /** Its record stays as it is: it runs again when the node is back, unless it was replaced. */
  async #suspend(task: Task): Promise<void> {
    const { runner, log } = this.#o;
    this.#health.end(task.id);
    await runner.stop(withOwnGrace(task), true);
    this.#observed.delete(task.id);
    this.#book.remember(task, afterSuspension(this.#book.recall(task.id)));
    this.#book.say(task, 'restarting', 'stopped, as its node was cut off (on-partition: stop)');
    log.warn({ task: task.name, id: task.id }, 'this node is cut off: stopped, until it is back');
  }

  #contactChanged(): void {
    const { store, contact, runner, log } = this.#o;
    const starting = store.byKind.tasks.filter(({ id }) => this.#busy.has(id) && this.#observed.get(id));
    haltStarting(starting, contact.state, runner, log);
    this.kick();
  }

  async #stop(task: Task, exists: boolean): Promise<void> {
    const { runner, store, ledger, log } = this.#o;
    this.#health.end(task.id);
    let exitCode = this.#book.recall(task.id).exitCode;
    if (exists) {
      await this.#drain(task);
      exitCode = (await runner.stop(task, this.#observed.get(task.id)?.state === 'running')) ?? exitCode;
    }
    this.#observed.delete(task.id);
    this.#book.remember(task, { ...this.#book.recall(task.id), phase: 'gone', exitCode });
    this.#book.markRemoved(task.id, task.name);
    // Once it is said, its slot and address may go to another: after a crash this node must not believe an older view.
    await Promise.all([store.flush(), ledger.flush()]);
    this.#book.say(task, 'stopped', task.stopReason ?? '');
    this.#o.callers?.end(task.id, { exitCode });
    log.info({ task: task.name, id: task.id, exitCode, reason: task.stopReason }, 'stopped and removed');
  }

  async #drain(task: Task): Promise<void> {
    if (!task.drainMs || this.#observed.get(task.id)?.state !== 'running') return;
    await drainTask(task, task.drainMs, this.#drainTools(task, 'running'));
  }

  #drainTools(task: Task, state: TaskState): DrainTools {
    const { clock, store, contact } = this.#o;
    return { say: (message) => this.#book.say(task, state, message), store, contact, clock, ending: this.#ending.signal };
  }

  /** Those who are attached hear how it ended, once all that it printed is out. */
  async #tellCallers(task: Task, exitCode: number | undefined): Promise<void> {
    const { callers, runner, ledger, log } = this.#o;
    if (!callers?.has(task.id)) return;
    // The runtime does not know the exit code any more then.
    await ledger.flush();
    await runner
      .settle(task)
      .catch((error: unknown) => log.warn({ task: task.name, error: messageOf(error) }, 'some output may be missing'));
    callers.end(task.id, { exitCode });
  }

  async #removeLeftover(containerId: string, name: string): Promise<void> {
    await this.#o.runner.removeLeftover(containerId);
    this.#observed.delete(containerId);
    this.#book.markRemoved(containerId, name);
    this.#o.log.info({ task: name, id: containerId }, 'removed a container that does not belong here any more');
  }

  #failed(operation: Operation, error: unknown): void {
    if (this.#stopped) return;
    const { log, clock } = this.#o;
    const message = messageOf(error);
    this.#holdOff.set(operation.type === 'remove-leftover' ? operation.containerId : operation.task.id, clock.now() + HOLD_OFF_MS);
    if (operation.type === 'remove-leftover')
      return log.error({ id: operation.containerId, error: message }, 'could not remove a leftover container');
    const { task } = operation;
    if (operation.type === 'run') this.#o.callers?.end(task.id, { failure: message, code: asWeftError(error, 'RUNTIME').code });
    const memory = afterFailure(this.#book.recall(task.id), clock.now());
    this.#book.remember(task, memory);
    void this.#lookAgain();
    this.#book.say(task, 'failed', `${message}; trying again in ${inSeconds(memory.notBefore - clock.now())}`);
    log.error({ task: task.name, id: task.id, error: message, operation: operation.type }, 'failed; trying again');
  }
}
