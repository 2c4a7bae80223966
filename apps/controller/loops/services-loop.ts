/** Services into tasks: reconcile, schedule, allocate; each task with its slot and addresses in one transaction. */
import { planServices } from '#planner/plan-services.js';
import type { LeaderLoop } from '../cluster/leader.js';
import type { Term } from '../cluster/term.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';

const COLLECTIONS = [
  'stacks',
  'networks',
  'network-names',
  'tasks',
  'slots',
  'task-status',
  'nodes',
  'node-states',
  'node-facts',
  'cluster',
  'leases',
  'connections',
  'updates',
];
/** A service that waits for a node or an address is looked at again this often, in milliseconds: rests end unannounced. */
const WAITING_MS = 1_000;
/** Times of updates come from the nodes' clocks: never in a hurry. */
const MIN_WAKE_MS = 50;

export function servicesLoop(tools: LoopTools): LeaderLoop {
  const replan = new Replan();
  const tick = async (term: Term): Promise<number | undefined> => {
    const { follower, log, clock, newId } = tools;
    if (!follower.current || !follower.model.cluster) return undefined;
    const { units, waiting, againMs, wakeAt } = planServices(follower.model, newId, clock.now());
    if (units.length > 0) {
      const { refused } = await term.apply(units);
      log.info({ units: units.map((u) => u.what), refused }, 'services reconciled');
      const againMs = replan.after(refused);
      if (againMs !== undefined) return againMs;
    }
    const wakeMs = wakeAt === undefined ? Infinity : Math.max(MIN_WAKE_MS, wakeAt - clock.now());
    const soonest = Math.min(wakeMs, againMs ?? Infinity, waiting.size > 0 ? WAITING_MS : Infinity);
    return soonest === Infinity ? undefined : soonest;
  };
  return (term, signal) => runMarked(tools, COLLECTIONS, { name: 'services', tick: () => term.exclusive(() => tick(term)) }, signal);
}
