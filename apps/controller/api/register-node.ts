/** Node records: a number of its own for each node, a name and an address that no other has. */
import type { Clock } from '#base/clock.js';
import { isIpv4 } from '#base/address.js';
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { checkName, HOSTNAME_PATTERN } from '#model/names.js';
import type { Node, NodeFacts } from '#model/node.js';
import type { ClusterState } from '#planner/cluster-state.js';
import type { Compare, Store, Write } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

export interface NodeWish {
  id: string;
  name: string;
  address: string;
}

const TRIES = 5;

function checkWish(state: ClusterState, wish: NodeWish): void {
  checkName(wish.name, 'the node', HOSTNAME_PATTERN);
  if (!isIpv4(wish.address))
    throw new WeftError('BAD_ADDRESS', `the node's address ${JSON.stringify(wish.address.slice(0, 64))} is not an IPv4 address`);
  for (const node of state.nodes.values()) {
    if (node.id === wish.id || (node.name !== wish.name && node.address !== wish.address)) continue;
    const same = node.name === wish.name ? `the name ${node.name}` : `the address ${node.address}`;
    throw new WeftError('CONFLICT', {
      what: `node ${wish.name} cannot join`,
      why: `${same} belongs to node ${node.name} (${node.id})`,
      hint: `Choose another, or remove the old node first: \`ctl node rm ${node.name}\`.`,
    });
  }
}

/**
 * Writes the record of a new node, with what must hold and happen in the same transaction.
 * @throws CONFLICT when name or address are taken, BAD_NAME, BAD_ADDRESS
 */
export async function registerNode(
  store: Store,
  follower: ClusterFollower,
  clock: Clock,
  wish: NodeWish,
  also: { compares: Compare[]; writes: Write[] },
): Promise<Node> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const node = await follower.inTurn(() => tryToRegister(store, follower, clock, wish, also));
    if (node) return node;
  }
  throw new WeftError('CONFLICT', `node ${wish.name} could not be registered: too much else changed at the same time`);
}

/** @returns undefined when the transaction was refused */
async function tryToRegister(
  store: Store,
  follower: ClusterFollower,
  clock: Clock,
  wish: NodeWish,
  also: { compares: Compare[]; writes: Write[] },
): Promise<Node | undefined> {
  const { model } = follower;
  checkWish(model, wish);
  const index = model.pool.nodeIndex + 1;
  const node: Node = { ...wish, index, labels: {}, createdAt: clock.now() };
  const result = await store.txn(
    [{ key: keys.pool(), modRevision: model.revisionOf(keys.pool()) }, { key: keys.node(wish.id), exists: false }, ...also.compares],
    [
      { put: keys.node(wish.id), value: encode(node) },
      { put: keys.pool(), value: encode({ ...model.pool, nodeIndex: index }) },
      ...also.writes,
    ],
  );
  await follower.reached(result.revision);
  return result.ok ? node : model.nodes.get(wish.id);
}

/**
 * What a node that etcd has forgotten is registered as again: the name and address that its agent says it joined under. Who
 * it is stands in its certificate; a name that another node has by now is not given twice.
 */
export function wishFromFacts(state: ClusterState, nodeId: string, facts: NodeFacts): NodeWish {
  const wanted = facts.name || facts.hostname;
  const taken = [...state.nodes.values()].some((n) => n.name === wanted);
  const name = HOSTNAME_PATTERN.test(wanted) && !taken ? wanted : `node-${nodeId.slice(0, 8)}`;
  return { id: nodeId, name, address: facts.address || (facts.addresses[0] ?? '').split('/')[0] || '' };
}
