/** Time and chance as ports, so that decisions can be replayed in tests. */

export interface Clock {
  /** Milliseconds since the epoch (wall clock; may jump). */
  now(): number;
  /** Milliseconds from an arbitrary origin; never goes back. Use it for deadlines. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds (0: once everything that can run now has run), or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `act` once after `ms` milliseconds; gives what calls it off. Where a clock has none, `after` of timers.ts sleeps. */
  timer?(ms: number, act: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer: (ms, act) => {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  },
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      if (ms <= 0 && !signal) return void setImmediate(resolve);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
};
