/** Which stacks speak of a network: the one that declares it, and those that call it external. */
import type { Network } from '#model/network.js';
import type { Stack } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';

/** Names of the stacks, not those that are being removed. */
export function usersOf(state: ClusterState, network: Pick<Network, 'name' | 'stack'>): string[] {
  const users: string[] = [];
  for (const { spec, removing } of state.stacks.values()) {
    if (removing) continue;
    const wish = Object.values(spec.networks).find((w) => w.name === network.name);
    if (wish && (wish.external || spec.name === network.stack)) users.push(spec.name);
  }
  return users;
}

/** Whether a service of a stack is on the network of this name. */
export const isOn = (stack: Stack, service: string, networkName: string): boolean =>
  Object.keys(stack.services[service]?.networks ?? {}).some((key) => stack.networks[key]?.name === networkName);
