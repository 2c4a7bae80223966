/** What a task's namespace holds for its networks with IPv6. */
import type { Address, Route, Rule } from './kernel-state.js';
import { prefixOf } from './network-view.js';
import { exitOf, type TaskInterface } from './task-interfaces.js';

/** Other numbers than those of IPv4, so that each priority is one rule. */
const FIRST_PRIORITY6 = 2000;

/** IPv6 is off, and so it is on interfaces still to come. */
const OFF: Record<string, string> = { 'net.ipv6.conf.all.disable_ipv6': '1', 'net.ipv6.conf.default.disable_ipv6': '1' };

/** On; nothing is learned from the wire and nothing is asked before an address is used: Weft sees to it that it is nobody else's. */
const ON: Record<string, string> = {
  'net.ipv6.conf.all.disable_ipv6': '0',
  'net.ipv6.conf.default.disable_ipv6': '0',
  'net.ipv6.conf.all.forwarding': '0',
  'net.ipv6.conf.default.accept_ra': '0',
  'net.ipv6.conf.default.accept_redirects': '0',
  'net.ipv6.conf.default.dad_transmits': '0',
};

interface Interface6 extends TaskInterface {
  ipv6: string;
  subnet: string;
  gateway: string;
}

/** Those with an address of their own in a network with IPv6. */
const with6 = (interfaces: readonly TaskInterface[]): Interface6[] =>
  interfaces.flatMap((i) => {
    const { ipv6 } = i.network;
    return ipv6 && i.ipv6 !== undefined ? [{ ...i, ipv6: i.ipv6, subnet: ipv6.subnet, gateway: ipv6.gateway }] : [];
  });

export const hasIpv6 = (interfaces: readonly TaskInterface[]): boolean => with6(interfaces).length > 0;

export const taskSysctls6 = (interfaces: readonly TaskInterface[]): Record<string, string> => (hasIpv6(interfaces) ? ON : OFF);

export const taskAddresses6 = (interfaces: readonly TaskInterface[]): Address[] =>
  with6(interfaces).map((i) => ({ dev: i.name, address: `${i.ipv6}/${prefixOf(i.subnet)}` }));

const connected = (i: Interface6, table: string): Route => ({ table, destination: i.subnet, dev: i.name, source: i.ipv6 });
const leave = (i: Interface6, table: string): Route => ({ table, destination: '::/0', dev: i.name, via: i.gateway });

/** @param firstTable of the source tables; they are numbered as the interfaces are */
export function taskRoutes6(interfaces: readonly TaskInterface[], firstTable: number): Route[] {
  const six = with6(interfaces);
  const exit = six.find((i) => i.name === exitOf(six)?.name);
  const tables = six.length < 2 ? [] : six.map((i) => ({ i, table: tableOf(interfaces, i, firstTable) }));
  return [
    ...six.map((i) => connected(i, 'main')),
    ...(exit ? [leave(exit, 'main')] : []),
    ...tables.flatMap(({ i, table }) => [connected(i, table), ...(i.network.internal ? [] : [leave(i, table)])]),
  ];
}

export function taskRules6(interfaces: readonly TaskInterface[], firstTable: number): Rule[] {
  const six = with6(interfaces);
  if (six.length < 2) return [];
  return six.map((i, n) => ({ priority: FIRST_PRIORITY6 + n, from: i.ipv6, table: tableOf(interfaces, i, firstTable) }));
}

const tableOf = (interfaces: readonly TaskInterface[], i: Interface6, firstTable: number): string =>
  String(firstTable + interfaces.findIndex((other) => other.name === i.name));
