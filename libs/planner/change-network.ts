/** A network that is there, against what its file says now: what changes in place, and what only a new network can be. */
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import type { NetworkOptions, NetworkWish, SubnetWish } from '#model/network-wish.js';
import { holderOf } from './holders.js';
import { keptAddresses, settled, subnets4Of, subnetsOf, wishedSubnets, type NetworkSubnet } from './network-subnets.js';
import { checkSubnets, declared, subnet6, use, type Materials } from './new-network.js';
import { sameValue } from './spec-hash.js';

/** Options that every device takes while it runs. */
const LIVE_OPTIONS: ReadonlySet<keyof NetworkOptions> = new Set(['mtu', 'ipv6Routed']);

/** @param before the networks that the stack declared until now: a subnet that the file never had was added by a command, and stays */
export function deepChanges(existing: Network, wish: NetworkWish, before: readonly NetworkWish[]): string[] {
  const { v4, v6 } = wishedSubnets(wish);
  const [first] = v4;
  const changes: string[] = [];
  if (existing.driver !== wish.driver) changes.push(`driver: ${existing.driver} → ${wish.driver}`);
  if (first && first.subnet !== existing.subnet) changes.push(`subnet: ${existing.subnet} → ${first.subnet}`);
  const declaredBefore = before.filter((w) => w.name === wish.name).flatMap((w) => wishedSubnets(w).v4.map((s) => s.subnet));
  for (const { subnet } of subnets4Of(existing).slice(1)) {
    if (declaredBefore.includes(subnet) && !v4.some((s) => s.subnet === subnet)) changes.push(`subnet ${subnet} is taken away`);
  }
  if (existing.ipv6 && !wish.ipv6) changes.push('IPv6 is taken away');
  if (existing.ipv6 && v6 && v6.subnet !== existing.ipv6.subnet) changes.push(`subnet: ${existing.ipv6.subnet} → ${v6.subnet}`);
  for (const [is, want] of pairs(existing, wish)) {
    const gateway = settled(want).gateway;
    if (is.gateway !== gateway) changes.push(`gateway of ${is.subnet}: ${is.gateway} → ${gateway}`);
  }
  return [...changes, ...optionChanges(existing, wish, false)];
}

/** Each subnet that is there and declared too. */
function pairs(existing: Network, wish: NetworkWish): [NetworkSubnet, SubnetWish][] {
  const { v4, v6 } = wishedSubnets(wish);
  return [...v4, ...(v6 ? [v6] : [])].flatMap((want): [NetworkSubnet, SubnetWish][] => {
    const is = subnetsOf(existing).find((s) => s.subnet === want.subnet);
    return is ? [[is, want]] : [];
  });
}

function optionChanges(existing: Network, wish: NetworkWish, live: boolean): string[] {
  const [is, want] = [existing.options ?? {}, wish.options ?? {}];
  const names = [...new Set([...Object.keys(is), ...Object.keys(want)])] as (keyof NetworkOptions)[];
  return names
    .filter((name) => LIVE_OPTIONS.has(name) === live && is[name] !== want[name])
    .map((name) => `${name}: ${String(is[name] ?? 'unset')} → ${String(want[name] ?? 'unset')}`);
}

export function changesInPlace(existing: Network, wish: NetworkWish): string[] {
  const added = wishedSubnets(wish).v4.filter((want) => !subnets4Of(existing).some((s) => s.subnet === want.subnet));
  return [
    ...(existing.internal === wish.internal ? [] : [`internal: ${existing.internal} → ${wish.internal}`]),
    ...((existing.attachable ?? false) === (wish.attachable ?? false) ? [] : [`attachable: ${wish.attachable ?? false}`]),
    ...(sameValue(existing.labels, wish.labels) ? [] : ['labels changed']),
    ...(existing.key === wish.key ? [] : [`key: ${existing.key} → ${wish.key}`]),
    ...pairs(existing, wish)
      .filter(([is, want]) => !sameRange(is, want))
      .map(([is]) => `range or kept addresses of ${is.subnet} changed`),
    ...(wishedSubnets(wish).v4.length === 0 ? [] : added.map((s) => `subnet ${s.subnet} is added`)),
    ...(wish.ipv6 && !existing.ipv6 ? ['IPv6 is added'] : []),
    ...optionChanges(existing, wish, true),
  ];
}

const sameRange = (is: NetworkSubnet, want: SubnetWish): boolean =>
  is.ipRange === want.ipRange && sameValue(is.auxAddresses ?? {}, want.auxAddresses ?? {});

/** The record with all changes in place. @throws SUBNET_CLASH, BAD_VALUE, CONFLICT (an address is kept that somebody holds) */
export function edited(materials: Materials, wish: NetworkWish, existing: Network): Network {
  const { v4, v6 } = wishedSubnets(wish);
  checkSubnets(wish.name, [...v4, ...(v6 ? [v6] : [])]);
  const wanted = new Map(pairs(existing, wish).map(([is, want]) => [is.subnet, settled(want)]));
  const [first = { subnet: existing.subnet, gateway: existing.gateway }, ...rest] = subnets4Of(existing).map(
    (s) => wanted.get(s.subnet) ?? s,
  );
  const added = v4
    .filter((want) => !subnets4Of(existing).some((s) => s.subnet === want.subnet))
    .map((s) => declared(materials, wish.name, s));
  for (const { subnet } of added) use(materials, wish.name, subnet);
  const more = [...rest, ...added];
  const next: Network = {
    ...existing,
    ...{ ipRange: undefined, auxAddresses: undefined, ...first },
    moreSubnets: more.length === 0 ? undefined : more,
    ipv6: existing.ipv6 ? (wanted.get(existing.ipv6.subnet) ?? existing.ipv6) : wish.ipv6 ? subnet6(materials, wish.name, v6) : undefined,
    internal: wish.internal,
    attachable: wish.attachable,
    options: wish.options,
    labels: wish.labels,
    key: wish.key,
  };
  checkKept(materials, existing, next);
  return next;
}

function checkKept({ state }: Materials, existing: Network, next: Network): void {
  const before = keptAddresses(existing);
  for (const address of keptAddresses(next).keys()) {
    const lease = state.leases.get(existing.id)?.get(address);
    if (before.has(address) || !lease || lease.restsUntil !== undefined) continue;
    throw new WeftError('CONFLICT', {
      what: `network ${next.name} cannot keep the address ${address}`,
      why: `${holderOf(state, lease)} holds it`,
      hint: 'Keep another address, or stop its holder first.',
    });
  }
}
