/** What `ctl scale`, `stop`, `start` and `restart` do to the record of a stack: the leader then makes it so. */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { serviceSchema, type Restarts, type Service, type Stack, type StackRecord } from '#model/stack.js';
import { checkAddresses } from './check-addresses.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { checkNodes, type StackPlan } from './plan-stack.js';
import type { PlanStep } from './plan-step.js';
import { isOneOff, withoutOneOffs } from './one-offs.js';
import { networksOf } from './networks-of.js';
import { isGlobal } from '#model/service-mode.js';

export type OperationPlan = Pick<StackPlan, 'steps' | 'generation' | 'compares' | 'writes'>;

const step = (name: string, action: PlanStep['action'], detail: string): PlanStep => ({ action, kind: 'service', name, details: [detail] });

/** @throws NOT_FOUND */
export function recordOf(state: ClusterState, name: string): StackRecord {
  const record = state.stacks.get(name);
  if (record && !record.removing) return record;
  throw new WeftError('NOT_FOUND', {
    what: `there is no stack ${name.slice(0, 64)}`,
    why: record ? 'it is being removed' : undefined,
    hint: 'List the stacks with `ctl ls`.',
  });
}

/** The services that are meant: all of the stack when none is named, without one-offs. @throws NOT_FOUND */
export function meant(record: StackRecord, services: readonly string[]): Service[] {
  const all = record.spec.services;
  const regular = Object.values(all).flatMap((service) => (isOneOff(service) ? [] : [service.name]));
  return (services.length > 0 ? [...new Set(services)] : regular).map((name) => {
    const found = all[name];
    if (found) return found;
    throw new WeftError('NOT_FOUND', {
      what: `stack ${record.spec.name} has no service ${name.slice(0, 64)}`,
      why: `it has ${Object.keys(all).join(', ') || 'none'}`,
    });
  });
}

function planOf(state: ClusterState, before: StackRecord, change: Partial<StackRecord>, steps: PlanStep[], now: number): OperationPlan {
  const key = keys.stack(before.spec.name);
  const isChanged = steps.some((s) => s.action !== 'keep');
  const generation = before.generation + (isChanged ? 1 : 0);
  const next: StackRecord = { ...before, ...change, generation, updatedAt: now };
  return {
    steps,
    generation,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: isChanged ? [{ put: key, value: encode(next) }] : [],
  };
}

/**
 * Replicas until the next `up`, which says them again: what its file says, or its `--scale`.
 * @param replicas by service
 * @throws NOT_FOUND; BAD_VALUE for a number that cannot be, or a service whose tasks are not counted; NO_NODES
 */
export function planScale(state: ClusterState, name: string, replicas: Readonly<Record<string, number>>, now: number): OperationPlan {
  const record = recordOf(state, name);
  const services = { ...record.spec.services };
  const steps = meant(record, Object.keys(replicas)).map((service) => {
    const wanted = replicas[service.name] ?? service.replicas;
    checkScale(service, wanted);
    services[service.name] = { ...service, replicas: wanted };
    if (wanted === service.replicas) return step(service.name, 'keep', `it has ${wanted} already`);
    return step(service.name, 'change', `replicas: ${service.replicas} → ${wanted}`);
  });
  const spec = { ...record.spec, services };
  checkNodes(state, spec);
  checkAddresses(state, {
    stack: spec,
    networks: networksOf(state, name),
    restarts: record.restarts,
    kept: new Set(Object.keys(record.stopped ?? {})),
  });
  return planOf(state, record, { spec }, steps, now);
}

/** The stack with the services that a scaling gives more tasks to, for what has to be looked at before: where fewer run, nothing starts. */
export function grownStack(state: ClusterState, name: string, replicas: Readonly<Record<string, number>>): Stack {
  const { spec } = recordOf(state, name);
  const grown = Object.values(spec.services).map((service) => {
    const wanted = replicas[service.name] ?? 0;
    return [service.name, wanted > service.replicas ? { ...service, replicas: wanted } : service] as const;
  });
  return { ...spec, services: Object.fromEntries(grown) };
}

