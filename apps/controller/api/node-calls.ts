/** The cluster, its nodes, and the tokens to join it. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { nodeSchema, type Node } from '#model/node.js';
import { homelessOf } from '#planner/drain-outlook.js';
import { findNode } from '#planner/find-node.js';
import { standingOf } from '#planner/schedule.js';
import { callUnary } from '#rpc/client.js';
import type {
  AcceptNodeRequest,
  ApiClient,
  CreateTokenRequest,
  CreateTokenResponse,
  GetClusterResponse,
  RemoveNodeRequest,
  RotateNodeKeysRequest,
  RotateNodeKeysResponse,
  UpdateNodeRequest,
  UpdateNodeResponse,
} from '#rpc/gen/weft/v1/api.js';
import type { Peer } from '#rpc/server.js';
import type { Store } from '#store/store.js';
import type { Ca } from '#trust/ca.js';
import { caDigest } from '#trust/identity.js';
import { makeToken } from '#trust/token.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { AgentHub } from './agent-hub.js';
import type { ControllerClients } from './controller-clients.js';
import { apiAddresses } from './controller-calls.js';

export const VERSION = '0.1.0';
/** As in `node.labels.<name>` of a constraint. */
const LABEL_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 7 * 86_400_000;

export interface NodeCallTools {
  follower: ClusterFollower;
  store: Store;
  clock: Clock;
  hub: AgentHub;
  /** The other controllers. */
  others: ControllerClients;
  ca: Ca;
  /** host:port of this controller's join listener. */
  joinAddress: () => string;
}

export class NodeCalls {
  readonly #tools: NodeCallTools;

  constructor(tools: NodeCallTools) {
    this.#tools = tools;
  }

  cluster = async (): Promise<GetClusterResponse> => {
    const { model, staleReason } = this.#tools.follower;
    const leader = model.leader === undefined ? undefined : model.controllers.get(model.leader);
    return {
      id: model.cluster?.id ?? '',
      leader: leader?.name ?? model.leader ?? '',
      version: VERSION,
      controllers: apiAddresses(model),
      stale: staleReason,
    };
  };

  createToken = async ({ role, ttlMs }: CreateTokenRequest): Promise<CreateTokenResponse> => {
    const { follower, store, clock, ca, joinAddress } = this.#tools;
    follower.requireCurrent();
    if (role !== 'node' && role !== 'admin' && role !== 'controller')
      throw new WeftError('BAD_VALUE', `a token is for the role node, admin or controller, not ${JSON.stringify(role.slice(0, 32))}`);
    if (ttlMs < MIN_TTL_MS || ttlMs > MAX_TTL_MS)
      throw new WeftError('BAD_VALUE', 'a token lives at least one second and at most seven days');
    const token = makeToken(caDigest(ca.certPem));
    const expiresAt = clock.now() + ttlMs;
    await store.txn(
      [{ key: keys.token(token.id), exists: false }],
      [{ put: keys.token(token.id), value: encode({ id: token.id, secretHash: token.secretHash, role, expiresAt }) }],
    );
    return { token: token.text, expiresAt, joinAddresses: [joinAddress()] };
  };

  accept = async ({ node: nameOrId }: AcceptNodeRequest, peer: Peer): Promise<Record<string, never>> => {
    this.#tools.follower.requireCurrent();
    const node = this.#find(nameOrId);
    const holder = this.#holderOf(node, peer);
    if (!holder) this.#tools.hub.accept(node.id);
    else await callUnary(holder.api, 'acceptNode', { node: node.id }, { target: holder.target });
    return {};
  };

