/** The record of a network that is being made: its subnets of both families, declared or chosen, and its VNI. */
import { parseSubnet } from '#base/ip.js';
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import type { NetworkWish, SubnetWish } from '#model/network-wish.js';
import { overlapAmong, subnetFaults } from '#model/subnet-rules.js';
import { checkSubnet, chooseSubnet, chooseSubnet6, uniqueLocalPrefix, type UsedRange } from './choose-subnet.js';
import type { ClusterState } from './cluster-state.js';
import { gatewayOf, settled, subnetsOf, wishedSubnets, type NetworkSubnet } from './network-subnets.js';
import { isChildDriver } from './child-drivers.js';
import { DEFAULT_POOLS, DEFAULT_SUBNET_PREFIX, type Pool } from './pool.js';

/** What networks of one plan are made from; `used` and `pool` move on with each. */
export interface Materials {
  state: ClusterState;
  used: UsedRange[];
  pool: Pool;
  newId: () => string;
  now: number;
}

/** @throws SUBNET_CLASH, BAD_VALUE */
export function newNetwork(all: Materials, wish: NetworkWish, stack: string): Network {
  const materials = { ...all, used: usedFor(wish, all.used) };
  const { v4, v6 } = wishedSubnets(wish);
  checkSubnets(wish.name, [...v4, ...(v6 ? [v6] : [])]);
  const [first = chosen(materials), ...more] = v4.map((s) => declared(materials, wish.name, s));
  const network: Network = {
    id: materials.newId(),
    name: wish.name,
    stack,
    key: wish.key,
    driver: wish.driver,
    internal: wish.internal,
    ...first,
    ...(more.length === 0 ? {} : { moreSubnets: more }),
    ...(wish.ipv6 ? { ipv6: subnet6(materials, wish.name, v6) } : {}),
    ...(wish.attachable === undefined ? {} : { attachable: wish.attachable }),
    ...(wish.options === undefined ? {} : { options: wish.options }),
    vni: ++materials.pool.vni,
    labels: wish.labels,
    createdAt: materials.now,
  };
  for (const { subnet } of subnetsOf(network)) use(all, wish.name, subnet);
  return network;
}

/** Tasks of a driver without a bridge stand in the site's LAN: its subnet is that of a route. */
const usedFor = (wish: NetworkWish, used: UsedRange[]): UsedRange[] => (isChildDriver(wish) ? used.filter((u) => !u.isSite) : used);

/** The IPv6 subnet of a network: declared, or the next of the cluster's unique local prefix. */
export function subnet6(materials: Materials, name: string, wish: SubnetWish | undefined): NetworkSubnet {
  if (wish) return declared(materials, name, wish);
  materials.pool.ula ??= uniqueLocalPrefix(`${materials.newId()} ${materials.now}`);
  const subnet = chooseSubnet6(materials.pool.ula, materials.used);
  return { subnet, gateway: gatewayOf(subnet) };
}

/** @throws SUBNET_CLASH */
export function declared(materials: Materials, name: string, wish: SubnetWish): NetworkSubnet {
  checkSubnet(name, wish.subnet, materials.used);
  return settled(wish);
}

export function use(materials: Materials, name: string, subnet: string): void {
  materials.used.push({ subnet: parseSubnet(subnet), what: `network ${name} (${subnet})` });
}

function chosen({ state: { cluster }, used }: Materials): NetworkSubnet {
  const subnet = chooseSubnet(cluster?.pools ?? DEFAULT_POOLS, cluster?.subnetPrefix ?? DEFAULT_SUBNET_PREFIX, used);
  return { subnet, gateway: gatewayOf(subnet) };
}

/** The same rules as where a file is read: a wish may come from a command. @throws BAD_VALUE */
export function checkSubnets(name: string, wishes: readonly SubnetWish[]): void {
  for (const wish of wishes) {
    const [fault] = subnetFaults(wish);
    if (fault) throw new WeftError('BAD_VALUE', { what: `network ${name} cannot be made`, why: fault.message });
  }
  const overlap = overlapAmong(wishes);
  if (overlap)
    throw new WeftError('BAD_VALUE', { what: `network ${name} cannot be made`, why: `its subnets ${overlap.join(' and ')} overlap` });
}
