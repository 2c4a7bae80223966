/** What the leader's loops have in common: they are marked by the follower's changes and run for one term. */
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import { Loop, type LoopOptions } from '#nest-kit/loop.js';
import type { ClusterFollower } from '../cluster/follower.js';

export interface LoopTools {
  follower: ClusterFollower;
  log: Log;
  clock: Clock;
  /** Ids for what is made: lower-case hex, never the same twice. */
  newId: () => string;
}

/**
 * @param collections whose changes mark the loop
 * @param besides what else does; gives what ends that
 */
export async function runMarked(
  tools: LoopTools,
  collections: readonly string[],
  options: Omit<LoopOptions, 'log' | 'clock'>,
  signal: AbortSignal,
  besides: (mark: () => void) => () => void = () => () => undefined,
): Promise<void> {
  const loop = new Loop({ ...options, log: tools.log, clock: tools.clock });
  const stopBesides = besides(() => loop.mark());
  const stop = tools.follower.listen((change) => {
    if (change.type === 'gap' || collections.some((name) => change.collections.has(name))) loop.mark();
  });
  try {
    await loop.run(signal);
  } finally {
    stop();
    stopBesides();
  }
}

/** After refused writes, in milliseconds: what they were planned on has changed, plan again. */
export const REPLAN_MS = 20;
const MAX_REPLAN_MS = 1_000;

/** Longer and longer pauses while writes go on being refused: something is wrong then, and haste does not help. */
export class Replan {
  #refusals = 0;

  /** @returns when to tick again, undefined when nothing was refused */
  after(refused: readonly string[]): number | undefined {
    this.#refusals = refused.length > 0 ? this.#refusals + 1 : 0;
    return this.#refusals === 0 ? undefined : Math.min(MAX_REPLAN_MS, REPLAN_MS * 2 ** (this.#refusals - 1));
  }
}