  /** Tells as many as it can, and says who could not be told. @throws why, when nobody could */
  rotateKeys = async ({ nodes }: RotateNodeKeysRequest, peer: Peer): Promise<RotateNodeKeysResponse> => {
    const { follower } = this.#tools;
    follower.requireCurrent();
    const wanted = nodes.length > 0 ? nodes.map((name) => this.#find(name)) : [...follower.model.nodes.values()];
    const outcomes = await Promise.allSettled(wanted.map((node) => this.#rotate(node, peer)));
    const failed = outcomes.filter((o) => o.status === 'rejected');
    if (failed[0] && failed.length === outcomes.length) throw failed[0].reason;
    const named = (status: 'fulfilled' | 'rejected') =>
      wanted.flatMap((node, i) => (outcomes[i]?.status === status ? [node.name] : [])).sort();
    return { nodes: named('fulfilled'), missed: named('rejected') };
  };

  async #rotate(node: Node, peer: Peer): Promise<void> {
    const holder = this.#holderOf(node, peer);
    if (!holder) this.#tools.hub.rotateKeys(node.id);
    else await callUnary(holder.api, 'rotateNodeKeys', { nodes: [node.id] }, { target: holder.target });
  }

  /** Another controller that holds the stream of the node's agent. What one passes on is not passed on again. */
  #holderOf(node: Node, peer: Peer): { api: ApiClient; target: string } | undefined {
    const { hub, follower, others } = this.#tools;
    if (peer.role === 'controller' || hub.has(node.id)) return undefined;
    const record = follower.model.controllers.get(follower.model.sessions.get(node.id) ?? '');
    return record && others.reach(record);
  }

  /** Availability and labels. Of a drained node it is told at once which tasks have no other place. */
  update = async ({ node: nameOrId, availability, setLabels, removeLabels }: UpdateNodeRequest): Promise<UpdateNodeResponse> => {
    const { follower, store } = this.#tools;
    follower.requireCurrent();
    const node = this.#find(nameOrId);
    const removed = new Set(removeLabels);
    const kept = Object.entries(node.labels).filter(([label]) => !removed.has(label));
    const next = nodeSchema.safeParse({
      ...node,
      labels: { ...Object.fromEntries(kept), ...setLabels },
      availability: availability ?? node.availability,
    });
    const badLabel = Object.keys(setLabels).find((label) => !LABEL_PATTERN.test(label));
    if (badLabel !== undefined) throw new WeftError('BAD_VALUE', `${JSON.stringify(badLabel.slice(0, 64))} cannot be the name of a label`);
    if (!next.success)
      throw new WeftError('BAD_VALUE', { what: `node ${node.name} cannot be changed so`, why: next.error.issues[0]?.message });
    const key = keys.node(node.id);
    const result = await store.txn([{ key, modRevision: follower.model.revisionOf(key) }], [{ put: key, value: encode(next.data) }]);
    if (!result.ok) throw new WeftError('CONFLICT', `node ${node.name} was changed at the same time`);
    await follower.reached(result.revision);
    const changed = follower.model.nodes.get(node.id);
    return { homeless: changed?.availability === 'drain' && availability !== undefined ? homelessOf(follower.model, changed) : [] };
  };

  /** Forgets a node. Its tasks are placed elsewhere: so it must be surely gone, or `force` says that it is. */
  remove = async ({ node: nameOrId, force }: RemoveNodeRequest): Promise<Record<string, never>> => {
    const { follower, store, clock } = this.#tools;
    follower.requireCurrent();
    const node = this.#find(nameOrId);
    const standing = standingOf(follower.model, node.id);
    const tasks = follower.model.tasksOfNode(node.id).length;
    if (!force && (standing === 'ready' || standing === 'quarantined')) {
      throw new WeftError('CONFLICT', { what: `node ${node.name} is ${standing}`, hint: 'Stop its agent first, or use --force.' });
    }
    if (!force && tasks > 0) {
      throw new WeftError('CONFLICT', {
        what: `node ${node.name} had ${tasks} task(s) when it was last heard`,
        why: 'they may still run there; their addresses would be given to others',
        hint: 'Make sure that the machine is off, then use --force.',
      });
    }
    const key = keys.node(node.id);
    const tombstone = { taskId: node.id, nodeId: node.id, reason: 'the node was removed', at: clock.now() };
    const result = await store.txn(
      [{ key, modRevision: follower.model.revisionOf(key) }],
      [
        { delete: key },
        { delete: keys.nodeFacts(node.id) },
        { delete: keys.nodeState(node.id) },
        { delete: keys.nodeSession(node.id) },
        { put: keys.tombstone(node.id, node.id), value: encode(tombstone) },
      ],
    );
    if (!result.ok) throw new WeftError('CONFLICT', `node ${node.name} was changed at the same time`);
    await follower.reached(result.revision);
    return {};
  };

  #find(nameOrId: string): Node {
    const node = findNode(this.#tools.follower.model, nameOrId);
    if (node) return node;
    throw new WeftError('NOT_FOUND', { what: `there is no node ${nameOrId.slice(0, 64)}`, hint: 'List the nodes with `ctl node ls`.' });
  }
}
