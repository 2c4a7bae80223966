/** Services into tasks: reconcile, schedule, allocate; each task with its slot and addresses in one transaction. */
import { ServicesPlanner } from '#planner/services-planner.js';
import type { Unit } from '#planner/transaction.js';
import type { LeaderLoop } from '../cluster/leader.js';
import type { Term } from '../cluster/term.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';
import { WaitingBoard } from './waiting-board.js';

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
  'controllers',
  'vips',
  'ended',
  'leases',
  'connections',
  'updates',
  'moves',
];
/** A service that waits for a node or an address is looked at again this often, in milliseconds: rests end unannounced. */
const WAITING_MS = 1_000;
/** Times of updates come from the nodes' clocks: never in a hurry. */
const MIN_WAKE_MS = 50;

/** @param board where the leader reads what services wait for */
export function servicesLoop(tools: LoopTools, board = new WaitingBoard()): LeaderLoop {
  const { follower, log, clock, newId } = tools;
  const replan = new Replan();
  const tick = async (term: Term, planner: ServicesPlanner): Promise<number | undefined> => {
    if (!follower.current || !follower.model.cluster) return undefined;
    const { units, wakeAt } = planner.plan(newId, clock.now(), clock.monotonic());
    board.show(planner.waits);
    if (units.length > 0) {
      const refused = await apply(term, planner, units);
      log.info({ units: units.map((u) => u.what), refused }, 'services reconciled');
      const againMs = replan.after(refused);
      if (againMs !== undefined) return againMs;
    }
    const wakeMs = wakeAt === undefined ? Infinity : Math.max(MIN_WAKE_MS, wakeAt - clock.now());
    const soonest = Math.min(wakeMs, planner.isWaiting ? WAITING_MS : Infinity);
    return soonest === Infinity ? undefined : soonest;
  };
  return async (term, signal) => {
    const planner = new ServicesPlanner(follower.model);
    const stop = follower.listen((change) => planner.note(change.type === 'gap' ? undefined : change.keys));
    try {
      await runMarked(tools, COLLECTIONS, { name: 'services', tick: () => term.exclusive(() => tick(term, planner)) }, signal);
    } finally {
      stop();
      board.show(undefined);
    }
  };
}

/** @returns what was refused; then, and when it is not known what became of it, everything is planned anew */
async function apply(term: Term, planner: ServicesPlanner, units: readonly Unit[]): Promise<string[]> {
  try {
    const { refused } = await term.apply(units);
    if (refused.length > 0) planner.forget();
    return refused;
  } catch (error) {
    planner.forget();
    throw error;
  }
}
