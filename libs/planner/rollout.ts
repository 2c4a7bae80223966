/**
 * One step of the update of one service (Compose Deploy Specification, `update_config` and `rollback_config`): which of its
 * outdated tasks go now, and what becomes of the update. Pure; what has to be remembered between steps is in the update's
 * record (libs/model/update.ts), so that the next leader goes on where this one stopped.
 *
 * A new task is watched until it has been up for `monitor`; what fails in that time counts as failed. The next tasks follow
 * when those before them have passed, and `delay` is over. Without an update_config tasks are replaced one at a time, each
 * when all others are up: what does not come up holds the rest back by itself.
 */
import type { Service, UpdatePolicy } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { UpdateRecord } from '#model/update.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { isFailing, isSatisfied, isUp } from './standing-of-task.js';
import { isJob } from '#model/service-mode.js';

/** The slots of a service, sorted by what is with them. */
export interface Slots {
  /** Tasks that hold their slots and are made from something else. */
  outdated: Task[];
  /** Tasks that are made as the service says: they hold their slots, or are to take them over. */
  current: Task[];
  /** Slots that are on their way: empty, being stopped, or with a task that is to take over. */
  moving: number;
}

export interface RolloutStep {
  /** Outdated tasks to stop; their successors come when they are gone. */
  stop: Task[];
  /** Outdated tasks that get a successor beside them. */
  surge: Task[];
  /** The record as it shall be; null: it goes. Undefined: as it is. */
  record?: UpdateRecord | null;
  /** The service shall go back to what it was, because of this. */
  rollBack?: string;
  /** Milliseconds since the epoch: decide again then. */
  wakeAt?: number;
}

export interface RolloutInput {
  state: ClusterState;
  stack: string;
  service: Service;
  /** What its tasks are made from. */
  target: string;
  slots: Slots;
  /** Milliseconds since the epoch. */
  now: number;
}

export function rollOut(input: RolloutInput): RolloutStep {
  const { state, stack, service, slots, target, now } = input;
  const found = state.updates.get(serviceKey(stack, service.name));
  const record = found?.target === target ? found : undefined;
  const policy = policyOf(service, record);
  const broken = slots.outdated.filter((t) => !isUp(state, t));
  if (!policy || isJob(service)) {
    const settled = slots.moving === 0 && slots.current.every((t) => isSatisfied(state, service, t)) && broken.length === 0;
    return {
      stop: isJob(service) ? slots.outdated : settled ? slots.outdated.slice(0, 1) : broken,
      surge: [],
      ...(found ? { record: null } : {}),
    };
  }
  const idle = slots.outdated.length === 0 && slots.moving === 0;
  if (!record && idle) return { stop: [], surge: [], ...(found ? { record: null } : {}) };
  if (!record && slots.outdated.length === 0) return { stop: [], surge: [] };
  const moves = slots.outdated.every((t) => state.moves.has(t.id) && t.specHash === target);
  const before = record ?? {
    ...{ stack, service: service.name, target, state: 'updating' as const, message: '', startedAt: now, failed: [], passed: [] },
    ...(moves ? { moves: true as const } : {}),
  };
  return advance(input, policy, before, record === undefined);
}

/** While it goes back, the rollback's own policy; jobs are not rolled out but run again. */
function policyOf(service: Service, record: UpdateRecord | undefined): UpdatePolicy | undefined {
  if (record?.byCommand && service.rollback) return service.rollback;
  if (record?.state === 'rolling-back')
    return service.rollback ?? (service.update && { ...service.update, onFailure: 'pause' }) ?? DEFAULT_ROLLBACK;
  return service.update;
}

const DEFAULT_ROLLBACK: UpdatePolicy = {
  parallelism: 1,
  delayMs: 0,
  order: 'stop-first',
  monitorMs: 5_000,
  maxFailureRatio: 0,
  onFailure: 'pause',
};

