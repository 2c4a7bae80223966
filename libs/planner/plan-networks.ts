/** The networks of a stack that is brought up: which are kept, changed, made (with which subnet and VNI) or dropped. */
import { parseCidr } from '#base/address.js';
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Network } from '#model/network.js';
import type { NetworkWish, Stack } from '#model/stack.js';
import { gatewayOf, usableAddresses } from './allocate.js';
import { checkSubnet, chooseSubnet, usedRanges, type UsedRange } from './choose-subnet.js';
import type { ClusterState } from './cluster-state.js';
import type { PlanStep } from './plan-step.js';
import { DEFAULT_POOLS, DEFAULT_SUBNET_PREFIX } from './pool.js';
import { sameValue } from './spec-hash.js';
import type { Compare, Write } from './transaction.js';

export interface NetworksPlan {
  steps: PlanStep[];
  compares: Compare[];
  writes: Write[];
  /** Keys of networks that get a new identity: tasks on them are made anew. */
  recreated: Set<string>;
}

interface Draft extends NetworksPlan {
  state: ClusterState;
  stack: Stack;
  used: UsedRange[];
  vni: number;
  newId: () => string;
  now: number;
}

/** @throws SUBNET_CLASH, ADDRESSES_EXHAUSTED, CONFLICT */
export function planNetworks(state: ClusterState, stack: Stack, newId: () => string, now: number): NetworksPlan {
  const draft: Draft = {
    state,
    stack,
    used: usedRanges(state),
    vni: state.pool.vni,
    newId,
    now,
    steps: [],
    compares: [],
    writes: [],
    recreated: new Set(),
  };
  const names = new Set<string>();
  for (const wish of Object.values(stack.networks)) {
    if (names.has(wish.name)) throw new WeftError('BAD_VALUE', `two networks of stack ${stack.name} have the name ${wish.name}`);
    names.add(wish.name);
    planNetwork(draft, wish);
  }
  for (const network of state.networks.values()) {
    if (network.stack === stack.name && !names.has(network.name)) {
      draft.steps.push({ action: 'remove', kind: 'network', name: network.name, details: ['no longer in the file'] });
    }
  }
  if (draft.vni !== state.pool.vni) {
    // Two `up`s at the same time cannot choose overlapping subnets unseen: both write this key.
    draft.compares.push({ key: keys.pool(), modRevision: state.revisionOf(keys.pool()) });
    draft.writes.push({ put: keys.pool(), value: encode({ ...state.pool, vni: draft.vni }) });
  }
  const { steps, compares, writes, recreated } = draft;
  return { steps, compares, writes, recreated };
}

function planNetwork(draft: Draft, wish: NetworkWish): void {
  const { state, stack } = draft;
  const pointer = keys.networkName(wish.name);
  const existing = findExisting(state, stack.name, wish.name);
  draft.compares.push({ key: pointer, modRevision: state.revisionOf(pointer) });
  if (!existing) {
    const made = make(draft, wish);
    draft.steps.push({ action: 'create', kind: 'network', name: wish.name, details: [`${wish.driver}, subnet ${made.subnet}`] });
    return;
  }
  const deep = [
    ...(existing.driver === wish.driver ? [] : [`driver: ${existing.driver} → ${wish.driver}`]),
    ...(wish.subnet === undefined || wish.subnet === existing.subnet ? [] : [`subnet: ${existing.subnet} → ${wish.subnet}`]),
  ];
  if (deep.length > 0) {
    make(draft, wish);
    draft.recreated.add(wish.key);
    draft.steps.push({ action: 'recreate', kind: 'network', name: wish.name, details: deep });
    return;
  }
  edit(draft, wish, existing);
}

function findExisting(state: ClusterState, stackName: string, name: string): Network | undefined {
  const id = state.networkNames.get(name);
  if (id === undefined) return undefined;
  const network = state.networks.get(id);
  if (!network) throw new WeftError('CORRUPT', `network ${name} is stored, but cannot be read`);
  if (network.stack !== stackName) {
    throw new WeftError('CONFLICT', {
      what: `there is a network ${name} already`,
      why: `it belongs to stack ${network.stack}`,
      hint: 'Give the network another name in the file.',
    });
  }
  return network;
}

/** What can change in place: the kernel state of a network is set as a whole, and no task's address depends on these. */
function edit(draft: Draft, wish: NetworkWish, existing: Network): void {
  const details = [
    ...(existing.internal === wish.internal ? [] : [`internal: ${existing.internal} → ${wish.internal}`]),
    ...(sameValue(existing.labels, wish.labels) ? [] : ['labels changed']),
    ...(existing.key === wish.key ? [] : [`key: ${existing.key} → ${wish.key}`]),
  ];
  checkRoom(draft, wish, existing.subnet);
  const key = keys.network(existing.id);
  draft.compares.push({ key, modRevision: draft.state.revisionOf(key) });
  draft.steps.push({ action: details.length > 0 ? 'change' : 'keep', kind: 'network', name: wish.name, details });
  if (details.length > 0)
    draft.writes.push({ put: key, value: encode({ ...existing, internal: wish.internal, labels: wish.labels, key: wish.key }) });
}

function make(draft: Draft, wish: NetworkWish): Network {
  const { cluster } = draft.state;
  if (wish.subnet !== undefined) checkSubnet(wish.name, wish.subnet, draft.used);
  const subnet = wish.subnet ?? chooseSubnet(cluster?.pools ?? DEFAULT_POOLS, cluster?.subnetPrefix ?? DEFAULT_SUBNET_PREFIX, draft.used);
  checkRoom(draft, wish, subnet);
  draft.used.push({ cidr: parseCidr(subnet), what: `network ${wish.name} (${subnet})` });
  const network: Network = {
    id: draft.newId(),
    name: wish.name,
    stack: draft.stack.name,
    key: wish.key,
    driver: wish.driver,
    internal: wish.internal,
    subnet,
    gateway: gatewayOf(subnet),
    vni: ++draft.vni,
    labels: wish.labels,
    createdAt: draft.now,
  };
  draft.writes.push({ put: keys.network(network.id), value: encode(network) }, { put: keys.networkName(wish.name), value: network.id });
  return network;
}

/** Tasks, one VIP a service, one address a node that runs a task there. @throws ADDRESSES_EXHAUSTED */
function checkRoom(draft: Draft, wish: NetworkWish, subnet: string): void {
  const services = Object.values(draft.stack.services).filter((s) => s.networks[wish.key] !== undefined);
  const tasks = services.reduce((n, s) => n + s.replicas, 0);
  const nodes = Math.min(tasks, draft.state.nodes.size);
  const needed = tasks + services.length + nodes;
  const room = usableAddresses(subnet);
  if (needed <= room) return;
  throw new WeftError('ADDRESSES_EXHAUSTED', {
    what: `network ${wish.name} is too small for stack ${draft.stack.name}`,
    why: `${subnet} has ${room} addresses to give, needed are ${needed}: ${tasks} for tasks, ${services.length} for services, ${nodes} for nodes`,
  });
}
