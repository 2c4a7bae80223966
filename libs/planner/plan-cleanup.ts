/** What nobody needs any more: rested leases, empty networks, removed stacks, stale records. Nothing a task uses goes. */
import { encode } from '#model/codec.js';
import { keys, ROOT, splitKey } from '#model/keys.js';
import type { Network, Vip } from '#model/network.js';
import { addressesOf, restingLease } from './allocate.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { forget, isOn, staleConnections } from './connections.js';
import { nextContentAt, unusedContents } from './contents.js';
import { declaredAddresses } from './network-subnets.js';
import { usersOf } from './network-users.js';
import { forgetHistory } from './slot-history.js';
import type { Unit } from './transaction.js';

export function planCleanup(state: ClusterState, now: number): Unit[] {
  // Alone in its transaction: it deletes by prefix what the others write singly. The rest follows at the next tick.
  const networks = hasUnreadable(state, 'tasks') ? [] : unusedNetworks(state);
  if (networks.length > 0) return networks;
  const always = [
    ...restedLeases(state, now),
    ...orphans(state),
    ...forgetHistory(state),
    ...expiredTokens(state, now),
    ...unusedContents(state, now),
  ];
  // A task that cannot be read may use any network and address.
  if (hasUnreadable(state, 'tasks')) return always;
  return [...removedStacks(state), ...unusedConnections(state), ...unusedNodeAddresses(state, now), ...unusedVips(state, now), ...always];
}

const hasUnreadable = (state: ClusterState, collection: string): boolean =>
  [...state.corrupt.keys()].some((key) => splitKey(key)?.[0] === collection);

/** When cleanup has something to do next, although nothing changes: the end of the first rest or grace. Milliseconds from now. */
export function nextCleanupMs(state: ClusterState, now: number): number | undefined {
  let next = nextContentAt(state, now);
  for (const row of state.leases.values())
    for (const lease of row.values()) if (lease.restsUntil !== undefined) next = Math.min(next, lease.restsUntil);
  return next === Infinity ? undefined : Math.max(0, next - now);
}

/** Made by `ctl network create`, or in the file of a stack: of its own, or of another that calls it external. */
function isDeclared(state: ClusterState, network: Network): boolean {
  if (network.stack === '') return true;
  if (state.networkNames.get(network.name) !== network.id) return false;
  if (usersOf(state, network).length > 0) return true;
  // A stack that is there but cannot be read keeps its networks.
  return !state.stacks.has(network.stack) && state.revisionOf(keys.stack(network.stack)) > 0;
}

/** A network goes with everything that is said of it. */
export function networkRemoval(state: ClusterState, network: Network): Pick<Unit, 'compares' | 'writes'> {
  const key = keys.network(network.id);
  const stack = keys.stack(network.stack);
  const pointer = keys.networkName(network.name);
  const isNamed = state.networkNames.get(network.name) === network.id;
  return {
    compares: [
      { key, modRevision: state.revisionOf(key) },
      { key: stack, modRevision: state.revisionOf(stack) },
      { key: keys.pool(), modRevision: state.revisionOf(keys.pool()) },
      ...(isNamed ? [{ key: pointer, modRevision: state.revisionOf(pointer) }] : []),
    ],
    writes: [
      { delete: key },
      { deletePrefix: keys.leasesOf(network.id) },
      { deletePrefix: keys.vip(network.id, '', '').slice(0, -1) },
      { deletePrefix: keys.nodeAddress(network.id, '') },
      { put: keys.pool(), value: encode(state.pool) },
      ...(isNamed ? [{ delete: pointer }] : []),
    ],
  };
}

function unusedNetworks(state: ClusterState): Unit[] {
  const units: Unit[] = [];
  for (const network of state.networks.values()) {
    if (isDeclared(state, network) || state.tasksOfNetwork(network.id).length > 0) continue;
    const unit: Unit = { what: `delete network ${network.name}`, ...networkRemoval(state, network) };
    units.push(unit);
    // The next one needs the pool as this one leaves it: one a tick.
    break;
  }
  return units;
}

function removedStacks(state: ClusterState): Unit[] {
  const units: Unit[] = [];
  for (const [name, record] of state.stacks) {
    if (!record.removing) continue;
    const busy = state.tasksOfStack(name).length > 0 || [...state.networks.values()].some((n) => n.stack === name && !isDeclared(state, n));
    if (busy) continue;
    const key = keys.stack(name);
    units.push({ what: `delete stack ${name}`, compares: [{ key, modRevision: state.revisionOf(key) }], writes: [{ delete: key }] });
  }
  return units;
}

function unusedConnections(state: ClusterState): Unit[] {
  return staleConnections(state).map((c) => ({ what: `forget a connection of ${c.stack}/${c.service}`, ...forget(state, [c]) }));
}

