/** What `ctl network connect` and `disconnect` said, and what follows from it. */
import { keys } from '#model/keys.js';
import type { Connection, Network } from '#model/network.js';
import type { Stack } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';
import type { Compare, Write } from './transaction.js';

export const connectionsOf = (state: ClusterState, stack: string): Connection[] => [...(state.connections.get(stack)?.values() ?? [])];

export const keyOfConnection = (c: Connection): string => keys.connection(c.stack, c.service, c.slot, c.networkId);

/** What holds for a slot: word of the whole service first, then word of that slot, which outweighs it. */
export function connectionsOfSlot(state: ClusterState, stack: string, service: string, slot: number | undefined): Connection[] {
  const said = connectionsOf(state, stack).filter((c) => c.service === service && (c.slot === undefined || c.slot === slot));
  return said.sort((a, b) => Number(a.slot !== undefined) - Number(b.slot !== undefined));
}

/** Whether the file of a stack puts a service on a network. */
export const isDeclaredOn = (stack: Stack, service: string, networkName: string): boolean =>
  Object.keys(stack.services[service]?.networks ?? {}).some((key) => stack.networks[key]?.name === networkName);

/** Whether any task of a service should be on a network: by its file, or by a command. */
export function isOn(state: ClusterState, stack: Stack, service: string, network: Pick<Network, 'id' | 'name'>): boolean {
  const said = connectionsOf(state, stack.name).filter((c) => c.service === service && c.networkId === network.id);
  if (said.some((c) => !c.off)) return true;
  return isDeclaredOn(stack, service, network.name) && !said.some((c) => c.slot === undefined);
}

/**
 * What an `up` does away with: word against the file (the file is said again), word that the file says now itself, and word
 * of services that are gone. All of it if the stack was being removed.
 */
export function saidAgain(state: ClusterState, stack: Stack, wasRemoving: boolean): Connection[] {
  return connectionsOf(state, stack.name).filter((c) => {
    const network = state.networks.get(c.networkId);
    return wasRemoving || c.off || !network || !stack.services[c.service] || isDeclaredOn(stack, c.service, network.name);
  });
}

/** Takes records back, as they were when this was decided. */
export function forget(state: ClusterState, connections: readonly Connection[]): { compares: Compare[]; writes: Write[] } {
  const all = connections.map(keyOfConnection);
  return {
    compares: all.map((key) => ({ key, modRevision: state.revisionOf(key) })),
    writes: all.map((key) => ({ delete: key })),
  };
}

/** Word that nobody can mean any more: its stack, service, task or network is gone. */
export function staleConnections(state: ClusterState): Connection[] {
  return [...state.connections.keys()].flatMap((stack) => connectionsOf(state, stack).filter((c) => isStale(state, c)));
}

function isStale(state: ClusterState, c: Connection): boolean {
  if (state.revisionOf(keys.network(c.networkId)) === 0) return true;
  const record = state.stacks.get(c.stack);
  // A stack that is there but cannot be read keeps what is said of it.
  if (!record) return state.revisionOf(keys.stack(c.stack)) === 0;
  const service = record.spec.services[c.service];
  if (!service) return true;
  const hasSlots = service.mode === undefined || service.mode === 'replicated';
  return hasSlots && c.slot !== undefined && c.slot > service.replicas;
}
