/**
 * Tasks leave a node that is drained: of a service, those that do not run at once; of those that run one at a time, and only
 * while no other is on its way, so that it goes on serving. Where the next one goes is scheduled as ever. Nobody is waited for who
 * will not come: what is on a dead node, fails again and again, or has no place. A node that is drained gets empty.
 */
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { isDead, withoutOrphans } from './dead-nodes.js';
import { standingOf } from './schedule.js';
import { servesIn } from './serving.js';
import { isComplete, isFailing } from './standing-of-task.js';

/** What the pass does already. */
interface UnderWay {
  stop: readonly { task: Task }[];
  edit: readonly { task: Task }[];
  promote: readonly { next: Task; holder: Task | undefined }[];
  /** `stack/service` of the tasks that are made. */
  made: ReadonlySet<string>;
}

/** What is to be stopped besides. @param only tasks of these stacks */
export function leaveDrained(state: ClusterState, plan: UnderWay, only?: ReadonlySet<string>): { task: Task; reason: string }[] {
  const drained = drainedNodes(state);
  if (drained.length === 0) return [];
  const stop: { task: Task; reason: string }[] = [];
  const underWay = new Set([...plan.made, ...plan.stop.map(({ task }) => serviceKey(task.stack, task.service))]);
  const moving = plan.promote.flatMap(({ next, holder }) => [next.id, holder?.id]);
  const taken = new Set([...[...plan.stop, ...plan.edit].map(({ task }) => task.id), ...moving]);
  for (const node of drained) {
    for (const task of state.tasksOfNode(node.id)) {
      if (only && !only.has(task.stack)) continue;
      const service = serviceKey(task.stack, task.service);
      if (task.desired === 'stop' || taken.has(task.id) || isComplete(state, task)) continue;
      if (servesIn(state, task) && (underWay.has(service) || awaited(state, task) !== undefined)) continue;
      underWay.add(service);
      stop.push({ task, reason: `node ${node.name} is drained` });
    }
  }
  return stop;
}

/** Nodes that tasks are to leave. What a dead one has is not there to be told. */
const drainedNodes = (state: ClusterState): Node[] =>
  [...state.nodes.values()].filter((n) => n.availability === 'drain' && !isDead(state, n.id));

/** Another task of the service that is on its way: the one that serves stays until it is up, or turns out not to come. */
export const awaited = (state: ClusterState, task: Task): Task | undefined =>
  withoutOrphans(state.tasksOfService(task.stack, task.service)).find((t) => t.id !== task.id && isOnItsWay(state, t));

function isOnItsWay(state: ClusterState, task: Task): boolean {
  if (standingOf(state, task.nodeId) !== 'ready' || servesIn(state, task)) return false;
  const status = state.statuses.get(task.id);
  // Whether something comes in its place is seen when it is made.
  if (task.desired === 'stop') return status?.state !== 'stopped';
  return status?.state !== 'complete' && !isFailing(state, task);
}
