/** What the agent remembers of each task, and says about it: on the ledger for its successor, on the board for the controllers. */
import type { Clock } from '#base/clock.js';
import type { Task, TaskState } from '#model/task.js';
import type { ContainerInfo } from '#runtime/runtime.js';
import type { Ledger } from './ledger.js';
import { afterReturn, howItEnded, newMemory, notAgain, type TaskMemory } from './plan-tasks.js';
import type { StatusBoard } from './status-board.js';

export class TaskBook {
  readonly #memory = new Map<string, TaskMemory>();
  readonly #ledger: Ledger;
  readonly #board: StatusBoard;
  readonly #clock: Clock;
  /** Present containers in which the kernel killed something because their memory was used up. */
  readonly #outOfMemory = new Set<string>();

  constructor({ ledger, board, clock }: { ledger: Ledger; board: StatusBoard; clock: Clock }) {
    this.#ledger = ledger;
    this.#board = board;
    this.#clock = clock;
  }

  get memory(): ReadonlyMap<string, TaskMemory> {
    return this.#memory;
  }

  /** A task that is new here, or that a predecessor knew. @param container that there is of it */
  meet(task: Task, container: ContainerInfo | undefined): void {
    if (this.#memory.has(task.id)) return;
    const past = newMemory(this.#ledger.get(task.id));
    const memory = afterReturn(past, container, this.#clock.now());
    this.#memory.set(task.id, memory);
    if (memory !== past) this.remember(task, memory);
    if (this.recall(task.id).phase === 'done') this.sayDone(task);
    else if (task.desired === 'run') this.say(task, 'pending', '');
  }

  /** Nothing is left to say about it. */
  forget(taskId: string): void {
    this.#memory.delete(taskId);
    this.#outOfMemory.delete(taskId);
    this.#board.forget(taskId);
  }

  recall(taskId: string): TaskMemory {
    return this.#memory.get(taskId) ?? newMemory();
  }

  remember(task: Task, memory: TaskMemory): void {
    this.#memory.set(task.id, memory);
    const { restarts, restartsAsked, startedAt, exitCode, tries, health, phase, hooksPending, restartAsked } = memory;
    const done = phase === 'done' ? { done: true } : {};
    this.#ledger.note(task.id, {
      name: task.name,
      restarts,
      ...(restartsAsked ? { restartsAsked } : {}),
      startedAt,
      exitCode,
      tries,
      health,
      ...(hooksPending ? { hooksPending } : {}),
      ...(restartAsked ? { restartAsked } : {}),
      ...done,
    });
  }

  /** Its container is gone for good. */
  markRemoved(taskId: string, name: string): void {
    this.#ledger.note(taskId, { restarts: 0, ...this.#ledger.get(taskId), name, removedAt: this.#clock.now() });
  }

  /** Its container was made anew, or the kernel killed something in it. */
  ranOutOfMemory(taskId: string, did: boolean): void {
    if (did) this.#outOfMemory.add(taskId);
    else this.#outOfMemory.delete(taskId);
  }

  /** How its last run ended, in words. */
  endOf(taskId: string, exitCode: number | undefined): string {
    return howItEnded(exitCode, this.#outOfMemory.has(taskId));
  }

  say(task: Task, state: TaskState, message: string): void {
    const { restarts, restartsAsked, exitCode, startedAt, health, phase, notBefore } = this.recall(task.id);
    this.#board.set({
      taskId: task.id,
      state,
      health: state === 'running' ? health : undefined,
      message,
      restarts,
      restartsAsked,
      exitCode,
      startedAt,
      nextTryAt: phase === 'waiting' && (state === 'failed' || state === 'restarting') ? notBefore : undefined,
    });
  }

  /** It ended, and is not started again. */
  sayDone(task: Task): void {
    const memory = this.recall(task.id);
    if (memory.exitCode === 0) this.say(task, 'complete', '');
    else this.say(task, 'failed', `${this.endOf(task.id, memory.exitCode)}; ${notAgain(task.restart, memory)}`);
  }
}
