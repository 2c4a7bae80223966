/**
 * The order of services (Compose Specification, `depends_on`): tasks of a service are made once what it depends on is as it
 * has to be, on whatever node; a stack is taken down in reverse.
 */
import { WeftError } from '#base/errors.js';
import type { Dependency, Service, Stack, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { isLost } from './serving.js';
import { isUp } from './standing-of-task.js';
import { expectedSlots, whyNowhere } from './service-slots.js';

interface Finding {
  /** failed: it will not come by waiting; with `required: false` that does. */
  is: 'met' | 'waiting' | 'failed';
  reason: string;
}

/** Why tasks of the service cannot be made yet; undefined when they can. */
export function unmetDependency(state: ClusterState, record: StackRecord, service: Service): string | undefined {
  for (const [name, dependency] of Object.entries(service.dependsOn ?? {})) {
    const other = record.spec.services[name];
    if (!other) continue;
    const { is, reason } = look(state, record.spec.name, other, dependency.condition, record.stopped?.[name] !== undefined);
    if (is === 'waiting' || (is === 'failed' && dependency.required)) return reason;
  }
  return undefined;
}

function look(state: ClusterState, stack: string, other: Service, condition: Dependency['condition'], isStopped: boolean): Finding {
  const tasks = state.tasksOfService(stack, other.name).filter((t) => t.desired === 'run');
  const waits = `waits for ${other.name} to ${WORDS[condition]}`;
  const expected = expectedSlots(state, stack, other);
  if (isStopped) return { is: 'waiting', reason: `${waits}: it is stopped` };
  if (expected.length === 0 && condition === 'service_started') return MET;
  if (expected.length === 0) {
    const nowhere = whyNowhere(state, stack, other);
    return { is: 'failed', reason: `${waits}: it ${nowhere === undefined ? 'has no replicas' : `is ${nowhere}`}` };
  }
  const good = new Set(tasks.filter((t) => GOOD[condition](state, t)).map((t) => t.slot));
  if (expected.every((slot) => good.has(slot))) return MET;
  const trouble = tasks.map((t) => troubleOf(state, t, condition)).find((found) => found !== undefined);
  return trouble ? { is: 'failed', reason: `${waits}: ${trouble}` } : { is: 'waiting', reason: waits };
}

const MET: Finding = { is: 'met', reason: '' };

const WORDS: Record<Dependency['condition'], string> = {
  service_started: 'start',
  service_healthy: 'be healthy',
  service_completed_successfully: 'complete',
};

const GOOD: Record<Dependency['condition'], (state: ClusterState, task: Task) => boolean> = {
  service_started: (state, task) => state.statuses.get(task.id)?.startedAt !== undefined || isUp(state, task),
  service_healthy: (state, task) => isUp(state, task) && state.statuses.get(task.id)?.health === 'healthy',
  service_completed_successfully: (state, task) => state.statuses.get(task.id)?.state === 'complete',
};

/** What keeps a task from ever meeting the condition, unless something changes. */
function troubleOf(state: ClusterState, task: Task, condition: Dependency['condition']): string | undefined {
  const status = state.statuses.get(task.id);
  if (!status || isLost(state, task)) return undefined;
  if (status.state === 'failed' && status.nextTryAt === undefined) return `${task.name} failed: ${status.message}`;
  if (condition !== 'service_healthy') return undefined;
  if (status.state === 'complete') return `${task.name} has ended`;
  if (status.state !== 'running') return undefined;
  if (status.health === undefined) return `${task.name} has no health check`;
  return status.health === 'unhealthy' ? `${task.name} is unhealthy` : undefined;
}

/** Whether a service of a stack that is taken down may stop: nobody who depends on it is left. What a dead node has does not count. */
export function mayStop(state: ClusterState, record: StackRecord, service: string): boolean {
  return !Object.values(record.spec.services).some(
    (other) =>
      other.dependsOn?.[service] !== undefined &&
      state.tasksOfService(record.spec.name, other.name).some((t) => state.nodes.has(t.nodeId) && !isLost(state, t)),
  );
}

/** Dependencies name services of the stack, and lead in no circle. @throws BAD_VALUE */
export function checkDependencies({ services }: Stack): void {
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name))
      throw new WeftError('BAD_VALUE', `services wait for one another: ${[...path.slice(path.indexOf(name)), name].join(' → ')}`);
    if (done.has(name)) return;
    for (const [other, { required }] of Object.entries(services[name]?.dependsOn ?? {})) {
      if (services[other]) visit(other, [...path, name]);
      else if (required) throw new WeftError('BAD_VALUE', `service ${name} depends on ${other}, which the stack does not have`);
    }
    done.add(name);
  };
  for (const name of Object.keys(services)) visit(name, []);
}
