/** What `ctl network create`, `update` and `rm` write: networks of no stack, which stacks use as external. */
import { parseSubnet } from '#base/ip.js';
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Network } from '#model/network.js';
import type { NetworkWish } from '#model/network-wish.js';
import { usedRanges } from './choose-subnet.js';
import type { ClusterState } from './cluster-state.js';
import { checkMtu } from './network-mtu.js';
import { usersOf } from './network-users.js';
import { checkSubnets, declared, newNetwork, use, type Materials } from './new-network.js';
import { networkRemoval } from './plan-cleanup.js';
import type { Compare, Write } from './transaction.js';

export interface NetworkVerbPlan {
  network: Network;
  compares: Compare[];
  writes: Write[];
}

/** By name or id. @throws NOT_FOUND */
export function findNetwork(state: ClusterState, text: string): Network {
  const network = state.networks.get(state.networkNames.get(text) ?? text);
  if (network) return network;
  throw new WeftError('NOT_FOUND', {
    what: `there is no network ${JSON.stringify(text)}`,
    hint: 'List the networks with `ctl network ls`.',
  });
}

const poolWrite = ({ state, pool }: Materials): { compares: Compare[]; writes: Write[] } => ({
  compares: [{ key: keys.pool(), modRevision: state.revisionOf(keys.pool()) }],
  writes: [{ put: keys.pool(), value: encode(pool) }],
});

/** @throws CONFLICT, SUBNET_CLASH, BAD_VALUE */
export function planNetworkCreation(state: ClusterState, wish: NetworkWish, newId: () => string, now: number): NetworkVerbPlan {
  const pointer = keys.networkName(wish.name);
  if (state.revisionOf(pointer) > 0) {
    const there = state.networks.get(state.networkNames.get(wish.name) ?? '');
    throw new WeftError('CONFLICT', {
      what: `there is a network ${wish.name} already`,
      why: there?.stack ? `stack ${there.stack} declares it` : 'it was made by `ctl network create`',
      hint: 'Choose another name.',
    });
  }
  const materials: Materials = { state, used: usedRanges(state), pool: { ...state.pool }, newId, now };
  const network = newNetwork(materials, wish, '');
  checkMtu(state, network);
  const pool = poolWrite(materials);
  return {
    network,
    compares: [{ key: pointer, modRevision: 0 }, ...pool.compares],
    writes: [{ put: keys.network(network.id), value: encode(network) }, { put: pointer, value: network.id }, ...pool.writes],
  };
}

/** More subnets, behind those that are there. @throws NOT_FOUND, SUBNET_CLASH, BAD_VALUE */
export function planNetworkGrowth(state: ClusterState, text: string, subnets: readonly string[], now: number): NetworkVerbPlan {
  const network = findNetwork(state, text);
  if (subnets.some((s) => parseSubnet(s).family === 6))
    throw new WeftError('BAD_VALUE', { what: `network ${network.name} cannot have another IPv6 subnet`, why: 'a /64 is never full' });
  const wishes = subnets.map((subnet) => ({ subnet }));
  checkSubnets(network.name, wishes);
  const materials: Materials = { state, used: usedRanges(state), pool: { ...state.pool }, newId: () => '', now };
  const added = wishes.map((wish) => {
    const subnet = declared(materials, network.name, wish);
    use(materials, network.name, wish.subnet);
    return subnet;
  });
  const next: Network = { ...network, moreSubnets: [...(network.moreSubnets ?? []), ...added] };
  const key = keys.network(network.id);
  const pool = poolWrite(materials);
  return {
    network: next,
    compares: [{ key, modRevision: state.revisionOf(key) }, ...pool.compares],
    writes: [{ put: key, value: encode(next) }, ...pool.writes],
  };
}

/** @throws NOT_FOUND, CONFLICT naming who uses it */
export function planNetworkRemoval(state: ClusterState, text: string): NetworkVerbPlan {
  const network = findNetwork(state, text);
  const refuse = (why: string, hint: string) => new WeftError('CONFLICT', { what: `network ${network.name} cannot be removed`, why, hint });
  if (network.stack !== '' && state.stacks.has(network.stack))
    throw refuse(`stack ${network.stack} declares it`, `It goes with \`ctl down -p ${network.stack}\`.`);
  const users = usersOf(state, network);
  if (users.length > 0) throw refuse(`stack ${users.join(', ')} uses it`, 'Bring these stacks down first.');
  const tasks = state.tasksOfNetwork(network.id);
  if (tasks.length > 0) throw refuse(`task ${tasks[0]?.name} is still on it`, 'Wait until it has stopped, and try again.');
  return { network, ...networkRemoval(state, network) };
}
