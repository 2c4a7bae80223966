/** The networks of a stack that is brought up: which are kept, changed, made (with which subnets and VNI), used or dropped. */
import { about, WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Network } from '#model/network.js';
import type { Stack } from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import { changesInPlace, deepChanges, edited } from './change-network.js';
import { checkEncryption } from './check-encryption.js';
import { usedRanges, type UsedRange } from './choose-subnet.js';
import type { ClusterState } from './cluster-state.js';
import { checkDefaultBridge, DEFAULT_BRIDGE, DEFAULT_BRIDGE_WISH, defaultBridge, wantsDefaultBridge } from './default-bridge.js';
import { checkMtu } from './network-mtu.js';
import { newNetwork } from './new-network.js';
import { showSubnets, subnetsOf, usableAddresses } from './network-subnets.js';
import { usersOf } from './network-users.js';
import type { PlanStep } from './plan-step.js';
import type { Pool } from './pool.js';
import type { Compare, Write } from './transaction.js';
import { isChildDriver } from './child-drivers.js';
import { hasVips } from './wanted-networks.js';

export interface NetworksPlan {
  steps: PlanStep[];
  compares: Compare[];
  writes: Write[];
  /** Keys of networks that get a new identity: tasks on them are made anew. */
  recreated: Set<string>;
  /** By key: as they will be. */
  networks: Map<string, Network>;
}

interface Draft extends NetworksPlan {
  state: ClusterState;
  stack: Stack;
  used: UsedRange[];
  pool: Pool;
  /** Whether the pool is written, although no number was taken: who removes networks compares it. */
  touchPool: boolean;
  newId: () => string;
  now: number;
}

/** @throws SUBNET_CLASH, ADDRESSES_EXHAUSTED, CONFLICT */
export function planNetworks(state: ClusterState, stack: Stack, newId: () => string, now: number): NetworksPlan {
  const draft: Draft = {
    state,
    stack,
    used: usedRanges(state),
    pool: { ...state.pool },
    touchPool: false,
    newId,
    now,
    steps: [],
    compares: [],
    writes: [],
    recreated: new Set(),
    networks: new Map(),
  };
  if (wantsDefaultBridge(stack)) makeDefaultBridge(draft);
  const names = new Set<string>();
  for (const wish of Object.values(stack.networks)) {
    if (names.has(wish.name)) throw new WeftError('BAD_VALUE', `two networks of stack ${stack.name} have the name ${wish.name}`);
    names.add(wish.name);
    about(['networks', wish.key], () => planNetwork(draft, wish));
  }
  for (const network of state.networks.values()) {
    if (network.stack === stack.name && !names.has(network.name)) draft.steps.push(dropped(state, network, stack.name));
  }
  if (draft.touchPool) {
    // Two `up`s at the same time cannot choose overlapping subnets unseen: both write this key.
    draft.compares.push({ key: keys.pool(), modRevision: state.revisionOf(keys.pool()) });
    draft.writes.push({ put: keys.pool(), value: encode(draft.pool) });
  }
  const { steps, compares, writes, recreated, networks } = draft;
  return { steps, compares, writes, recreated, networks };
}

/** A network that a stack of this name leaves behind: it goes, unless others are on it. */
export function dropped(state: ClusterState, network: Network, stack: string): PlanStep {
  const others = usersOf(state, network).filter((name) => name !== stack);
  const step = { kind: 'network' as const, name: network.name };
  return others.length > 0
    ? { ...step, action: 'keep', details: [`stack ${others.join(', ')} uses it`] }
    : { ...step, action: 'remove', details: ['no longer in the file'] };
}

function planNetwork(draft: Draft, wish: NetworkWish): void {
  const { state, stack } = draft;
  const pointer = keys.networkName(wish.name);
  draft.compares.push({ key: pointer, modRevision: state.revisionOf(pointer) });
  if (wish.external) return useExternal(draft, wish);
  const existing = findExisting(state, stack.name, wish.name);
  if (!existing) {
    const made = make(draft, wish);
    draft.steps.push({ action: 'create', kind: 'network', name: wish.name, details: [describe(made)] });
    return;
  }
  const deep = deepChanges(existing, wish, Object.values(state.stacks.get(stack.name)?.spec.networks ?? {}));
  if (deep.length > 0) {
    make(draft, wish);
    draft.recreated.add(wish.key);
    draft.steps.push({ action: 'recreate', kind: 'network', name: wish.name, details: deep });
    return;
  }
  edit(draft, wish, existing);
}

const describe = (n: Network): string =>
  `${n.driver}, subnet ${subnetsOf(n)
    .map((s) => s.subnet)
    .join(', ')}`;

