/** Takes away what nobody needs: rested leases, empty networks, removed stacks, expired tokens, records of nothing. */
import { nextCleanupMs, planCleanup } from '#planner/plan-cleanup.js';
import type { LeaderLoop } from '../cluster/leader.js';
import type { Term } from '../cluster/term.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';

const COLLECTIONS = ['tasks', 'stacks', 'networks', 'network-names', 'node-addresses', 'vips', 'nodes', 'tokens', 'task-status'];
/** Marks gather for this long, in milliseconds: cleaning is never urgent, but `ctl down` waits for it. */
const DEBOUNCE_MS = 50;

export function cleanupLoop(tools: LoopTools): LeaderLoop {
  const replan = new Replan();
  const tick = async (term: Term): Promise<number | undefined> => {
    const { follower, log, clock } = tools;
    if (!follower.current || !follower.model.cluster) return undefined;
    const units = planCleanup(follower.model, clock.now());
    if (units.length > 0) {
      const { refused } = await term.apply(units);
      log.debug({ units: units.map((u) => u.what), refused }, 'cleaned up');
      // What went may let more go.
      return replan.after(refused) ?? 0;
    }
    return nextCleanupMs(follower.model, clock.now());
  };
  return (term, signal) =>
    runMarked(tools, COLLECTIONS, { name: 'cleanup', debounceMs: DEBOUNCE_MS, tick: () => term.exclusive(() => tick(term)) }, signal);
}