function checkScale(service: Service, wanted: number): void {
  if (isGlobal(service))
    throw new WeftError('BAD_VALUE', {
      what: `service ${service.name} cannot be scaled`,
      why: 'it is global: it has one task on every node that fits',
      hint: 'Constraints (`deploy.placement`) say which nodes fit.',
    });
  if (!serviceSchema.shape.replicas.safeParse(wanted).success)
    throw new WeftError('BAD_VALUE', { what: `service ${service.name} cannot have ${wanted} replicas`, why: 'it can have 0 to 10000' });
}

/** @param graceMs between the stop signal and SIGKILL, instead of the containers' own. @throws NOT_FOUND */
export function planStop(
  state: ClusterState,
  name: string,
  services: readonly string[],
  graceMs: number | undefined,
  now: number,
): OperationPlan {
  const record = recordOf(state, name);
  const stopped = { ...record.stopped };
  const steps = meant(record, services).map((service) => {
    if (stopped[service.name]) return step(service.name, 'keep', 'it is stopped already');
    stopped[service.name] = { at: now, ...(graceMs === undefined ? {} : { graceMs }) };
    return step(service.name, 'change', 'stops');
  });
  return planOf(state, record, { stopped }, steps, now);
}

/** @throws NOT_FOUND */
export function planStart(state: ClusterState, name: string, services: readonly string[], now: number): OperationPlan {
  const record = recordOf(state, name);
  const chosen = meant(record, services);
  const steps = chosen.map((service) =>
    record.stopped?.[service.name] ? step(service.name, 'change', 'starts') : step(service.name, 'keep', 'it was not stopped'),
  );
  return planOf(state, record, { stopped: withoutKeys(record.stopped, chosen) }, steps, now);
}

const withoutKeys = (stopped: StackRecord['stopped'], services: readonly Service[]): StackRecord['stopped'] => {
  const left = Object.entries(stopped ?? {}).filter(([name]) => !services.some((s) => s.name === name));
  return left.length === 0 ? undefined : Object.fromEntries(left);
};

export interface RestartWish {
  graceMs?: number | undefined;
  /** Without the services that depend on it with `restart: true`. */
  alone: boolean;
}

/** New tasks of the same definition, as an update would bring them; what was stopped starts. @throws NOT_FOUND */
export function planRestart(state: ClusterState, name: string, services: readonly string[], wish: RestartWish, now: number): OperationPlan {
  const record = recordOf(state, name);
  const chosen = meant(record, services);
  const restarts = { ...record.restarts };
  const generation = record.generation + 1;
  for (const service of chosen) {
    const { along, alone } = restarts[service.name] ?? { along: 0, alone: 0 };
    const next: Restarts = { along: along + (wish.alone ? 0 : 1), alone: alone + (wish.alone ? 1 : 0), generation };
    restarts[service.name] = wish.graceMs === undefined ? next : { ...next, graceMs: wish.graceMs };
  }
  const steps = chosen.map((service) => step(service.name, 'recreate', 'restarts'));
  const plan = planOf(state, record, { restarts, stopped: withoutKeys(record.stopped, chosen) }, steps, now);
  // An update that was given up begins anew.
  const stale = chosen.filter((s) => ['paused', 'rolled-back'].includes(state.updates.get(serviceKey(name, s.name))?.state ?? ''));
  return { ...plan, writes: [...plan.writes, ...stale.map((s) => ({ delete: keys.update(name, s.name) }))] };
}

/** Ends one-offs, whatever they are at. @throws NOT_FOUND for what is none */
export function planRemoveOneOffs(state: ClusterState, name: string, services: readonly string[], now: number): OperationPlan {
  const record = recordOf(state, name);
  const chosen = services.length === 0 ? [] : meant(record, services);
  const regular = chosen.find((service) => !isOneOff(service));
  if (regular) throw new WeftError('NOT_FOUND', { what: `${regular.name} is no one-off task`, why: 'it is a service of the stack' });
  const steps = chosen.map((service) => step(service.name, 'remove', 'one-off'));
  return planOf(state, record, { spec: withoutOneOffs(record, services, now).spec }, steps, now);
}
