/** What is remembered of tasks that are gone: the last few of each slot. */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { EndedTask, Task } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { UNHEALTHY, unhealthyInARow } from './replace-unhealthy.js';
import type { Unit, Write } from './transaction.js';

export const KEPT_PER_SLOT = 5;

/** Written as the task's record goes; nothing for a stack that goes as a whole. */
export function remember(state: ClusterState, task: Task, reason: string, now: number): Write[] {
  const record = state.stacks.get(task.stack);
  if (!record || record.removing || !record.spec.services[task.service]) return [];
  const status = state.statuses.get(task.id);
  const ended: EndedTask = {
    taskId: task.id,
    stack: task.stack,
    service: task.service,
    slot: task.slot,
    name: task.name,
    nodeId: task.nodeId,
    nodeName: state.nodes.get(task.nodeId)?.name ?? task.nodeId,
    image: task.container.image,
    specHash: task.specHash,
    state: status?.state ?? 'pending',
    message: status?.state === 'stopped' ? '' : (status?.message ?? ''),
    restarts: status?.restarts ?? 0,
    exitCode: status?.exitCode,
    reason,
    unhealthyInARow: reason.startsWith(UNHEALTHY) ? unhealthyInARow(state, task, now) + 1 : 0,
    createdAt: task.createdAt,
    startedAt: status?.startedAt,
    endedAt: now,
  };
  return [{ put: keys.ended(task.id), value: encode(ended) }];
}

/** Deletes what is too much, and what belongs to services that are gone. */
export function forgetHistory(state: ClusterState): Unit[] {
  const seen = new Set<string>();
  const stale: EndedTask[] = [];
  for (const { stack, service, slot } of state.ended.values()) {
    const slotName = `${stack}/${service}/${slot}`;
    if (seen.has(slotName)) continue;
    seen.add(slotName);
    const history = state.endedOf(stack, service, slot);
    const isThere = state.stacks.get(stack)?.spec.services[service] !== undefined || isUnreadable(state, stack);
    stale.push(...(isThere ? history.slice(0, -KEPT_PER_SLOT) : history));
  }
  return stale.map(({ taskId, name }) => {
    const key = keys.ended(taskId);
    return {
      what: `forget the history of ${name}`,
      compares: [{ key, modRevision: state.revisionOf(key) }],
      writes: [{ delete: key }],
    };
  });
}

const isUnreadable = (state: ClusterState, stack: string): boolean => !state.stacks.has(stack) && state.revisionOf(keys.stack(stack)) > 0;
