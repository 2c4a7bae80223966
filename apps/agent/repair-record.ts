/** What was put right in the kernel since the agent started: how much, and the newest of it. */
import type { Clock } from '#base/clock.js';
import type { Repair } from '#model/node.js';

/** The newest that are told. */
const MOST_TOLD = 20;
const MOST_CHARS = 300;

export class RepairRecord {
  readonly #clock: Pick<Clock, 'now'>;
  #recent: Repair[] = [];
  #count = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** Oldest first. */
  get recent(): Repair[] {
    return this.#recent;
  }

  /** @param wrong a line for each object */
  note(wrong: readonly string[]): void {
    const at = this.#clock.now();
    this.#count += wrong.length;
    this.#recent = [...this.#recent, ...wrong.map((what) => ({ at, what: what.slice(0, MOST_CHARS) }))].slice(-MOST_TOLD);
  }
}
