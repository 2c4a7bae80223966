/**
 * Tasks leave a node that is drained: of a service, those that do not run at once; of those that run one at a time, and only
 * while all others are up, so that it goes on serving. Where the next one goes is scheduled as ever.
 */
import type { Task } from '#model/task.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { isDead, withoutOrphans } from './dead-nodes.js';
import { servesIn } from './serving.js';

/** What the pass does already. */
interface UnderWay {
  stop: { task: Task; reason: string }[];
  edit: readonly { task: Task }[];
  promote: readonly { next: Task; holder: Task | undefined }[];
}

/** Adds to `plan` what is to be stopped; what it stops already counts as under way. @param only tasks of these stacks */
export function leaveDrained(state: ClusterState, plan: UnderWay, only?: ReadonlySet<string>): void {
  const drained = [...state.nodes.values()].filter((n) => n.availability === 'drain' && !isDead(state, n.id));
  if (drained.length === 0) return;
  const underWay = new Set(plan.stop.map(({ task }) => serviceKey(task.stack, task.service)));
  const moving = plan.promote.flatMap(({ next, holder }) => [next.id, holder?.id]);
  const taken = new Set([...[...plan.stop, ...plan.edit].map(({ task }) => task.id), ...moving]);
  for (const node of drained) {
    for (const task of state.tasksOfNode(node.id)) {
      if (only && !only.has(task.stack)) continue;
      const service = serviceKey(task.stack, task.service);
      if (task.desired === 'stop' || taken.has(task.id) || state.statuses.get(task.id)?.state === 'complete') continue;
      if (servesIn(state, task) && (underWay.has(service) || !othersAreUp(state, task))) continue;
      underWay.add(service);
      plan.stop.push({ task, reason: `node ${node.name} is drained` });
    }
  }
}

const othersAreUp = (state: ClusterState, task: Task): boolean =>
  withoutOrphans(state.tasksOfService(task.stack, task.service)).every(
    (t) => t.id === task.id || (t.desired === 'run' && (servesIn(state, t) || state.statuses.get(t.id)?.state === 'complete')),
  );
