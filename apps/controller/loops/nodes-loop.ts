/**
 * Which nodes are ready and which are down, from their session keys. After a change of leader, or when the feed had a gap,
 * nobody is declared dead for one session TTL: the agents need that long to come back.
 */
import { planNodeStates } from '#planner/plan-nodes.js';
import { NODE_TTL_MS } from '../api/node-sessions.js';
import type { LeaderLoop } from '../cluster/leader.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';

export function nodesLoop(tools: LoopTools): LeaderLoop {
  const replan = new Replan();
  const { follower, log, clock } = tools;
  return async (term, signal) => {
    let doubtUntil = clock.monotonic() + NODE_TTL_MS;
    const stop = follower.listen((change) => {
      if (change.type === 'gap') doubtUntil = clock.monotonic() + NODE_TTL_MS;
    });
    const tick = async (): Promise<number | undefined> => {
      if (!follower.current) return undefined;
      const doubtMs = doubtUntil - clock.monotonic();
      const units = planNodeStates(follower.model, doubtMs <= 0, clock.now());
      if (units.length > 0) {
        const { refused } = await term.apply(units);
        log.info({ units: units.map((u) => u.what), refused }, 'node states changed');
        const againMs = replan.after(refused);
        if (againMs !== undefined) return againMs;
      }
      return doubtMs > 0 ? doubtMs : undefined;
    };
    try {
      await runMarked(tools, ['nodes', 'node-states', 'node-sessions'], { name: 'nodes', tick: () => term.exclusive(tick) }, signal);
    } finally {
      stop();
    }
  };
}
