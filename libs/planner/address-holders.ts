/**
 * Who has an address of a network, or a MAC there, and keeps it when a stack is brought up. What the same `up` takes from
 * somebody is in nobody's way: a task of a service that goes, is made anew, leaves the network or gets another address, and
 * the service's own virtual address. Nobody else's task is moved for it.
 */
import { macOfIp } from '#base/address.js';
import { keys } from '#model/keys.js';
import type { Endpoint, Network } from '#model/network.js';
import type { Attachment, Service, Stack, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { addressesOf } from './allocate.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { connectionsOfSlot } from './connections.js';
import { isDead } from './dead-nodes.js';
import { hasAddresses } from './edit-task.js';
import { describeHolder, describeTask } from './holders.js';
import type { DeclaredAddresses } from './network-subnets.js';
import { unwantedSlot } from './service-slots.js';
import { specHash } from './spec-hash.js';
import { wasStopped } from './stopped-services.js';
import type { WantedEndpoint } from './wanted-networks.js';

/** A stack as it is to be. */
export interface Wanted {
  stack: Stack;
  /** Its networks by key. */
  networks: ReadonlyMap<string, Network>;
  restarts?: StackRecord['restarts'];
  /** Services of it that stay stopped, if they are. */
  kept?: Pick<ReadonlySet<string>, 'has'>;
}

/** Somebody who is in the way. */
export interface Keeper {
  /** As a person calls it. */
  who: string;
  /** The node that it is on, if that is dead: nobody knows when it lets go. */
  deadNode?: string;
}

/** Who has an address and keeps it; undefined when `service` can have it, now or when its holder has let go. */
export function keeperOf(state: ClusterState, wanted: Wanted, service: string, network: Network, address: string): Keeper | undefined {
  const lease = state.leases.get(network.id)?.get(address);
  if (!lease || lease.restsUntil !== undefined) return undefined;
  const task = lease.kind === 'task' ? state.tasks.get(lease.owner) : undefined;
  const endpoint = task?.endpoints.find((e) => e.networkId === network.id && addressesOf(e).includes(address));
  if (task && endpoint && letsGo(state, wanted, { service, network, task, endpoint }, (a) => hasAddresses(endpoint, a))) return undefined;
  if (lease.kind === 'vip' && vipGoes(state, wanted, service, network, lease.owner)) return undefined;
  return { who: describeHolder(state, lease), ...(task ? deadNodeOf(state, task) : {}) };
}

/** The same of a MAC, which is nobody's by lease. */
export function keeperOfMac(state: ClusterState, wanted: Wanted, service: string, network: Network, mac: string): Keeper | undefined {
  for (const task of state.tasksOfNetwork(network.id)) {
    const endpoint = task.endpoints.find((e) => e.networkId === network.id && e.mac === mac);
    if (!endpoint) continue;
    const keeps = (a: Attachment): boolean => hasAddresses(endpoint, a) && (a.mac ?? macOfIp(endpoint.ipv4)) === mac;
    if (!letsGo(state, wanted, { service, network, task, endpoint }, keeps))
      return { who: describeTask(state, task), ...deadNodeOf(state, task) };
  }
  return undefined;
}

const deadNodeOf = (state: ClusterState, { nodeId }: Task): Pick<Keeper, 'deadNode'> =>
  isDead(state, nodeId) ? { deadNode: state.nodes.get(nodeId)?.name ?? nodeId } : {};

interface Held {
  /** Of the wanted stack, that asks for what the task has. */
  service: string;
  network: Network;
  task: Task;
  endpoint: Endpoint;
}

/** @param keeps whether the task has it still when it is attached so */
function letsGo(state: ClusterState, wanted: Wanted, held: Held, keeps: (attachment: Attachment) => boolean): boolean {
  const { stack, restarts, kept } = wanted;
  const { service, network, task, endpoint } = held;
  if (endpoint.leavingSince !== undefined) return true;
  if (task.stack !== stack.name) return isGoing(state, task);
  if (task.service === service) return true;
  const next = stack.services[task.service];
  if (!next || unwantedSlot(state, next, task) !== undefined) return true;
  if (task.desired === 'stop') return !(wasStopped(task) && kept?.has(task.service));
  if (task.specHash !== specHash(next, stack.services, restarts)) return true;
  const attachment = attachmentOf(state, wanted, next, task.slot, network);
  return attachment === undefined || !keeps(attachment);
}

/** A task of another stack that is on its way out anyway. What a dead node has is held until it confirms. */
function isGoing(state: ClusterState, task: Task): boolean {
  if (!state.nodes.has(task.nodeId)) return true;
  if (isDead(state, task.nodeId)) return false;
  const record = state.stacks.get(task.stack);
  if (!record) return state.revisionOf(keys.stack(task.stack)) === 0;
  return record.removing || !record.spec.services[task.service] || (task.desired === 'stop' && !wasStopped(task));
}

/** How the task of a slot is to be on a network; undefined when it is not. */
function attachmentOf(state: ClusterState, { stack, networks }: Wanted, service: Service, slot: number, network: Network) {
  const inFile = Object.entries(service.networks).find(([key]) => networks.get(key)?.id === network.id);
  const said = connectionsOfSlot(state, stack.name, service.name, slot).filter((c) => c.networkId === network.id && !c.off);
  return inFile?.[1] ?? said.at(-1)?.attachment;
}

/** @param owner `stack/service` */
function vipGoes(state: ClusterState, wanted: Wanted, service: string, network: Network, owner: string): boolean {
  const { stack, networks } = wanted;
  const [ofStack = '', name = ''] = owner.split('/');
  if (ofStack !== stack.name) return state.stacks.get(ofStack)?.removing ?? state.revisionOf(keys.stack(ofStack)) === 0;
  const next = stack.services[name];
  if (name === service || !next || next.endpointMode === 'dnsrr') return true;
  const isOnIt = Object.keys(next.networks).some((key) => networks.get(key)?.id === network.id);
  return !isOnIt && connectionsOfSlot(state, stack.name, name, undefined).every((c) => c.networkId !== network.id || c.off);
}

/**
 * Whether a task has an address by chance that its stack gives to another of its services: it goes first, whatever the update of its
 * own service does, since that may wait for the one that is to have the address. Where nothing would take it away the plan was
 * refused, and nobody moves for another stack.
 * @param endpoints as its service wants them
 */
export const isInTheWay = (declared: DeclaredAddresses, endpoints: readonly WantedEndpoint[], task: Task): boolean =>
  task.endpoints.some(
    (e) =>
      endpoints.some((w) => w.network.id === e.networkId && hasAddresses(e, w.attachment)) &&
      addressesOf(e).some((address) => {
        const owner = declared.get(e.networkId)?.get(address);
        return owner !== undefined && owner.startsWith(`${task.stack}/`) && owner !== serviceKey(task.stack, task.service);
      }),
  );
