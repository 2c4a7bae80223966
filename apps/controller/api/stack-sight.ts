/**
 * One stack as somebody watches it. Why something cannot be placed is found out by planning it, which is dear in a large stack:
 * it is asked again after a while that grows with what it took, and then for certain.
 */
import type { Clock } from '#base/clock.js';
import { after } from '#base/timers.js';
import { splitKey } from '#model/keys.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { placementTroubles } from '#planner/plan-services.js';
import type { StackState } from '#rpc/gen/weft/v1/api.js';
import { stackState } from './rows.js';

/** Between two times of planning, so many times what one took. */
const PAUSE_FACTOR = 20;
/** These say nothing of a stack, or come with a change that does. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  'leader',
  'tokens',
  'controller-sessions',
  'confirmations',
  'events',
  'tombstones',
  'slots',
  'contents',
  'named-contents',
  'content-pool',
]);

export class StackSight {
  /** What the last look took, in milliseconds. */
  tookMs = 0;
  readonly #state: ClusterState;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #onDue: () => void;
  /** Its tasks at the last look: one that is gone does not say any more whose it was. */
  #tasks: ReadonlySet<string> = new Set();
  #troubles: ReadonlyMap<string, string> = new Map();
  #askAt = -Infinity;
  #cancel: (() => void) | undefined;

  /** @param onDue called when it should be looked again, although nothing changed */
  constructor(state: ClusterState, name: string, clock: Clock, onDue: () => void) {
    this.#state = state;
    this.#name = name;
    this.#clock = clock;
    this.#onDue = onDue;
  }

  end(): void {
    this.#cancel?.();
  }

  /** Whether a change may be seen here. @param changed keys in etcd; undefined: anything may have changed */
  concerns(changed: readonly string[] | undefined): boolean {
    return changed === undefined || changed.some((key) => this.#concerns(...(splitKey(key) ?? ['', ''])));
  }

  #concerns(collection: string, rest: string): boolean {
    if (collection === 'tasks' || collection === 'task-status' || collection === 'moves')
      return this.#tasks.has(rest) || this.#state.tasks.get(rest)?.stack === this.#name;
    if (collection === 'stacks') return rest === this.#name;
    return !ELSEWHERE.has(collection);
  }

  look(): StackState {
    const began = this.#clock.monotonic();
    if (began >= this.#askAt) this.#ask(began);
    else this.#cancel ??= after(this.#clock, this.#askAt - began, () => this.#isDue());
    const state = stackState(this.#state, this.#name, this.#troubles);
    this.#tasks = new Set(this.#state.tasksOfStack(this.#name).map((t) => t.id));
    this.tookMs = this.#clock.monotonic() - began;
    return state;
  }

  #isDue(): void {
    this.#cancel = undefined;
    this.#onDue();
  }

  #ask(began: number): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#troubles = placementTroubles(this.#state, this.#clock.now(), this.#name);
    const tookMs = this.#clock.monotonic() - began;
    this.#askAt = began + tookMs * (1 + PAUSE_FACTOR);
  }
}
