/** What a task's own namespace holds: its interfaces, addresses, routes, sysctls and nft table. */
import { remembered } from '#base/remembered.js';
import { childLink, hasNextHop, resolverOf, serviceLink, serviceRoute } from './child-network.js';
import type { Address, Link, NamespaceState, Route, Rule } from './kernel-state.js';
import { addressKey, emptyNamespace, keyed, routeKey, ruleKey } from './kernel-state.js';
import { lanGuardTable } from './lan-guard.js';
import { DEVICE_TABLE, SERVICE_DEVICE, TASK_TABLE, TASK_TABLE6 } from './names.js';
import { homeOf, prefixOf, subnets4 } from './network-view.js';
import { tableText } from './nft-text.js';
import { taskTable, type TaskResolver } from './task-firewall.js';
import { exitOf, type TaskInterface } from './task-interfaces.js';
import { hasIpv6, taskAddresses6, taskRoutes6, taskRules6, taskSysctls6 } from './task-ipv6.js';
import { vipChains, vipSets, type VipRecord } from './vip-table.js';

export interface TaskNamespaceInput {
  /** In their order: the first is asked for names. */
  interfaces: readonly TaskInterface[];
  vips: VipRecord;
  vips6: VipRecord;
  flows: readonly string[];
  /** The service's own (`sysctls`); those that are not of the network are the container runtime's to set. */
  sysctls?: Readonly<Record<string, string>>;
}

/** Routing tables and rule priorities of our source rules start here. */
const FIRST_TABLE = 100;
const FIRST_PRIORITY = 1000;

/** Namespace defaults: a program without privileges may bind port 80 and ping; the task routes nothing. */
const TASK_SYSCTLS: Record<string, string> = {
  'net.ipv4.ip_forward': '0',
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
  // Lets 127.0.0.1 talk to 127.0.0.11, which nft sends to the gateway. Strangers are kept off by the table's raw rule.
  'net.ipv4.conf.all.route_localnet': '1',
};

/** The tasks of a network have one and the same. */
const taskTableOf = remembered((asked: TaskResolver | undefined) => JSON.stringify(asked) ?? '', taskTable);

/** The same for every task: what is in its maps comes beside it. */
const taskTable6 = tableText(vipSets(TASK_TABLE6), vipChains(TASK_TABLE6));

export function taskNamespaceState({ interfaces, vips, vips6, flows, sysctls = {} }: TaskNamespaceInput): NamespaceState {
  const six = hasIpv6(interfaces);
  const guard = lanGuardTable(interfaces);
  return {
    ...emptyNamespace(),
    links: { lo: { kind: 'loopback', up: true }, ...Object.fromEntries([...interfaces.map(taskLink), ...serviceLinks(interfaces)]) },
    addresses: keyed([...interfaces.map(taskAddress), ...taskAddresses6(interfaces)], addressKey),
    routes: keyed([...taskRoutes(interfaces), ...taskRoutes6(interfaces, FIRST_TABLE)], routeKey),
    rules: keyed([...sourceRules(interfaces), ...taskRules6(interfaces, FIRST_TABLE)], ruleKey),
    sysctls: { ...TASK_SYSCTLS, ...taskSysctls6(interfaces), ...ofTheNetwork(sysctls) },
    nft: {
      [TASK_TABLE]: taskTableOf(resolver(interfaces)),
      ...(six ? { [TASK_TABLE6]: taskTable6 } : {}),
      ...(guard === undefined ? {} : { [DEVICE_TABLE]: guard }),
    },
    vips: { [TASK_TABLE]: vips, ...(six ? { [TASK_TABLE6]: vips6 } : {}) },
    flows,
  };
}

/** One that waits for a task: its settings are made, and there is no way in or out. */
export const spareNamespaceState = (): NamespaceState => ({
  ...emptyNamespace(),
  links: { lo: { kind: 'loopback', up: true } },
  sysctls: { ...TASK_SYSCTLS, ...taskSysctls6([]) },
});

/** They are set before there is any interface: `conf.default` is taken over by each. */
const ofTheNetwork = (sysctls: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(sysctls).filter(([key]) => key.startsWith('net.')));

const taskLink = (i: TaskInterface): [string, Link] => [
  i.name,
  i.parent === undefined ? { kind: 'task', up: true, mac: i.mac, mtu: i.network.mtu } : childLink(i.network, i.parent, i.mac),
];

/** The first of a network without a bridge: with its address the task speaks on the wire to its node. */
const wired = (interfaces: readonly TaskInterface[]): TaskInterface | undefined => interfaces.find((i) => i.parent !== undefined);

function serviceLinks(interfaces: readonly TaskInterface[]): [string, Link][] {
  const first = wired(interfaces);
  return first ? [[SERVICE_DEVICE, serviceLink(first.ipv4)]] : [];
}

/** A gateway of ours if there is one. */
function resolver(interfaces: readonly TaskInterface[]): TaskResolver | undefined {
  const asked = interfaces.find((i) => i.parent === undefined) ?? interfaces[0];
  if (!asked) return undefined;
  const address = resolverOf(asked.network);
  return asked.parent === undefined ? { address } : { address, device: { name: SERVICE_DEVICE, source: asked.ipv4 } };
}

const taskAddress = (i: TaskInterface): Address => ({ dev: i.name, address: `${i.ipv4}/${prefixOf(homeOf(i.network, i.ipv4).subnet)}` });

function taskRoutes(interfaces: readonly TaskInterface[]): Route[] {
  const exit = exitOf(interfaces);
  const speaker = wired(interfaces);
  const several = interfaces.length > 1;
  return [
    ...interfaces.flatMap((i) => connected(i, 'main')),
    ...(exit ? [leave(exit, 'main')] : []),
    ...(speaker ? [serviceRoute('main', speaker.ipv4)] : []),
    ...(several ? interfaces.flatMap((i, n) => sourceRoutes(i, String(FIRST_TABLE + n))) : []),
  ];
}

/** All subnets of a network are one link. */
const connected = (i: TaskInterface, table: string): Route[] =>
  subnets4(i.network).map(({ subnet }) => ({ table, destination: subnet, dev: i.name, source: i.ipv4 }));
const leave = (i: TaskInterface, table: string): Route => ({
  table,
  destination: 'default',
  dev: i.name,
  ...(hasNextHop(i.network) ? { via: homeOf(i.network, i.ipv4).gateway } : {}),
});

function sourceRoutes(i: TaskInterface, table: string): Route[] {
  const toNode = i.parent === undefined ? [] : [serviceRoute(table, i.ipv4)];
  return [...connected(i, table), ...toNode, ...(i.network.internal ? [] : [leave(i, table)])];
}

/** A reply leaves by the interface its address is on; by another it would be dropped there as spoofed. */
function sourceRules(interfaces: readonly TaskInterface[]): Rule[] {
  if (interfaces.length < 2) return [];
  return interfaces.map((i, n) => ({ priority: FIRST_PRIORITY + n, from: i.ipv4, table: String(FIRST_TABLE + n) }));
}
