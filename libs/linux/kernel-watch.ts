/** Follows a kernel for as long as it is wanted: a monitor that ended is started again, and what it may have missed is said. */
import { backoffMs } from '#base/backoff.js';
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { CommandHelper } from './helper-client.js';
import type { Monitor } from './helper-protocol.js';
import type { KernelEvent } from './kernel-events.js';

const RETRY = { initialMs: 200, maxMs: 30_000 };
const MONITORS: readonly Monitor[] = ['ip', 'nft'];
/** One that held for so long ended for a new reason. */
const HELD_MS = 60_000;

export interface KernelWatchOptions {
  helper: Pick<CommandHelper, 'watch'>;
  clock: Clock;
  log: Log;
}

/** Calls `onEvent` until stopped. */
export function watchKernel({ helper, clock, log }: KernelWatchOptions, onEvent: (event: KernelEvent) => void): Stop {
  let stopped = false;
  const follow = async (monitor: Monitor): Promise<void> => {
    for (let tries = 0; !stopped; tries++) {
      const began = clock.monotonic();
      const why = await helper.watch(monitor, (event) => stopped || onEvent(event)).then(() => 'it ended', messageOf);
      if (stopped) return;
      if (clock.monotonic() - began > HELD_MS) tries = 0;
      log.warn({ monitor, why }, 'no news of the kernel for a moment: its monitor ended');
      await clock.sleep(backoffMs(tries, RETRY));
      onEvent({ isLoss: false, isForeign: true, isNode: true, kind: 'link', words: [], line: `${monitor} monitor was away` });
    }
  };
  for (const monitor of MONITORS) void follow(monitor);
  return () => {
    stopped = true;
  };
}
