/** What an update writes: how far it is, and the service as it was when it has to go back. */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { UpdateRecord } from '#model/update.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import type { ServicesPlan } from './reconcile-services.js';
import { specHash } from './spec-hash.js';
import { wasOnlyRestarted } from './stopped-services.js';
import type { Unit, Write } from './transaction.js';

export function updateUnits(state: ClusterState, plan: Pick<ServicesPlan, 'updates' | 'rollBacks'>, now: number): Unit[] {
  const units: Unit[] = [];
  const goesBack = new Set(plan.rollBacks.map(({ stack, service }) => `${stack}/${service}`));
  for (const { stack, service, record } of plan.updates) {
    if (goesBack.has(`${stack}/${service}`)) continue;
    const key = keys.update(stack, service);
    const what = record === null ? `the update of ${stack}/${service} is done` : `the update of ${stack}/${service}: ${record.state}`;
    units.push({
      what,
      compares: [{ key, modRevision: state.revisionOf(key) }],
      writes: [record === null ? { delete: key } : { put: key, value: encode(record) }],
    });
  }
  const stacks = new Set<string>();
  for (const { stack, service, reason } of plan.rollBacks) {
    // One record holds the whole stack: the next service follows at the next tick.
    if (stacks.has(stack)) continue;
    stacks.add(stack);
    const record = state.stacks.get(stack);
    if (record) units.push(goBack(state, record, service, reason, now));
  }
  return units;
}

/** Why a service cannot go back; undefined when it can. */
export function whyNoWayBack(record: StackRecord, service: string): string | undefined {
  const before = record.previous?.[service];
  if (!before) return 'nothing is known of what it was before';
  const gone = Object.keys(before.networks).find((key) => !record.spec.networks[key]);
  return gone === undefined ? undefined : `it was on network ${gone}, which the stack does not have any more`;
}

/** The stack with some services as they were before; what they are now is what they were before, then. */
export function withPrevious(record: StackRecord, services: readonly string[], now: number): StackRecord {
  const spec = { ...record.spec, services: { ...record.spec.services } };
  const previous = { ...record.previous };
  for (const name of services) {
    const [before, after] = [previous[name], spec.services[name]];
    if (!before || !after) continue;
    spec.services[name] = before;
    previous[name] = after;
  }
  return { ...record, spec, previous, generation: record.generation + 1, updatedAt: now };
}

/** What `ctl rollback` writes of a service's update: its `rollback_config` has the say, if it has one; else it begins as any other does. */
export function rollbackWrites(state: ClusterState, next: StackRecord, name: string, now: number): Write[] {
  const stack = next.spec.name;
  const key = keys.update(stack, name);
  const service = next.spec.services[name];
  if (!service?.rollback) return state.updates.has(serviceKey(stack, name)) ? [{ delete: key }] : [];
  const target = hashOf(next, service);
  const begun = { target, state: 'updating', byCommand: true, message: '', startedAt: now } as const;
  const record: UpdateRecord = { stack, service: name, ...begun, failed: [], passed: [] };
  return [{ put: key, value: encode(record) }];
}

function goBack(state: ClusterState, record: StackRecord, service: string, reason: string, now: number): Unit {
  const stack = record.spec.name;
  const [stackKey, updateKey] = [keys.stack(stack), keys.update(stack, service)];
  const impossible = wasOnlyRestarted(record, service) ? 'it was restarted, and is what it was before' : whyNoWayBack(record, service);
  const unit: Unit = {
    what: `roll ${stack}/${service} back`,
    compares: [stackKey, updateKey].map((key) => ({ key, modRevision: state.revisionOf(key) })),
    writes: [],
  };
  const update = { stack, service, startedAt: now, failed: [], passed: [] };
  const current = record.spec.services[service] as Service;
  const put = (value: UpdateRecord): void => void unit.writes.push({ put: updateKey, value: encode(value) });
  if (impossible !== undefined) {
    const message = `${reason}; it cannot be rolled back: ${impossible}`;
    put({ ...update, target: hashOf(record, current), state: 'paused', message });
    return unit;
  }
  const next = withPrevious(record, [service], now);
  // What has just failed is nothing that anybody wants to go back to.
  delete next.previous?.[service];
  unit.writes.push({ put: stackKey, value: encode(next) });
  put({ ...update, target: hashOf(next, next.spec.services[service] as Service), state: 'rolling-back', message: reason });
  return unit;
}

const hashOf = (record: StackRecord, service: Service): string => specHash(service, record.spec.services, record.restarts);
