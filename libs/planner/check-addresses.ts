/** Static addresses of a stack against its networks as they will be, and against what other stacks declare. */
import { macOfIp } from '#base/address.js';
import { WeftError } from '#base/errors.js';
import { addressToNumber, familyOf, isEdge, parseSubnet, subnetHas } from '#base/ip.js';
import type { Endpoint, Network } from '#model/network.js';
import { isGlobal } from '#model/service-mode.js';
import type { Attachment, Service } from '#model/stack.js';
import { keeperOf, keeperOfMac, type Keeper, type Wanted } from './address-holders.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { describeHolder, describeTask } from './holders.js';
import { declaredAddresses, keptAddresses, showSubnets, subnetsOf } from './network-subnets.js';

/** What a service of a file asks for, and where in the file. */
interface Asked {
  service: string;
  text: string;
  path?: readonly string[];
}

const refuse = ({ service, text, path }: Asked, why: string, hint?: string): WeftError =>
  new WeftError('BAD_VALUE', { what: `service ${service} cannot have ${text}`, why, hint, ...(path ? { path } : {}) });

/** @throws BAD_VALUE naming the service, the network, and who has the address */
export function checkAddresses(state: ClusterState, wanted: Wanted): void {
  const { stack, networks } = wanted;
  const owners = otherOwners(state, stack.name);
  for (const service of Object.values(stack.services)) {
    const own = serviceKey(stack.name, service.name);
    for (const [key, attachment] of Object.entries(service.networks)) {
      const network = networks.get(key);
      const fixed = fixedOf(service.name, key, attachment);
      const [first] = fixed;
      if (!network || !first) continue;
      checkAlone(service, { ...first, text: fixed.map((f) => f.text).join(' and ') });
      for (const asked of fixed) {
        if (asked.text !== attachment.mac) checkPlace(asked, network);
        const keeper = asked.text === attachment.mac ? keeperOfMac : keeperOf;
        checkKeeper(asked, network, keeper(state, wanted, service.name, network, asked.text));
      }
      for (const text of claims(attachment)) {
        const id = `${network.id} ${text}`;
        const other = owners.get(id);
        const asked = fixed.find((f) => f.text === text);
        const it = asked ? 'it' : `the MAC ${text}, which belongs to it,`;
        if (other !== undefined && other !== own)
          throw refuse(asked ?? first, `service ${other} declares ${it} on network ${network.name} too`);
        owners.set(id, own);
      }
    }
  }
}

/** What an attachment asks for, with its place in a file. */
function fixedOf(service: string, network: string, { ipv4, ipv6, mac }: Attachment): Asked[] {
  return Object.entries({ ipv4_address: ipv4, ipv6_address: ipv6, mac_address: mac }).flatMap(([key, text]) =>
    text === undefined ? [] : [{ service, text, path: ['services', service, 'networks', network, key] }],
  );
}

/** Addresses and the MAC that belong to an attachment: the MAC of an IPv4 address is made of it where none is said. */
const claims = ({ ipv4, ipv6, mac = ipv4 && macOfIp(ipv4) }: Attachment): string[] => [ipv4, ipv6, mac].filter((t) => t !== undefined);

/** One network of one service, or of one of its tasks, besides what its file says. */
export interface FixedTarget {
  stack: string;
  service: Service;
  slot?: number;
}

/** The static addresses of a connection that a command makes. @throws BAD_VALUE */
export function checkFixed(
  state: ClusterState,
  { stack, service, slot }: FixedTarget,
  network: Network,
  { ipv4, ipv6, mac }: Attachment,
): void {
  const owner = serviceKey(stack, service.name);
  for (const text of [ipv4, ipv6]) {
    if (text === undefined) continue;
    const asked = { service: service.name, text };
    checkAlone(slot === undefined ? service : { ...service, replicas: 1 }, asked);
    checkPlace(asked, network);
    const declared = declaredAddresses(state).get(network.id)?.get(text);
    if (declared !== undefined && declared !== owner) throw refuse(asked, `service ${declared} declares it on network ${network.name} too`);
    const lease = state.leases.get(network.id)?.get(text);
    if (lease && lease.restsUntil === undefined)
      throw refuse(asked, `${describeHolder(state, lease)} holds it on network ${network.name}`, CHOOSE);
  }
  const has = (e: Endpoint): boolean => e.networkId === network.id && e.mac === mac;
  const holder = mac === undefined ? undefined : state.tasksOfNetwork(network.id).find((t) => t.endpoints.some(has));
  if (mac !== undefined && holder)
    throw refuse({ service: service.name, text: mac }, `${describeTask(state, holder)} has it on network ${network.name}`, CHOOSE);
}

/** An address has one owner: a service that may have two tasks at a time cannot declare one. */
function checkAlone(service: Service, asked: Asked): void {
  const hint = 'Let Weft choose the addresses, or run one task, stopped before its successor starts.';
  if (isGlobal(service)) throw refuse(asked, 'it is global: every node would have it', hint);
  if (service.replicas > 1) throw refuse(asked, `it has ${service.replicas} replicas`, hint);
  if (service.update?.order === 'start-first')
    throw refuse(asked, 'its update order is start-first: old and new task would both have it', hint);
}

function checkPlace(asked: Asked, network: Network): void {
  const { text } = asked;
  const family = familyOf(text);
  const shown = showSubnets(network, family);
  const home = subnetsOf(network).find((s) => subnetHas(parseSubnet(s.subnet), text));
  if (shown === '') throw refuse(asked, `network ${network.name} has no IPv6`, 'Say `enable_ipv6: true` on the network.');
  if (!home) throw refuse(asked, `network ${network.name} is ${shown}`);
  if (isEdge(parseSubnet(home.subnet), addressToNumber(text)))
    throw refuse(asked, `it is the network or broadcast address of ${home.subnet}`);
  const kept = keptAddresses(network).get(text);
  if (kept !== undefined) throw refuse(asked, `on network ${network.name} it is ${kept}`);
}

const CHOOSE =
  'Choose an address that is free, or wait until its holder is gone; an `ip_range` on a network keeps chance away from the addresses outside it.';

/** Somebody who has it and keeps it: nobody's task is moved for a file that came later. */
function checkKeeper(asked: Asked, network: Network, keeper: Keeper | undefined): void {
  if (!keeper) return;
  const { who, deadNode } = keeper;
  throw refuse(
    asked,
    `${who} holds it on network ${network.name}`,
    deadNode === undefined
      ? CHOOSE
      : `Bring node ${deadNode} back, or give it up with \`ctl node rm --force ${deadNode}\`; or choose another address.`,
  );
}

/** `<network id> <address or MAC>` → the service of another stack that declares it. */
function otherOwners(state: ClusterState, own: string): Map<string, string> {
  const owners = new Map<string, string>();
  for (const [network, row] of declaredAddresses(state, false))
    for (const [address, owner] of row) if (!owner.startsWith(`${own}/`)) owners.set(`${network} ${address}`, owner);
  for (const { spec } of state.stacks.values()) {
    if (spec.name === own) continue;
    for (const service of Object.values(spec.services))
      for (const [key, attachment] of Object.entries(service.networks) as [string, Attachment][]) {
        const id = state.networkNames.get(spec.networks[key]?.name ?? '');
        if (id !== undefined) for (const text of claims(attachment)) owners.set(`${id} ${text}`, serviceKey(spec.name, service.name));
      }
  }
  return owners;
}
