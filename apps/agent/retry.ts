/** Tries until it works: for what the agent cannot do without and somebody else provides. */
import { backoffMs } from '#base/backoff.js';
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';

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
