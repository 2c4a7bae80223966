/** Static addresses of a stack against its networks as they will be, and against what other stacks declare. */
import { addressToNumber, familyOf, isEdge, parseSubnet, subnetHas } from '#base/ip.js';
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import { isGlobal } from '#model/service-mode.js';
import type { Attachment, Service, Stack } from '#model/stack.js';
import { holderOf } from './allocate.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { declaredAddresses, keptAddresses, showSubnets, subnetsOf } from './network-subnets.js';

const refuse = (service: string, what: string, why: string, hint?: string): WeftError =>
  new WeftError('BAD_VALUE', { what: `service ${service} cannot have ${what}`, why, hint });

/**
 * @param networks the stack's networks by key
 * @throws BAD_VALUE naming the service and the network
 */
export function checkAddresses(state: ClusterState, stack: Stack, networks: ReadonlyMap<string, Network>): void {
  const owners = otherOwners(state, stack.name);
  for (const service of Object.values(stack.services)) {
    for (const [key, attachment] of Object.entries(service.networks)) {
      const network = networks.get(key);
      const wanted = [attachment.ipv4, attachment.ipv6].filter((a) => a !== undefined);
      const fixed = [...wanted, ...(attachment.mac === undefined ? [] : [attachment.mac])];
      if (!network || fixed.length === 0) continue;
      checkAlone(service, fixed.join(' and '));
      for (const address of wanted) {
        checkPlace(service.name, network, address);
        checkHolder(state, service.name, network, address);
      }
      for (const text of fixed) {
        const id = `${network.id} ${text}`;
        const other = owners.get(id);
        if (other !== undefined) throw refuse(service.name, text, `service ${other} declares it on network ${network.name} too`);
        owners.set(id, serviceKey(stack.name, service.name));
      }
    }
  }
}

/** One network of one service, or of one of its tasks, besides what its file says. */
export interface FixedTarget {
  stack: string;
  service: Service;
  slot?: number;
}

/** The static addresses of a connection that a command makes. @throws BAD_VALUE */
export function checkFixed(state: ClusterState, { stack, service, slot }: FixedTarget, network: Network, { ipv4, ipv6 }: Attachment): void {
  const owner = serviceKey(stack, service.name);
  for (const address of [ipv4, ipv6]) {
    if (address === undefined) continue;
    checkAlone(slot === undefined ? service : { ...service, replicas: 1 }, address);
    checkPlace(service.name, network, address);
    const declared = declaredAddresses(state).get(network.id)?.get(address);
    if (declared !== undefined && declared !== owner)
      throw refuse(service.name, address, `service ${declared} declares it on network ${network.name} too`);
    const lease = state.leases.get(network.id)?.get(address);
    if (lease && lease.restsUntil === undefined)
      throw refuse(service.name, address, `${holderOf(state, lease)} holds it on network ${network.name}`);
  }
}

/** An address has one owner: a service that may have two tasks at a time cannot declare one. */
function checkAlone(service: Service, what: string): void {
  const hint = 'Let Weft choose the addresses, or run one task, stopped before its successor starts.';
  if (isGlobal(service)) throw refuse(service.name, what, 'it is global: every node would have it', hint);
  if (service.replicas > 1) throw refuse(service.name, what, `it has ${service.replicas} replicas`, hint);
  if (service.update?.order === 'start-first')
    throw refuse(service.name, what, 'its update order is start-first: old and new task would both have it', hint);
}

function checkPlace(service: string, network: Network, address: string): void {
  const family = familyOf(address);
  const shown = showSubnets(network, family);
  const home = subnetsOf(network).find((s) => subnetHas(parseSubnet(s.subnet), address));
  if (shown === '') throw refuse(service, address, `network ${network.name} has no IPv6`, 'Say `enable_ipv6: true` on the network.');
  if (!home) throw refuse(service, address, `network ${network.name} is ${shown}`);
  if (isEdge(parseSubnet(home.subnet), addressToNumber(address)))
    throw refuse(service, address, `it is the network or broadcast address of ${home.subnet}`);
  const kept = keptAddresses(network).get(address);
  if (kept !== undefined) throw refuse(service, address, `on network ${network.name} it is ${kept}`);
}

/** A task that got it by chance is moved away; a node or a service keeps what it has. */
function checkHolder(state: ClusterState, service: string, network: Network, address: string): void {
  const lease = state.leases.get(network.id)?.get(address);
  if (!lease || lease.kind === 'task' || lease.restsUntil !== undefined) return;
  throw refuse(
    service,
    address,
    `${holderOf(state, lease)} holds it on network ${network.name}`,
    'Declare a lower address, or an `ip_range` for the others.',
  );
}

/** `<network id> <address or MAC>` → the service of another stack that declares it. */
function otherOwners(state: ClusterState, own: string): Map<string, string> {
  const owners = new Map<string, string>();
  for (const [network, row] of declaredAddresses(state))
    for (const [address, owner] of row) if (!owner.startsWith(`${own}/`)) owners.set(`${network} ${address}`, owner);
  for (const { spec } of state.stacks.values()) {
    if (spec.name === own) continue;
    for (const service of Object.values(spec.services))
      for (const [key, { mac }] of Object.entries(service.networks) as [string, Attachment][]) {
        const id = state.networkNames.get(spec.networks[key]?.name ?? '');
        if (mac !== undefined && id !== undefined) owners.set(`${id} ${mac}`, serviceKey(spec.name, service.name));
      }
  }
  return owners;
}
