/** Services into tasks: reconcile, schedule, allocate; each task with its slot and addresses in one transaction. */
import { randomBytes } from 'node:crypto';
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
];
/** A service that waits for a node or an address is looked at again this often, in milliseconds: rests end unannounced. */
const WAITING_MS = 1_000;

const newId = (): string => randomBytes(16).toString('hex');

export function servicesLoop(tools: LoopTools): LeaderLoop {
  const replan = new Replan();
  const tick = async (term: Term): Promise<number | undefined> => {
    const { follower, log, clock } = tools;
    if (!follower.current || !follower.model.cluster) return undefined;
    const { units, waiting, againMs } = planServices(follower.model, newId, clock.now());
    if (units.length > 0) {
      const { refused } = await term.apply(units);
      log.info({ units: units.map((u) => u.what), refused }, 'services reconciled');
      const againMs = replan.after(refused);
      if (againMs !== undefined) return againMs;
    }
    return waiting.size > 0 ? Math.min(WAITING_MS, againMs ?? WAITING_MS) : againMs;
  };
  return (term, signal) => runMarked(tools, COLLECTIONS, { name: 'services', tick: () => term.exclusive(() => tick(term)) }, signal);
}