function advance(input: RolloutInput, policy: UpdatePolicy, before: UpdateRecord, isNew: boolean): RolloutStep {
  const { state, service, slots } = input;
  if (before.state === 'paused' || before.state === 'rolled-back') return { stop: [], surge: [] };
  const seen = watch(input, policy, before);
  const record = { ...before, failed: seen.failed, passed: seen.passed };
  const isNews = isNew || seen.isNews;
  const step: RolloutStep = {
    stop: [],
    surge: [],
    ...(isNews ? { record } : {}),
    ...(seen.wakeAt === undefined ? {} : { wakeAt: seen.wakeAt }),
  };
  const ratio = record.failed.length / Math.max(1, service.replicas);
  if (record.failed.length > 0 && ratio > policy.maxFailureRatio && policy.onFailure !== 'continue') {
    const message = seen.why ?? `${record.failed.length} of ${service.replicas} new tasks failed`;
    if (policy.onFailure === 'rollback' && record.state === 'updating' && !record.moves) return { ...step, rollBack: message };
    const told = record.state === 'rolling-back' ? `${record.message}; the rollback failed: ${message}` : message;
    return { ...step, record: { ...record, state: 'paused', message: told } };
  }
  if (slots.outdated.length === 0 && slots.moving === 0 && seen.watching === 0)
    return { ...step, record: record.state === 'rolling-back' ? { ...record, state: 'rolled-back' } : null };
  const broken = slots.outdated.filter((t) => !isUp(state, t));
  const inFlight = slots.moving + seen.watching + broken.length;
  const capacity = Math.max(0, (policy.parallelism || Infinity) - inFlight);
  const next = slots.outdated.filter((t) => !broken.includes(t)).slice(0, capacity);
  const beside = policy.order === 'start-first' && canSurge(service);
  const surge = beside ? next.filter((t) => !hasLeaving(state, t)) : [];
  return { ...step, stop: [...broken, ...(beside ? [] : next)], surge };
}

interface Seen {
  failed: string[];
  passed: string[];
  isNews: boolean;
  /** New tasks that have neither failed nor passed, or passed too short a while ago for the next ones. */
  watching: number;
  /** What went wrong with the first that failed. */
  why?: string;
  wakeAt?: number;
}

function watch({ state, slots, now }: RolloutInput, policy: UpdatePolicy, record: UpdateRecord): Seen {
  const seen: Seen = { failed: [...record.failed], passed: [...record.passed], isNews: false, watching: 0 };
  for (const task of slots.current) {
    const status = state.statuses.get(task.id);
    const known = seen.failed.includes(task.id) || seen.passed.includes(task.id);
    if (!known && task.createdAt >= record.startedAt && isFailing(state, task)) {
      seen.failed.push(task.id);
      seen.isNews = true;
    }
    if (seen.failed.includes(task.id)) {
      seen.why ??= `${task.name} ${whatIsWrong(status)}`;
      continue;
    }
    if (!status || !isUp(state, task)) {
      seen.watching++;
      continue;
    }
    const doneAt = status.at + policy.monitorMs;
    if (!known && now >= doneAt) {
      seen.passed.push(task.id);
      // Tasks that were there before tell nothing new.
      seen.isNews ||= task.createdAt >= record.startedAt;
    }
    const nextAt = status.at + Math.max(policy.monitorMs, policy.delayMs);
    if (now >= nextAt || task.createdAt < record.startedAt) continue;
    seen.watching++;
    seen.wakeAt = Math.min(seen.wakeAt ?? Infinity, now < doneAt ? doneAt : nextAt);
  }
  return seen;
}

function whatIsWrong(status: { state: string; health?: string; message: string; exitCode?: number } | undefined): string {
  if (status?.health === 'unhealthy') return `is unhealthy: ${status.message}`;
  if (status?.message) return `failed: ${status.message}`;
  return status?.exitCode === undefined ? 'failed' : `failed: exited with code ${status.exitCode}`;
}

/** Two tasks cannot have one address, one port of a node, or one namespace; where they would, the old one stops first. */
export const canSurge = (service: Service): boolean =>
  (service.networkMode?.kind ?? 'networks') === 'networks' &&
  service.ports.every((p) => p.mode !== 'host') &&
  Object.values(service.networks).every((a) => a.ipv4 === undefined && a.ipv6 === undefined && a.mac === undefined);

/** Somebody else is still leaving the slot: no third one beside them. What a dead node has is not waited for. */
const hasLeaving = (state: ClusterState, task: Task): boolean =>
  state
    .tasksOfService(task.stack, task.service)
    .some((t) => t.slot === task.slot && t.id !== task.id && state.nodes.has(t.nodeId) && state.nodeStates.get(t.nodeId)?.state !== 'down');