function unusedNodeAddresses(state: ClusterState, now: number): Unit[] {
  const units: Unit[] = [];
  for (const [networkId, row] of state.nodeAddresses) {
    const users = new Set(state.tasksOfNetwork(networkId).map((t) => t.nodeId));
    for (const [nodeId, record] of row) {
      if (users.has(nodeId)) continue;
      const key = keys.nodeAddress(networkId, nodeId);
      units.push({
        what: `release the address of node ${nodeId} on ${networkId}`,
        compares: [
          { key, modRevision: state.revisionOf(key) },
          { key: keys.network(networkId), exists: true },
        ],
        writes: [{ delete: key }, ...addressesOf(record).map((a) => restingLease(networkId, a, 'node', nodeId, now))],
      });
    }
  }
  return units;
}

function unusedVips(state: ClusterState, now: number): Unit[] {
  const units: Unit[] = [];
  const declared = declaredAddresses(state);
  for (const [networkId, row] of state.vips) {
    for (const vip of row.values()) {
      const record = state.stacks.get(vip.stack);
      const network = state.networks.get(networkId);
      if (network === undefined) continue;
      const wanted = record ? isOn(state, record.spec, vip.service, network) : state.revisionOf(keys.stack(vip.stack)) > 0;
      const isRoundRobin = record?.spec.services[vip.service]?.endpointMode === 'dnsrr';
      // It gets another: this one is declared as the address of the service's task.
      const isGivenAway = addressesOf(vip).some((a) => declared.get(networkId)?.get(a) === serviceKey(vip.stack, vip.service));
      if (!isRoundRobin && !isGivenAway && (wanted || hasTasks(state, vip))) continue;
      const key = keys.vip(networkId, vip.stack, vip.service);
      units.push({
        what: `release the VIP of ${vip.stack}/${vip.service}`,
        compares: [
          { key, modRevision: state.revisionOf(key) },
          { key: keys.network(networkId), exists: true },
        ],
        writes: [
          { delete: key },
          ...addressesOf(vip).map((a) => restingLease(networkId, a, 'vip', serviceKey(vip.stack, vip.service), now)),
        ],
      });
    }
  }
  return units;
}

const hasTasks = (state: ClusterState, { networkId, stack, service }: Vip): boolean =>
  state.tasksOfService(stack, service).some((t) => t.endpoints.some((e) => e.networkId === networkId));

function restedLeases(state: ClusterState, now: number): Unit[] {
  const units: Unit[] = [];
  for (const [networkId, row] of state.leases) {
    for (const [address, lease] of row) {
      if (lease.restsUntil === undefined || lease.restsUntil > now) continue;
      const key = keys.lease(networkId, address);
      units.push({ what: `free ${address}`, compares: [{ key, modRevision: state.revisionOf(key) }], writes: [{ delete: key }] });
    }
  }
  return units;
}

/** Statuses and moves of tasks that are gone; facts, states and tombstones of nodes that are gone. */
function orphans(state: ClusterState): Unit[] {
  const stale: string[] = [];
  for (const id of state.moves.keys()) if (state.revisionOf(keys.task(id)) === 0) stale.push(keys.move(id));
  for (const id of state.statuses.keys()) if (state.revisionOf(keys.task(id)) === 0) stale.push(keys.taskStatus(id));
  for (const { stack, service } of state.updates.values()) {
    const isUnreadable = !state.stacks.has(stack) && state.revisionOf(keys.stack(stack)) > 0;
    if (!isUnreadable && !state.stacks.get(stack)?.spec.services[service]) stale.push(keys.update(stack, service));
  }
  for (const id of state.facts.keys()) if (!state.nodes.has(id)) stale.push(keys.nodeFacts(id));
  for (const id of state.nodeStates.keys()) if (!state.nodes.has(id)) stale.push(keys.nodeState(id));
  for (const [nodeId, row] of state.tombstones) {
    // A removed node keeps the tombstone under its own id: that is how it is known as removed (isRemovedNode).
    if (!state.nodes.has(nodeId)) for (const taskId of row.keys()) if (taskId !== nodeId) stale.push(keys.tombstone(nodeId, taskId));
  }
  // Slots of tasks that were deleted by hand: they would stay empty for ever.
  const slots = [...state.slots].filter(([, id]) => state.revisionOf(keys.task(id)) === 0).map(([slot]) => `${ROOT}slots/${slot}`);
  return [...stale, ...slots].map((key) => ({
    what: 'delete an orphan',
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ delete: key }],
  }));
}

function expiredTokens(state: ClusterState, now: number): Unit[] {
  const expired = [...state.tokens.values()].filter((t) => t.expiresAt <= now);
  return expired.map((t) => ({
    what: 'delete an expired token',
    compares: [{ key: keys.token(t.id), exists: true }],
    writes: [{ delete: keys.token(t.id) }],
  }));
}
