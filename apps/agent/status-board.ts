/** The newest status of every task here, and which of them the controller has not heard yet. */
import type { Clock } from '#base/clock.js';
import type { TaskState, TaskStatus } from '#model/task.js';

export type StatusUpdate = Omit<TaskStatus, 'nodeId' | 'at'>;

const AT_REST: ReadonlySet<TaskState> = new Set(['running', 'complete', 'stopped']);

/** Nothing more will be said of it by itself. */
const isAtRest = ({ state, nextTryAt }: TaskStatus): boolean => AT_REST.has(state) || (state === 'failed' && nextTryAt === undefined);

/** Clients are led to it. */
const serves = ({ state, health }: StatusUpdate): boolean => state === 'running' && (health === undefined || health === 'healthy');

export class StatusBoard {
  readonly #nodeId: string;
  readonly #clock: Clock;
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #unheard = new Set<string>();
  #isUrgent = false;
  #listener: (() => void) | undefined;

  constructor(nodeId: string, clock: Clock) {
    this.#nodeId = nodeId;
    this.#clock = clock;
  }

  /** Notes a status; one that says nothing new is dropped. */
  set(update: StatusUpdate): void {
    const before = this.#statuses.get(update.taskId);
    if (before && saysSame(before, update)) return;
    this.#statuses.set(update.taskId, { ...update, nodeId: this.#nodeId, at: this.#clock.now() });
    this.#unheard.add(update.taskId);
    if (before && serves(before) && !serves(update)) this.#isUrgent = true;
    this.#listener?.();
  }

  get(taskId: string): TaskStatus | undefined {
    return this.#statuses.get(taskId);
  }

  all(): TaskStatus[] {
    return [...this.#statuses.values()];
  }

  /** The record of the task is gone. */
  forget(taskId: string): void {
    this.#statuses.delete(taskId);
    this.#unheard.delete(taskId);
  }

  /** Whether no task is on its way to another state: what is to be said now is all there is for the moment. */
  get isSettled(): boolean {
    return [...this.#statuses.values()].every(isAtRest);
  }

  /** Whether a task serves no more and nobody was told: until then clients everywhere are led to it. */
  get isUrgent(): boolean {
    return this.#isUrgent;
  }

  get unheard(): number {
    return this.#unheard.size;
  }

  /** Takes up to `limit` statuses that were not sent yet. */
  take(limit: number): TaskStatus[] {
    const ids = [...this.#unheard].slice(0, limit);
    for (const id of ids) this.#unheard.delete(id);
    if (this.#unheard.size === 0) this.#isUrgent = false;
    return ids.flatMap((id) => this.#statuses.get(id) ?? []);
  }

  /** Everything was said at once (in a Hello). */
  allHeard(): void {
    this.#unheard.clear();
    this.#isUrgent = false;
  }

  onChange(listener: (() => void) | undefined): void {
    this.#listener = listener;
  }
}

const SAID = ['state', 'health', 'message', 'restarts', 'exitCode', 'startedAt', 'nextTryAt'] as const;

function saysSame(a: TaskStatus, b: StatusUpdate): boolean {
  return SAID.every((key) => a[key] === b[key]);
}
