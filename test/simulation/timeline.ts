/**
 * Virtual time: a queue of events that run one after another, in order of their time and then of their making. Between two
 * events everything runs that needs no time; so a run is determined by what was planned, and by nothing else.
 */

export interface Planned {
  at: number;
  order: number;
  act: (() => void) | undefined;
}

/** Times are multiples of a power of two, so that sums and differences of them are exact. */
const TICKS_PER_MS = 64;
/** More events at one time than this are a circle. */
const MOST_AT_ONCE = 10_000;

/** Lets every promise that can resolve without time resolve: Node looks at its next ticks only when no microtask is left. */
const settle = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

export class Timeline {
  /** Milliseconds since the beginning. */
  now = 0;
  /** Events that have run. */
  steps = 0;
  readonly #heap: Planned[] = [];
  #made = 0;
  #stillAt = 0;

  /** @returns the event; `act` set to undefined calls it off */
  at(time: number, act: () => void): Planned {
    const planned: Planned = { at: Math.max(this.now, Math.ceil(time * TICKS_PER_MS) / TICKS_PER_MS), order: this.#made++, act };
    this.#push(planned);
    return planned;
  }

  after(ms: number, act: () => void): Planned {
    return this.at(this.now + ms, act);
  }

  /** Runs events up to and including `until` (milliseconds), or until `isOver`. */
  async run(until: number, isOver: () => boolean = () => false): Promise<void> {
    await settle();
    for (;;) {
      if (isOver()) return;
      const next = this.#heap[0];
      if (!next || next.at > until) break;
      this.#pop();
      const { act } = next;
      if (!act) continue;
      if (next.at > this.now) this.#stillAt = this.steps;
      if (this.steps - this.#stillAt > MOST_AT_ONCE) throw new Error(`${MOST_AT_ONCE} events at ${this.now} ms: time does not pass`);
      this.now = next.at;
      this.steps++;
      act();
      await settle();
    }
    this.now = Math.max(this.now, until);
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(planned);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(planned, heap[parent] as Planned)) break;
      heap[at] = heap[parent] as Planned;
      at = parent;
    }
    heap[at] = planned;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Planned;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Planned, heap[child] as Planned)) child++;
      if (!isBefore(heap[child] as Planned, last)) break;
      heap[at] = heap[child] as Planned;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Planned, b: Planned): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
