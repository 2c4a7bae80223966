/**
 * Who is attached to tasks of this node, and the tasks that wait for it: a task of `ctl run` starts once its caller listens, so
 * that nothing of what it prints is missed.
 */
import type { Clock } from '#base/clock.js';
import { WeftError, type ErrorCode } from '#base/errors.js';

/** How a run of the task's process went. */
export type Ending = { exitCode: number | undefined } | { failure: string; code: ErrorCode };

export interface Caller {
  /** Resolves when the container is made and its log is open; the process waits for `begin`. */
  readonly opened: Promise<void>;
  /** It listens now: the process may start. */
  begin(): void;
  readonly ended: Promise<Ending>;
  leave(): void;
}

interface Seat {
  open: () => void;
  listens: Promise<void>;
  end: (ending: Ending) => void;
}

export class Callers {
  readonly #clock: Clock;
  readonly #seats = new Map<string, Set<Seat>>();
  readonly #waiting = new Map<string, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param isThere its container runs already */
  enter(taskId: string, isThere: boolean): Caller {
    const open = later<void>();
    const listen = later<void>();
    const end = later<Ending>();
    const seat: Seat = { open: open.resolve, listens: listen.promise, end: end.resolve };
    const seats = this.#seats.get(taskId) ?? new Set();
    this.#seats.set(taskId, seats.add(seat));
    if (isThere) open.resolve();
    this.#waiting.get(taskId)?.();
    const leave = (): void => {
      seats.delete(seat);
      if (seats.size === 0 && this.#seats.get(taskId) === seats) this.#seats.delete(taskId);
      listen.resolve();
    };
    return { opened: open.promise, begin: listen.resolve, ended: end.promise, leave };
  }

  has(taskId: string): boolean {
    return this.#seats.has(taskId);
  }

  /** Lets the callers of a task in whose container is made, and waits until one listens. @throws UNAVAILABLE when none comes in time */
  async letIn(taskId: string, timeoutMs: number): Promise<void> {
    if (!this.has(taskId)) await this.#someone(taskId, timeoutMs);
    const seats = [...(this.#seats.get(taskId) ?? [])];
    if (seats.length === 0) throw nobody();
    for (const seat of seats) seat.open();
    const enough = new AbortController();
    const late = this.#clock.sleep(timeoutMs, enough.signal).then(() => {
      throw nobody();
    });
    await Promise.race([Promise.all(seats.map((seat) => seat.listens)), late]).finally(() => enough.abort());
    if (!this.has(taskId)) throw nobody();
  }

  /** The process ended, or could not be started: those who are attached hear it. */
  end(taskId: string, ending: Ending): void {
    for (const seat of this.#seats.get(taskId) ?? []) seat.end(ending);
  }

  async #someone(taskId: string, timeoutMs: number): Promise<void> {
    const come = new AbortController();
    this.#waiting.set(taskId, () => come.abort());
    await this.#clock.sleep(timeoutMs, come.signal).catch(() => undefined);
    this.#waiting.delete(taskId);
  }
}

const nobody = (): WeftError =>
  new WeftError('UNAVAILABLE', {
    what: 'it was not started',
    why: 'nobody is attached to it: the `ctl run` that it is for has gone',
    hint: '`ctl down` removes it.',
  });

function later<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}
