/** What `ctl rollback` does: services go back to what they were before their last change. */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { checkAddresses } from './check-addresses.js';
import type { ClusterState } from './cluster-state.js';
import { stackChange, type StackPlan } from './plan-stack.js';
import { networksOf } from './networks-of.js';
import { rollbackWrites, whyNoWayBack, withPrevious } from './update-units.js';

/**
 * @param services all that have something to go back to, when empty
 * @throws NOT_FOUND, CONFLICT (nothing to go back to, a network that is gone)
 */
export function planRollback(
  state: ClusterState,
  name: string,
  services: readonly string[],
  now: number,
): Omit<StackPlan, 'stack' | 'orphans' | 'kept'> {
  const record = state.stacks.get(name);
  if (!record || record.removing)
    throw new WeftError('NOT_FOUND', { what: `there is no stack ${name}`, hint: 'List the stacks with `ctl ls`.' });
  const unknown = services.find((service) => !record.spec.services[service]);
  if (unknown !== undefined) throw new WeftError('NOT_FOUND', `stack ${name} has no service ${unknown}`);
  const chosen = services.length > 0 ? services : Object.keys(record.previous ?? {});
  if (chosen.length === 0) throw new WeftError('CONFLICT', `nothing of stack ${name} was changed: there is nothing to go back to`);
  for (const service of chosen) {
    const why = whyNoWayBack(record, service);
    if (why !== undefined) throw new WeftError('CONFLICT', { what: `service ${service} cannot be rolled back`, why });
  }
  const next = withPrevious(record, chosen, now);
  checkAddresses(state, {
    stack: next.spec,
    networks: networksOf(state, name),
    restarts: next.restarts,
    kept: new Set(Object.keys(next.stopped ?? {})),
  });
  const key = keys.stack(name);
  return {
    steps: stackChange(next.spec, record),
    baseGeneration: record.generation,
    generation: next.generation,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ put: key, value: encode(next) }, ...chosen.flatMap((service) => rollbackWrites(state, next, service, now))],
  };
}
