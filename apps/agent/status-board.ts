/** The newest status of every task here, and which of them the controller has not heard yet. */
import type { Clock } from '#base/clock.js';
import type { TaskState, TaskStatus } from '#model/task.js';

export type StatusUpdate = Omit<TaskStatus, 'nodeId' | 'at'>;

const AT_REST: ReadonlySet<TaskState> = new Set(['running', 'complete', 'stopped']);

export class StatusBoard {
  readonly #nodeId: string;
  readonly #clock: Clock;
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #unheard = new Set<string>();
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
    return [...this.#statuses.values()].every(({ state }) => AT_REST.has(state));
  }

  get unheard(): number {
    return this.#unheard.size;
  }

  /** Takes up to `limit` statuses that were not sent yet. */
  take(limit: number): TaskStatus[] {
    const ids = [...this.#unheard].slice(0, limit);
    for (const id of ids) this.#unheard.delete(id);
    return ids.flatMap((id) => this.#statuses.get(id) ?? []);
  }

  /** Everything was said at once (in a Hello). */
  allHeard(): void {
    this.#unheard.clear();
  }

  onChange(listener: (() => void) | undefined): void {
    this.#listener = listener;
  }
}

const SAID = ['state', 'health', 'message', 'restarts', 'exitCode', 'startedAt', 'nextTryAt'] as const;

function saysSame(a: TaskStatus, b: StatusUpdate): boolean {
  return SAID.every((key) => a[key] === b[key]);
}
