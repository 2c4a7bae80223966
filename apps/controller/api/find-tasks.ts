/** Which tasks a user means. */
import { WeftError } from '#base/errors.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { withoutOrphans } from '#planner/dead-nodes.js';

const byPlace = (a: Task, b: Task): number => (a.service === b.service ? a.slot - b.slot : a.service < b.service ? -1 : 1);

/** By id, a beginning of the id (4 letters at least), or name. @throws NOT_FOUND */
export function findTask(state: ClusterState, nameOrId: string): Task {
  const exact = state.tasks.get(nameOrId);
  if (exact) return exact;
  const all = [...state.tasks.values()];
  const named = withoutOrphans(all.filter((t) => t.name === nameOrId));
  const found = named.length > 0 ? named : nameOrId.length >= 4 ? all.filter((t) => t.id.startsWith(nameOrId)) : [];
  if (found.length === 1) return found[0] as Task;
  if (found.length === 0)
    throw new WeftError('NOT_FOUND', { what: `there is no task ${nameOrId.slice(0, 64)}`, hint: 'List the tasks with `ctl ps`.' });
  throw new WeftError('BAD_VALUE', `${nameOrId} means ${found.length} tasks`);
}

/** @throws NOT_FOUND for a stack or service that does not exist */
export function tasksOfStack(state: ClusterState, stack: string, services: readonly string[]): Task[] {
  const record = state.stacks.get(stack);
  if (!record)
    throw new WeftError('NOT_FOUND', { what: `there is no stack ${stack.slice(0, 64)}`, hint: 'List the stacks with `ctl ls`.' });
  for (const service of services) {
    if (record.spec.services[service] || state.tasksOfService(stack, service).length > 0) continue;
    throw new WeftError('NOT_FOUND', {
      what: `stack ${stack} has no service ${service.slice(0, 64)}`,
      why: `it has ${Object.keys(record.spec.services).join(', ') || 'none'}`,
    });
  }
  return withoutOrphans([...state.tasks.values()])
    .filter((t) => t.stack === stack && (services.length === 0 || services.includes(t.service)))
    .sort(byPlace);
}

/** The replica `index` (1 …) of a service, or the first that runs. @throws NOT_FOUND */
export function replicaOf(state: ClusterState, stack: string, service: string, index: number): Task {
  const tasks = tasksOfStack(state, stack, [service]);
  const found =
    index > 0 ? tasks.find((t) => t.slot === index) : (tasks.find((t) => state.statuses.get(t.id)?.state === 'running') ?? tasks[0]);
  if (found) return found;
  throw new WeftError('NOT_FOUND', {
    what: index > 0 ? `service ${service} has no replica ${index}` : `service ${service} has no task`,
    hint: 'Look at `ctl ps`.',
  });
}

/** A task that a caller named: by name or id, or as a replica of a service. */
export interface TaskMeant {
  task: string;
  stack: string;
  service: string;
  index: number;
}

/** @throws NOT_FOUND, BAD_VALUE */
export const taskMeant = (state: ClusterState, { task, stack, service, index }: TaskMeant): Task =>
  task === '' ? replicaOf(state, stack, service, index) : findTask(state, task);
