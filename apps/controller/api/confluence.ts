/** Streams that flow into one while more may still be added. What is fixed from the start is merged by #base/streams.js. */
import { Bell } from '../bell.js';

interface Arrival<T> {
  from: AsyncIterator<T>;
  result: IteratorResult<T>;
}

const step = async <T>(from: AsyncIterator<T>): Promise<Arrival<T>> => ({ from, result: await from.next() });

/** Streams that flow into one, as they come; more may be added while it flows. One that throws ends the whole. */
export class Confluence<T> {
  readonly #pending = new Map<AsyncIterator<T>, Promise<Arrival<T>>>();
  readonly #bell = new Bell();

  constructor(streams: readonly AsyncIterable<T>[] = []) {
    for (const stream of streams) this.add(stream);
  }

  add(stream: AsyncIterable<T>): void {
    const from = stream[Symbol.asyncIterator]();
    const first = step(from);
    // Heard when it is raced; it may fail before.
    first.catch(() => undefined);
    this.#pending.set(from, first);
    this.#bell.ring();
  }

  /** Looks again whether there is anything to wait for. */
  recheck(): void {
    this.#bell.ring();
  }

  /** @param isOpen whether more may be added once all streams have ended; none by default */
  async *items(isOpen: () => boolean = () => false, signal: AbortSignal = NEVER): AsyncGenerator<T> {
    const nudge = (): Promise<undefined> => this.#bell.wait(signal).then(() => undefined);
    let nudged = nudge();
    try {
      while (!signal.aborted && (this.#pending.size > 0 || isOpen())) {
        const arrival = await Promise.race([...this.#pending.values(), nudged]);
        if (!arrival) nudged = nudge();
        else if (arrival.result.done) this.#pending.delete(arrival.from);
        else {
          const next = step(arrival.from);
          next.catch(() => undefined);
          this.#pending.set(arrival.from, next);
          yield arrival.result.value;
        }
      }
    } finally {
      this.#bell.ring();
      for (const from of this.#pending.keys()) void Promise.resolve(from.return?.()).catch(() => undefined);
    }
  }
}

const NEVER = new AbortController().signal;
