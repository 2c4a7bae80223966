/** Tries until it works: for what a process cannot do without and somebody else provides. */
import { backoffMs } from './backoff.js';
import type { Clock } from './clock.js';
import { messageOf, WeftError } from './errors.js';
import type { Log } from './log.js';

const DELAYS = { initialMs: 100, maxMs: 2_000 };

/** `isHopeless` errors are thrown on. @throws the signal's reason when it aborts */
export async function untilItWorks<T>(
  what: string,
  work: () => Promise<T>,
  context: { clock: Clock; log: Log; signal: AbortSignal },
  isHopeless: (error: unknown) => boolean = () => false,
): Promise<T> {
  const { clock, log, signal } = context;
  for (let tries = 0; ; tries++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (isHopeless(error)) throw error;
      if (tries % 10 === 0) log.warn({ error: messageOf(error) }, `${what} does not work yet; trying on`);
      await clock.sleep(backoffMs(tries, DELAYS), signal);
    }
  }
}

/** Whether who was asked may answer soon: it is not there, is slow, or has lost touch with what it needs itself. */
export function isPassing(error: unknown): boolean {
  const code = error instanceof WeftError ? error.code : undefined;
  return code === 'UNAVAILABLE' || code === 'TIMEOUT' || code === 'NOT_LEADER';
}
