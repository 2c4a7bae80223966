/** What comes up from one agent: its facts, statuses, and heartbeats, which also say which tombstones it has seen. */
import type { Clock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { NodeFacts } from '#model/node.js';
import { isRemovedNode } from '#planner/find-node.js';
import { sameValue } from '#planner/spec-hash.js';
import type { AgentMessage, Hello } from '#rpc/gen/weft/v1/agent_hub.js';
import type { NodeFacts as WireFacts } from '#rpc/gen/weft/v1/types.js';
import { factsFromWire, statusFromWire } from '#rpc/wire.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { AgentStream } from './agent-stream.js';
import type { NodeSessions } from './node-sessions.js';
import { registerNode, wishFromFacts } from './register-node.js';
import type { StatusWriter } from './status-writer.js';

/** Tombstones forgotten in one transaction. */
const MAX_FORGET = 100;

export interface UplinkTools {
  nodeId: string;
  follower: ClusterFollower;
  store: Store;
  clock: Clock;
  log: Log;
  statuses: StatusWriter;
  sessions: NodeSessions;
}

export class AgentUplink {
  readonly #tools: UplinkTools;
  #facts: NodeFacts | undefined;
  #registering = false;
  /** Facts that are known to be in etcd: a heartbeat costs no comparison. */
  #settled: { mine: NodeFacts; known: NodeFacts } | undefined;

  constructor(tools: UplinkTools) {
    this.#tools = tools;
  }

  /**
   * @param answered waits for etcd, as long as is wise
   * @param signal aborted when the agent has gone: what it said here is old then, and where it is now is not for us to say
   * @throws FORBIDDEN for a node that was removed, UNAVAILABLE when the agent has gone, and as `answered` does
   */
  async register(hello: Hello, answered: (written: Promise<void>) => Promise<void>, signal: AbortSignal): Promise<void> {
    const { nodeId, statuses, sessions } = this.#tools;
    this.#facts = this.#checkFacts(hello.facts);
    await answered(this.#ensureRecord().then(() => this.#writeFacts()));
    if (signal.aborted) throw new WeftError('UNAVAILABLE', 'the agent broke off');
    sessions.attached(nodeId);
    statuses.take(
      nodeId,
      hello.tasks.map((s) => statusFromWire({ ...s, nodeId })),
    );
  }

  /** Reads until the agent ends its side. */
  async read(inbox: AsyncIterator<AgentMessage>, stream: AgentStream): Promise<void> {
    for (;;) {
      const next = await inbox.next();
      if (next.done || stream.ended.aborted) return;
      try {
        await this.#take(next.value, stream);
      } catch (error) {
        if (error instanceof WeftError && (error.code === 'BAD_VALUE' || error.code === 'FORBIDDEN')) throw error;
        this.#tools.log.warn({ node: this.#tools.nodeId, error: messageOf(error) }, 'could not write what an agent told');
      }
    }
  }

  async #take({ message }: AgentMessage, stream: AgentStream): Promise<void> {
    const { nodeId, statuses, sessions } = this.#tools;
    sessions.heard(nodeId);
    if (message?.$case === 'status') {
      statuses.take(
        nodeId,
        message.value.statuses.map((s) => statusFromWire({ ...s, nodeId })),
      );
    } else if (message?.$case === 'facts') {
      this.#facts = this.#checkFacts(message.value);
      await this.#writeFacts();
    } else if (message?.$case === 'heartbeat') {
      // Nothing is promised that rests on a session which may be over, or before the agent knows what became of its tasks.
      if (sessions.vouches(nodeId, stream.shownRevision)) stream.heard(message.value.number);
      stream.programmed(message.value.programmedRevision);
      await this.#ensureRecord();
      await this.#writeFacts();
      await this.#forgetTombstones(message.value.appliedRevision, stream);
    }
  }

  #checkFacts(message: WireFacts | undefined): NodeFacts {
    const { nodeId, clock } = this.#tools;
    return { ...factsFromWire({ ...(message ?? EMPTY_FACTS), nodeId, at: clock.now() }), nodeId };
  }

  /** A valid certificate without a record: etcd has forgotten the node. It comes back under what its agent tells of it. */
  async #ensureRecord(): Promise<void> {
    const { nodeId, follower, store, clock, log } = this.#tools;
    const { model } = follower;
    if (model.nodes.has(nodeId) || this.#registering || !follower.current || !model.cluster) return;
    if (model.revisionOf(keys.node(nodeId)) > 0) throw new WeftError('CORRUPT', `the record of node ${nodeId} cannot be read`);
    if (isRemovedNode(model, nodeId)) {
      throw new WeftError('FORBIDDEN', {
        what: 'this node was removed from the cluster',
        hint: 'Join it again with a new token: `ctl node token`.',
      });
    }
    this.#registering = true;
    try {
      const node = await registerNode(store, follower, clock, wishFromFacts(model, nodeId, this.#facts as NodeFacts), {
        compares: [],
        writes: [],
      });
      log.warn({ node: nodeId, name: node.name }, 'etcd had forgotten this node; it is registered again');
    } finally {
      this.#registering = false;
    }
  }

  async #writeFacts(): Promise<void> {
    const { nodeId, follower, store } = this.#tools;
    const known = follower.model.facts.get(nodeId);
    if (!this.#facts || !follower.current || !follower.model.nodes.has(nodeId)) return;
    if (this.#settled?.mine === this.#facts && this.#settled.known === known) return;
    if (known && sameValue({ ...known, at: 0 }, { ...this.#facts, at: 0 })) {
      this.#settled = { mine: this.#facts, known };
      return;
    }
    await store.txn([{ key: keys.node(nodeId), exists: true }], [{ put: keys.nodeFacts(nodeId), value: encode(this.#facts) }]);
  }

  /** What was applied up to a revision that came on this very stream explains itself no more. */
  async #forgetTombstones(appliedRevision: number, stream: AgentStream): Promise<void> {
    const { nodeId, follower, store } = this.#tools;
    const { model } = follower;
    if (!follower.current || this.#facts?.quarantine !== undefined || appliedRevision > stream.sentRevision) return;
    const seen = [...(model.tombstones.get(nodeId)?.keys() ?? [])]
      .map((taskId) => keys.tombstone(nodeId, taskId))
      .filter((key) => model.revisionOf(key) <= appliedRevision)
      .slice(0, MAX_FORGET);
    if (seen.length === 0) return;
    await store.txn(
      seen.map((key) => ({ key, modRevision: model.revisionOf(key) })),
      seen.map((key) => ({ delete: key })),
    );
  }
}

const EMPTY_FACTS: WireFacts = {
  nodeId: '',
  hostname: '',
  name: '',
  address: '',
  addresses: [],
  underlayMtu: 1500,
  cpus: 0,
  memoryBytes: 0,
  routes: [],
  listening: [],
  versions: {},
  devices: [],
  advertised: [],
  images: [],
  features: [],
  findings: [],
  repairs: [],
  platform: '',
  quarantine: undefined,
  driftRepairs: 0,
  at: 0,
};
