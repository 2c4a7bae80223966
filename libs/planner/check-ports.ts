/** Published ports of a stack that is brought up: those the file left open are chosen, and none may be somebody else's. */
import { about, WeftError } from '#base/errors.js';
import { SCTP_FEATURE } from '#model/ports.js';
import type { Port, Service, Stack } from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import type { ClusterState } from './cluster-state.js';
import { holderOf } from './port-holders.js';
import { excludes } from './port-overlap.js';
import { candidates } from './schedule.js';
import { sameValue } from './spec-hash.js';

const show = (p: Port): string => `${p.hostIp ? `${p.hostIp}:` : ''}${p.published}/${p.protocol}`;

const taken = (p: Port, service: string, why: string, hint?: string): WeftError =>
  new WeftError('PORT_TAKEN', { what: `service ${service} cannot publish port ${show(p)}`, why, hint });

/** @throws PORT_TAKEN naming who has it; BAD_VALUE for a service that nothing from outside can reach */
export function checkPorts(state: ClusterState, stack: Stack): void {
  const before: { port: Port; service: string }[] = [];
  for (const service of Object.values(stack.services)) {
    if (service.ports.length > 0) about(['services', service.name, 'ports'], () => checkReach(state, stack, service));
    for (const [i, port] of service.ports.entries()) {
      about(placeOf(service, i), () => {
        checkProtocol(state, service.name, port);
        const twice = before.find((b) => excludes(b.port, port));
        if (twice) throw taken(port, service.name, `service ${twice.service} of the same stack publishes it`);
        before.push({ port, service: service.name });
        const holder = holderOf(state, stack.name, port);
        if (holder) throw taken(port, service.name, holder.why, holder.hint);
      });
    }
  }
}

/** Of a port in the model, in which each is an item, however the file says them. */
const placeOf = ({ name }: Service, index: number): string[] => ['services', name, 'ports', String(index), 'published'];

/** What no kernel of the cluster speaks, no task could listen on. A node that does not say what it can is believed to. */
function checkProtocol(state: ClusterState, service: string, port: Port): void {
  if (port.protocol !== 'sctp') return;
  const nodes = candidates(state).ready;
  const isLacking = (id: string): boolean => state.facts.get(id)?.features?.includes(SCTP_FEATURE) === false;
  if (nodes.length === 0 || !nodes.every((n) => isLacking(n.id))) return;
  throw new WeftError('BAD_VALUE', {
    what: `service ${service} cannot publish port ${show(port)}`,
    why: `the kernel of no node has SCTP (${nodes.map((n) => n.name).join(', ')})`,
    hint: 'Load the kernel module on the nodes (modprobe sctp), where their kernels have one.',
  });
}

/** Traffic from outside has no way onto an internal network. */
function checkReach(state: ClusterState, stack: Stack, service: Service): void {
  const keys = Object.keys(service.networks);
  if (keys.length === 0 || keys.some((key) => !isInternal(state, stack.networks[key]))) return;
  throw new WeftError('BAD_VALUE', {
    what: `service ${service.name} cannot publish ports`,
    why: `it is on internal networks only (${keys.join(', ')})`,
    hint: 'Put it on a network that is not internal as well.',
  });
}

/** An external network is as it was made, whatever this file says of it. */
function isInternal(state: ClusterState, wish: NetworkWish | undefined): boolean {
  if (!wish?.external) return wish?.internal ?? false;
  return state.networks.get(state.networkNames.get(wish.name) ?? '')?.internal ?? false;
}

/**
 * The stack with every port named. A port the file left open keeps what was chosen at the last `up` (it can be told to people
 * then), else it is the lowest that nobody has.
 * @throws PORT_TAKEN when there is none
 */
export function choosePorts(state: ClusterState, stack: Stack): Stack {
  if (!Object.values(stack.services).some((s) => s.ports.some((p) => p.chosenFrom))) return stack;
  const named = Object.values(stack.services).flatMap((s) => s.ports.filter((p) => !p.chosenFrom));
  const services = Object.entries(stack.services).map(([key, service]): [string, Service] => {
    const earlier = [...(state.stacks.get(stack.name)?.spec.services[key]?.ports ?? [])];
    const ports = service.ports.map((port, i) => {
      const chosen = port.chosenFrom
        ? about(placeOf(service, i), () => choose(state, stack.name, service.name, port, earlier, named))
        : port;
      if (port.chosenFrom) named.push(chosen);
      return chosen;
    });
    return [key, { ...service, ports }];
  });
  return { ...stack, services: Object.fromEntries(services) };
}

function choose(state: ClusterState, stack: string, service: string, port: Port, earlier: Port[], named: readonly Port[]): Port {
  const isFree = (p: Port) => !named.some((n) => excludes(n, p)) && !holderOf(state, stack, p);
  const at = earlier.findIndex((p) => sameValue({ ...p, published: port.published }, port));
  const [kept] = at < 0 ? [] : earlier.splice(at, 1);
  if (kept && isFree(kept)) return kept;
  const { first, last } = port.chosenFrom ?? { first: port.published, last: port.published };
  for (let published = first; published <= last; published++) {
    const wish = { ...port, published };
    if (isFree(wish)) return wish;
  }
  throw taken({ ...port, published: first }, service, `every port from ${first} to ${last} is in use`, 'Name a port, or widen the range.');
}
