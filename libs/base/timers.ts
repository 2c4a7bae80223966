/** Timers on a clock of the caller's: what waits by them can be replayed in a simulation. */
import type { Clock } from './clock.js';

/** Calls `act` once, after `ms` milliseconds. @returns what calls it off */
export function after(clock: Clock, ms: number, act: () => void): () => void {
  if (clock.timer) return clock.timer(ms, act);
  const off = new AbortController();
  clock.sleep(ms, off.signal).then(
    () => off.signal.aborted || act(),
    () => undefined,
  );
  return () => off.abort(CALLED_OFF);
}

/** Made once: an error of its own for every timer would cost more than the timer. */
const CALLED_OFF = new Error('the timer was called off');

/** `promise`, or what `late` makes of it after `ms` milliseconds. @throws as either does */
export async function within<T>(clock: Clock, ms: number, promise: Promise<T>, late: () => Error): Promise<T> {
  let off: () => void = () => undefined;
  const timeout = new Promise<never>((_, reject) => (off = after(clock, ms, () => reject(late()))));
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    off();
  }
}

/** @see pause */
export interface Pause {
  over: Promise<void>;
  /** Ends it before its time. */
  end(): void;
}

/** A wait of `ms` milliseconds that `end`, or one of `signals`, cuts short. It never rejects. */
export function pause(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Pause {
  let end: () => void = () => undefined;
  const over = new Promise<void>((resolve) => {
    const off = after(clock, ms, () => end());
    end = () => {
      off();
      for (const signal of signals) signal.removeEventListener('abort', end);
      resolve();
    };
    for (const signal of signals) signal.addEventListener('abort', end, { once: true });
    if (signals.some((signal) => signal.aborted)) end();
  });
  return { over, end: () => end() };
}

/** Calls `act` every `ms` milliseconds, counted from the end of the last call. @returns what ends it */
export function every(clock: Clock, ms: number, act: () => void): () => void {
  let off: () => void = () => undefined;
  const again = () => (off = after(clock, ms, turn));
  const turn = () => {
    again();
    act();
  };
  again();
  return () => off();
}