/** @throws NOT_FOUND */
function useExternal(draft: Draft, wish: NetworkWish): void {
  const { state } = draft;
  const network = state.networks.get(state.networkNames.get(wish.name) ?? '');
  if (!network) {
    throw new WeftError('NOT_FOUND', {
      what: `there is no network ${wish.name}`,
      why: `networks.${wish.key} is external: it must be there before the stack`,
      hint: `Make it with \`ctl network create ${wish.name}\`, or bring up the stack that declares it.`,
    });
  }
  draft.networks.set(wish.key, network);
  draft.touchPool ||= !usersOf(state, network).includes(draft.stack.name);
  checkRoom(draft, wish, network);
  draft.steps.push({ action: 'keep', kind: 'network', name: wish.name, details: ['external'] });
}

function findExisting(state: ClusterState, stackName: string, name: string): Network | undefined {
  const id = state.networkNames.get(name);
  if (id === undefined) return undefined;
  const network = state.networks.get(id);
  if (!network) throw new WeftError('CORRUPT', `network ${name} is stored, but cannot be read`);
  if (network.stack !== stackName) {
    throw new WeftError('CONFLICT', {
      what: `there is a network ${name} already`,
      why: network.stack === '' ? 'it was made by `ctl network create`' : `it belongs to stack ${network.stack}`,
      hint: 'Give the network another name in the file, or say `external: true` to use that one.',
    });
  }
  return network;
}

/** What can change in place: the kernel state of a network is set as a whole, and no task's address depends on these. */
function edit(draft: Draft, wish: NetworkWish, existing: Network): void {
  const { state } = draft;
  const details = changesInPlace(existing, wish);
  const next = details.length > 0 ? edited(draft, wish, existing) : existing;
  checkMtu(state, next);
  checkEncryption(state, next);
  checkRoom(draft, wish, next);
  draft.networks.set(wish.key, next);
  const key = keys.network(existing.id);
  draft.compares.push({ key, modRevision: state.revisionOf(key) });
  draft.steps.push({ action: details.length > 0 ? 'change' : 'keep', kind: 'network', name: wish.name, details });
  if (details.length === 0) return;
  draft.writes.push({ put: key, value: encode(next) });
  draft.touchPool ||= subnetsOf(next).length !== subnetsOf(existing).length;
}

function make(draft: Draft, wish: NetworkWish): Network {
  const network = newNetwork(draft, wish, draft.stack.name);
  checkMtu(draft.state, network);
  checkEncryption(draft.state, network);
  checkRoom(draft, wish, network);
  draft.networks.set(wish.key, network);
  draft.writes.push({ put: keys.network(network.id), value: encode(network) }, { put: keys.networkName(wish.name), value: network.id });
  draft.touchPool = true;
  return network;
}

function makeDefaultBridge(draft: Draft): void {
  const { state } = draft;
  checkDefaultBridge(state);
  const pointer = keys.networkName(DEFAULT_BRIDGE);
  draft.compares.push({ key: pointer, modRevision: state.revisionOf(pointer) });
  if (defaultBridge(state)) return;
  const network: Network = { ...newNetwork(draft, DEFAULT_BRIDGE_WISH, ''), discovery: false };
  draft.writes.push({ put: keys.network(network.id), value: encode(network) }, { put: pointer, value: network.id });
  draft.steps.push({
    action: 'create',
    kind: 'network',
    name: DEFAULT_BRIDGE,
    details: [`the default bridge of every node, subnet ${network.subnet}`],
  });
  draft.touchPool = true;
}

/** Tasks, one VIP a service, one address a node that runs a task there. @throws ADDRESSES_EXHAUSTED */
function checkRoom(draft: Draft, wish: NetworkWish, network: Network): void {
  const services = Object.values(draft.stack.services).filter((s) => s.networks[wish.key] !== undefined);
  const tasks = services.reduce((n, s) => n + s.replicas, 0);
  // On the site's own LAN only tasks take addresses.
  const vips = hasVips(network) ? services.length : 0;
  const nodes = isChildDriver(network) ? 0 : Math.min(tasks, draft.state.nodes.size);
  const needed = tasks + vips + nodes;
  const room = usableAddresses(network);
  if (needed <= room) return;
  throw new WeftError('ADDRESSES_EXHAUSTED', {
    what: `network ${wish.name} is too small for stack ${draft.stack.name}`,
    why: `${showSubnets(network)} has ${room} addresses to give, needed are ${needed}: ${tasks} for tasks, ${vips} for services, ${nodes} for nodes`,
  });
}
