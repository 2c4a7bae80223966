/**
 * Which nodes are ready and which are down, from their session keys. A session is given up after some silence of the agent
 * (node-sessions.ts); the leader then waits a little more, and longer where it was the controller that went away. After a change of leader, when the feed had a gap, or when this
 * process itself stood still, nobody is declared dead for as long as agents may need to come back.
 */
import { every } from '#base/timers.js';
import { planNodeStates } from '#planner/plan-nodes.js';
import { graceOf, Suspicion } from '#planner/suspicion.js';
import type { LeaderLoop } from '../cluster/leader.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';

/**
 * How long agents may take to come to another controller, in milliseconds, counted from when the old one's lease was over: one
 * that is frozen, or that nothing reaches, is waited for 5 s at most, then the others are asked, after a pause of at most 1 s
 * (apps/agent/controller-choice.ts).
 */
const COME_OVER_MS = 8_000;
/** How often this process looks whether it stood still, and when it counts as that: milliseconds. */
const PULSE_MS = 500;
const STOOD_STILL_MS = 2_000;

export function nodesLoop(tools: LoopTools): LeaderLoop {
  const replan = new Replan();
  const { follower, log, clock } = tools;
  return async (term, signal) => {
    const suspicion = new Suspicion();
    let doubtUntil = clock.monotonic() + COME_OVER_MS;
    let pulseAt = clock.monotonic();
    const doubt = () => {
      suspicion.reset();
      doubtUntil = clock.monotonic() + COME_OVER_MS;
    };
    const beat = () => {
      if (clock.monotonic() - pulseAt > STOOD_STILL_MS) doubt();
      pulseAt = clock.monotonic();
    };
    const endPulse = every(clock, PULSE_MS, beat);
    const stop = follower.listen((change) => {
      if (change.type === 'gap') doubt();
    });
    const tick = async (): Promise<number | undefined> => {
      if (!follower.current) return undefined;
      beat();
      const { missed, nextMs } = suspicion.observe(follower.model, clock.monotonic(), graceOf(follower.model.cluster, COME_OVER_MS));
      const doubtMs = doubtUntil - clock.monotonic();
      const units = planNodeStates(follower.model, doubtMs > 0 ? new Set() : missed, clock.now());
      if (units.length > 0) {
        const { refused } = await term.apply(units);
        log.info({ units: units.map((u) => u.what), refused }, 'node states changed');
        const againMs = replan.after(refused);
        if (againMs !== undefined) return againMs;
      }
      return doubtMs > 0 ? doubtMs : nextMs;
    };
    try {
      await runMarked(
        tools,
        ['nodes', 'node-states', 'node-sessions', 'controller-sessions'],
        { name: 'nodes', tick: () => term.exclusive(tick) },
        signal,
      );
    } finally {
      endPulse();
      stop();
    }
  };
}
