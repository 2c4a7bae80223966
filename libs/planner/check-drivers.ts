/** What an `up` asks of network drivers that the cluster cannot give: refused before anything is stored. */
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import { isGlobal } from '#model/service-mode.js';
import type { Service, Stack } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';
import { lackOf } from './node-fits.js';
import { standingOf } from './schedule.js';
import { isChildDriver } from './child-drivers.js';

/**
 * @param networks the stack's networks by key, as they will be
 * @throws BAD_VALUE naming network, service and node
 */
export function checkDrivers(state: ClusterState, stack: Stack, networks: ReadonlyMap<string, Network>): void {
  for (const [key, network] of networks) {
    const users = Object.values(stack.services).filter((s) => s.networks[key] !== undefined && s.replicas > 0);
    const path = ['networks', key, 'driver'];
    if (isChildDriver(network)) checkParent(state, network, users, { beside: [...networks.values()], path });
    if (network.driver === 'bridge') checkMeeting(state, network, users, path);
  }
  for (const service of Object.values(stack.services)) checkDoor(service, networks);
}

/** A network that a command adds to a service. @throws BAD_VALUE */
export function checkDriver(state: ClusterState, network: Network, stack: string, service: Service): void {
  if (isChildDriver(network)) {
    checkParent(state, network, [service]);
    for (const task of state.tasksOfService(stack, service.name)) {
      const node = state.nodes.get(task.nodeId);
      const lack = node && lackOf(state, node, network);
      if (lack !== undefined)
        throw new WeftError('BAD_VALUE', { what: `task ${task.name} cannot be on network ${network.name} (${network.driver})`, why: lack });
    }
  }
  if (network.driver === 'bridge') checkMeeting(state, network, [...usersNow(state, network), service]);
}

/** The services that have tasks on a network. */
function usersNow(state: ClusterState, network: Network): Service[] {
  const users = state.tasksOfNetwork(network.id).map((t) => state.stacks.get(t.stack)?.spec.services[t.service]);
  return [...new Set(users.filter((s) => s !== undefined))];
}

/** What a file says of a network, and with it. */
interface InFile {
  /** Networks that are made with it. */
  beside?: readonly Network[];
  /** Where its driver stands. */
  path?: readonly string[];
}

/** Some node must be able to; which ones are is the scheduler's to know. */
function checkParent(state: ClusterState, network: Network, users: readonly Service[], { beside = [], path }: InFile = {}): void {
  checkSharedParent(network, [...beside, ...state.networks.values()]);
  if (users.length === 0) return;
  const ready = [...state.nodes.values()].filter((n) => standingOf(state, n.id) === 'ready');
  const lacks = ready.map((node) => lackOf(state, node, network));
  if (ready.length === 0 || lacks.includes(undefined)) return;
  throw new WeftError('BAD_VALUE', {
    what: `network ${network.name} (${network.driver}) can be on no node`,
    why: lacks.join('; '),
    hint:
      network.driver === 'ipvlan'
        ? 'Load the kernel module (modprobe ipvlan), choose the driver macvlan, or name a parent that the nodes have.'
        : 'Name a parent that the nodes have (`ip link` shows them), or load the kernel module.',
    ...(path ? { path } : {}),
  });
}

/**
 * The kernel lets a device be the parent of one kind only (EBUSY); and all ipvlan interfaces of a device are in one mode, that of the
 * last one made, whatever the others were made with (ip-link(8); drivers/net/ipvlan/ipvlan_main.c, `ipvlan_set_port_mode`).
 */
function checkSharedParent(network: Network, others: readonly Network[]): void {
  const parent = network.options?.parent;
  const refuse = (why: string) => {
    const hint = 'Give one of them a VLAN of the device, or another device.';
    throw new WeftError('BAD_VALUE', { what: `network ${network.name} cannot have the parent ${parent}`, why, hint });
  };
  for (const other of others) {
    if (other.name === network.name || !isChildDriver(other) || other.options?.parent !== parent) continue;
    const has = `network ${other.name} has it for ${other.driver}`;
    if (other.driver !== network.driver) refuse(`${has}, and a device is the parent of macvlan or of ipvlan interfaces, not of both`);
    if (network.driver === 'ipvlan' && ipvlanMode(other) !== ipvlanMode(network))
      refuse(`${has} in mode ${ipvlanMode(other)}, and all ipvlan interfaces of a device are in one mode`);
  }
}

const ipvlanMode = ({ options }: Network): string => options?.ipvlanMode ?? 'l2';

const PIN = /^\s*node\.(id|hostname|name)\s*==\s*(\S+)\s*$/;

/** The node that a service is bound to by its constraints. */
function pinOf(service: Service): string | undefined {
  const pins = service.placement?.constraints.flatMap((c) => PIN.exec(c)?.slice(1, 3).join('=') ?? []);
  return pins?.[0];
}

/** A `bridge` network ends at its node: tasks on two nodes would each find an empty one. */
function checkMeeting(state: ClusterState, network: Network, users: readonly Service[], path?: readonly string[]): void {
  const tasks = users.reduce((n, s) => n + (isGlobal(s) ? state.nodes.size : s.replicas), 0);
  if (tasks < 2 || state.nodes.size < 2) return;
  const pins = new Set(users.map(pinOf));
  if (pins.size === 1 && !pins.has(undefined)) return;
  throw new WeftError('BAD_VALUE', {
    what: `network ${network.name} cannot join ${users.map((s) => s.name).join(', ')}`,
    why: `its driver is bridge, which ends at the node, and their ${tasks} tasks may run on ${state.nodes.size} nodes`,
    hint: 'Use the driver overlay, or bind the services to one node: deploy.placement.constraints: [node.hostname == NAME].',
    ...(path ? { path } : {}),
  });
}

/** Ports come in by a bridge. @throws BAD_VALUE */
function checkDoor(service: Service, networks: ReadonlyMap<string, Network>): void {
  const on = Object.keys(service.networks).flatMap((key) => networks.get(key) ?? []);
  if (service.ports.length === 0 || on.length === 0 || !on.every(isChildDriver)) return;
  throw new WeftError('BAD_VALUE', {
    what: `service ${service.name} cannot publish ports`,
    why: `its networks are ${on.map((n) => n.driver).join(' and ')}: its tasks are in the LAN with addresses of their own`,
    hint: 'Reach it at its own address, or give it an overlay network too.',
  });
}
