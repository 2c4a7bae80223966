/** What a task's own namespace holds: its interfaces, addresses, routes, sysctls and nft table. */
import { parseCidr } from '#base/address.js';
import type { NetworkView } from '#model/node-view.js';
import type { Address, Link, NamespaceState, Route, Rule } from './kernel-state.js';
import { addressKey, emptyNamespace, keyed, routeKey, ruleKey } from './kernel-state.js';
import { TASK_TABLE } from './names.js';
import { taskTable } from './task-firewall.js';
import type { Vip } from './vip-table.js';

/** One interface of a task. */
export interface TaskInterface {
  name: string;
  network: NetworkView;
  ipv4: string;
  mac: string;
}

export interface TaskNamespaceInput {
  /** In the order of their names: eth0 first. */
  interfaces: readonly TaskInterface[];
  vips: readonly Vip[];
  flows: readonly string[];
}

/** Routing tables and rule priorities of our source rules start here. */
const FIRST_TABLE = 100;
const FIRST_PRIORITY = 1000;

/** Namespace defaults: a program without privileges may bind port 80 and ping; the task routes nothing; no IPv6 yet. */
const TASK_SYSCTLS: Record<string, string> = {
  'net.ipv4.ip_forward': '0',
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
  // Lets 127.0.0.1 talk to 127.0.0.11, which nft sends to the gateway. Strangers are kept off by the table's raw rule.
  'net.ipv4.conf.all.route_localnet': '1',
  'net.ipv6.conf.all.disable_ipv6': '1',
  'net.ipv6.conf.default.disable_ipv6': '1',
};

export function taskNamespaceState({ interfaces, vips, flows }: TaskNamespaceInput): NamespaceState {
  return {
    ...emptyNamespace(),
    links: { lo: { kind: 'loopback', up: true }, ...Object.fromEntries(interfaces.map((i) => [i.name, taskLink(i)])) },
    addresses: keyed(interfaces.map(taskAddress), addressKey),
    routes: keyed(taskRoutes(interfaces), routeKey),
    rules: keyed(sourceRules(interfaces), ruleKey),
    sysctls: TASK_SYSCTLS,
    nft: { [TASK_TABLE]: taskTable(interfaces[0]?.network.gateway, vips) },
    flows,
  };
}

const taskLink = (i: TaskInterface): Link => ({ kind: 'task', up: true, mac: i.mac, mtu: i.network.mtu });
const taskAddress = (i: TaskInterface): Address => ({ dev: i.name, address: `${i.ipv4}/${parseCidr(i.network.subnet).prefix}` });

function taskRoutes(interfaces: readonly TaskInterface[]): Route[] {
  const exit = interfaces.find((i) => !i.network.internal);
  const several = interfaces.length > 1;
  return [
    ...interfaces.map((i) => connected(i, 'main')),
    ...(exit ? [leave(exit, 'main')] : []),
    ...(several ? interfaces.flatMap((i, n) => sourceRoutes(i, String(FIRST_TABLE + n))) : []),
  ];
}

const connected = (i: TaskInterface, table: string): Route => ({ table, destination: i.network.subnet, dev: i.name, source: i.ipv4 });
const leave = (i: TaskInterface, table: string): Route => ({ table, destination: 'default', dev: i.name, via: i.network.gateway });

function sourceRoutes(i: TaskInterface, table: string): Route[] {
  return [connected(i, table), ...(i.network.internal ? [] : [leave(i, table)])];
}

/** A reply leaves by the interface its address is on; by another it would be dropped there as spoofed. */
function sourceRules(interfaces: readonly TaskInterface[]): Rule[] {
  if (interfaces.length < 2) return [];
  return interfaces.map((i, n) => ({ priority: FIRST_PRIORITY + n, from: i.ipv4, table: String(FIRST_TABLE + n) }));
}
