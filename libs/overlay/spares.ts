/**
 * Spare namespaces: made before there is a task for them, so that a task's start does not wait for what takes longest. One holds its
 * settings and nothing else: no interface but its own loopback, no table, no way in or out. A new task's namespace is one of them under
 * another name; a new spare is made in its place when the task has what it needs. Pure.
 */
import type { KernelState, NamespaceState } from './kernel-state.js';
import { NODE_NAMESPACE } from './kernel-state.js';
import { isSpareNamespace } from './names.js';
import type { Operation } from './operation.js';

/** What new namespaces are made of, as far as there are spares that nobody changed: task's → spare. */
export function sparesToTake(
  desired: KernelState,
  observed: KernelState,
  isSame: (want: NamespaceState, have: NamespaceState) => boolean,
): Map<string, string> {
  const spares = Object.keys(observed.namespaces)
    .sort()
    .filter((name) => {
      const [want, have] = [desired.namespaces[name], observed.namespaces[name]];
      return isSpareNamespace(name) && want !== undefined && have !== undefined && isSame(want, have);
    });
  if (spares.length === 0) return new Map();
  const isNew = (ns: string) => ns !== NODE_NAMESPACE && !isSpareNamespace(ns) && !observed.namespaces[ns];
  const added = Object.keys(desired.namespaces).filter(isNew).sort();
  return new Map(added.slice(0, spares.length).map((ns, i) => [ns, spares[i] as string]));
}

/** What is there once they are taken. */
export function afterTaking(observed: KernelState, taken: ReadonlyMap<string, string>): KernelState {
  if (taken.size === 0) return observed;
  const names = new Map([...taken].map(([ns, spare]) => [spare, ns]));
  return { namespaces: Object.fromEntries(Object.entries(observed.namespaces).map(([name, space]) => [names.get(name) ?? name, space])) };
}

/** The spares that a plan makes or mends. */
export const sparesIn = (operations: readonly Operation[]): ReadonlySet<string> =>
  new Set(operations.filter((o) => isSpareNamespace(o.ns) && o.op !== 'removeNamespace').map((o) => o.ns));

/** A plan, and the state that it leads to, without these spares: nothing waits for them. */
export function withoutSpares(
  spares: ReadonlySet<string>,
  plan: readonly Operation[],
  desired: KernelState,
): { operations: Operation[]; desired: KernelState } {
  return {
    operations: plan.filter((o) => !spares.has(o.ns)),
    desired:
      spares.size === 0
        ? desired
        : { namespaces: Object.fromEntries(Object.entries(desired.namespaces).filter(([ns]) => !spares.has(ns))) },
  };
}
