/**
 * One-off tasks (`ctl run`): services of the record that no file has, with one task that runs once. What is said of the
 * stack's services as a whole does not mean them; `down` ends them with the rest.
 */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { slotKey, type ClusterState } from './cluster-state.js';
import type { Unit } from './transaction.js';

/** How long one that goes by itself is left for its caller to see how it ended, in milliseconds. */
export const SEEN_MS = 10_000;

export const isOneOff = ({ oneOff }: Pick<Service, 'oneOff'>): boolean => oneOff !== undefined;

/** Whether it had its task, which is there or not any more: it gets no other. */
export const hadItsTask = (state: ClusterState, stack: string, { name }: Service): boolean =>
  state.slots.has(slotKey(stack, name, 1)) || state.endedOf(stack, name, 1).length > 0;

/** When a one-off is to go from the record, milliseconds since the epoch; undefined while it is to stay. */
export function goesAt(state: ClusterState, stack: string, service: Service): number | undefined {
  if (!service.oneOff) return undefined;
  const [task] = state.tasksOfService(stack, service.name);
  // Its node was drained or removed: there is nothing left to look at.
  if (!task) return hadItsTask(state, stack, service) ? 0 : undefined;
  return service.oneOff.remove && hasEnded(state, task) ? (state.statuses.get(task.id)?.at ?? 0) + SEEN_MS : undefined;
}

/** Whether its process has ended, well or not: it is not started again. */
export function hasEnded(state: ClusterState, { id }: Task): boolean {
  const status = state.statuses.get(id);
  return status?.state === 'complete' || (status?.state === 'failed' && status.nextTryAt === undefined);
}

/** The record without some of its one-offs. */
export function withoutOneOffs(record: StackRecord, names: readonly string[], now: number): StackRecord {
  const services = Object.entries(record.spec.services).filter(([name, service]) => !(isOneOff(service) && names.includes(name)));
  return { ...record, spec: { ...record.spec, services: Object.fromEntries(services) }, generation: record.generation + 1, updatedAt: now };
}

/** One write for each stack that has one-offs to lose. */
export function oneOffUnits(state: ClusterState, gone: readonly { stack: string; service: string }[], now: number): Unit[] {
  return [...new Set(gone.map(({ stack }) => stack))].flatMap((stack) => {
    const record = state.stacks.get(stack);
    if (!record) return [];
    const key = keys.stack(stack);
    const names = gone.filter((one) => one.stack === stack).map(({ service }) => service);
    return [
      {
        what: `remove the one-offs ${names.join(', ')} of ${stack}`,
        compares: [{ key, modRevision: state.revisionOf(key) }],
        writes: [{ put: key, value: encode(withoutOneOffs(record, names, now)) }],
      },
    ];
  });
}
