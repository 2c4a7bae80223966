/**
 * The agents' streams. Who an agent is comes from its certificate, and its own view is all it is sent: a snapshot, then
 * deltas, gathered (pulse.ts). Up come facts, statuses and heartbeats.
 */
import type { handleBidiStreamingCall } from '@grpc/grpc-js';
import type { Clock } from '#base/clock.js';
import { asWeftError, messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { after, pause, within } from '#base/timers.js';
import { keys } from '#model/keys.js';
import { ViewIndex, type Touched } from '#planner/view-index.js';
import type { AgentMessage, Hello, HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { bidi } from '#rpc/server.js';
import type { Store } from '#store/store.js';
import type { Change, ClusterFollower } from '../cluster/follower.js';
import { AgentStream, ALIVE } from './agent-stream.js';
import { AgentUplink } from './agent-uplink.js';
import type { NodeSessions } from './node-sessions.js';
import { Pulse } from './pulse.js';
import { ConfirmationWriter } from './confirmation-writer.js';
import { StatusWriter } from './status-writer.js';

const HELLO_TIMEOUT_MS = 10_000;
/** How long to wait for our own model to reach what the agent has seen already, from another replica, in milliseconds. */
const CATCH_UP_MS = 3_000;
/** With other controllers there, an agent that comes to one that has lost touch with etcd waits no longer than this, in milliseconds. */
const PASS_ON_MS = 300;
/**
 * With other controllers there, an agent does not wait longer than this for an etcd that does not answer this one, in
 * milliseconds: that it is out of reach is known for sure only later.
 */
const ANSWER_MS = 1_000;
/** With other controllers there, the agents of one that has lost touch with etcd for so long, in milliseconds, are sent on to them. */
const SEND_ON_MS = 2_000;

const EVERYTHING: Touched = { everything: true, nodes: new Set(), parts: new Set() };

export interface HubTools {
  follower: ClusterFollower;
  store: Store;
  sessions: NodeSessions;
  controllerId: string;
  log: Log;
  clock: Clock;
}

export class AgentHub {
  readonly #tools: HubTools;
  readonly #statuses: StatusWriter;
  readonly #streams = new Map<string, AgentStream>();
  readonly #confirmations: ConfirmationWriter;
  readonly #unlisten: () => void;
  #stopMinding: () => void = () => undefined;
  readonly #views: ViewIndex;
  readonly #pulse: Pulse;

  constructor(tools: HubTools) {
    this.#tools = tools;
    this.#views = new ViewIndex(tools.follower.model);
    this.#pulse = new Pulse(tools.clock);
    this.#statuses = new StatusWriter(tools.store, tools.follower, tools.sessions, tools.log, tools.clock);
    this.#confirmations = new ConfirmationWriter({ ...tools, confirmed: () => this.#confirmed() });
    tools.sessions.onTaken = (nodeId) => this.#streams.get(nodeId)?.end();
    tools.sessions.onLost = () => this.#sendOn('the lease of this controller in etcd is lost');
    this.#unlisten = tools.follower.listen((change) => {
      this.#mark(change);
      if (change.type === 'gap') this.#minding();
    });
  }

  stop(): void {
    this.#unlisten();
    this.#confirmations.stop();
    this.#stopMinding();
    for (const stream of this.#streams.values()) stream.end();
  }

  /** Starts to count when etcd is lost, and stops when it is back. */
  #minding(): void {
    const { follower, clock } = this.#tools;
    this.#stopMinding();
    if (follower.current) return;
    this.#stopMinding = after(clock, SEND_ON_MS, () => this.#sendOn(follower.staleReason));
  }

  /** The leader waits for agents of a controller that went away, but not for ever: they go while there is time. */
  #sendOn(reason: string): void {
    if (!this.#hasOthers || this.#streams.size === 0) return;
    this.#tools.log.warn({ agents: this.#streams.size, reason }, 'sending the agents on to other controllers');
    for (const stream of this.#streams.values()) stream.end();
  }

  get #hasOthers(): boolean {
    return this.#tools.follower.model.controllers.size > 1;
  }

  /** `ctl node accept`. @throws UNAVAILABLE when the node's agent is not attached to this controller */
  accept(nodeId: string): void {
    this.#attached(nodeId).accept();
  }

  /** `ctl node rotate-keys`. @throws UNAVAILABLE when the node's agent is not attached to this controller */
  rotateKeys(nodeId: string): void {
    this.#attached(nodeId).rotateKeys();
  }

  /** Whether the node's agent is attached to this controller. */
  has(nodeId: string): boolean {
    return this.#streams.has(nodeId);
  }

  #attached(nodeId: string): AgentStream {
    const stream = this.#streams.get(nodeId);
    if (stream) return stream;
    throw new WeftError('UNAVAILABLE', {
      what: 'the agent of this node is attached to no controller',
      hint: 'Start the agent, or look at its log; then try again.',
    });
  }

  readonly attach: handleBidiStreamingCall<AgentMessage, HubMessage> = bidi<AgentMessage, HubMessage>(['node'], (requests, peer, signal) =>
    this.converse(requests, peer.id, signal),
  );

  /**
   * One agent's stream, from its hello to its end.
   * @param nodeId who it is, as its certificate says
   */
  async *converse(requests: AsyncIterable<AgentMessage>, nodeId: string, signal: AbortSignal): AsyncGenerator<HubMessage> {
    const { follower, log, clock, store, sessions } = this.#tools;
    const inbox = requests[Symbol.asyncIterator]();
    yield ALIVE;
    const uplink = new AgentUplink({ nodeId, follower, store, clock, log, statuses: this.#statuses, sessions });
    const hello = await this.#hello(inbox, signal);
    await this.#catchUp(hello);
    await uplink.register(hello, (written) => this.#answered(written), signal);
    const stream = new AgentStream(nodeId, {
      follower,
      clock,
      pulse: this.#pulse,
      viewOf: (id) => this.#views.viewOf(id),
      onConfirmed: () => this.#confirmations.mark(),
    });
    this.#streams.get(nodeId)?.end();
    this.#streams.set(nodeId, stream);
    log.info({ node: nodeId, revision: hello.revision }, 'an agent attached');
    const reading = uplink
      .read(inbox, stream)
      .catch((error: unknown) => log.debug({ node: nodeId, error: messageOf(error) }, 'an agent broke off'));
    signal.addEventListener('abort', () => stream.end(), { once: true });
    if (signal.aborted) stream.end();
    void reading.then(() => stream.end());
    try {
      yield* stream.messages();
    } finally {
      if (this.#streams.get(nodeId) === stream) {
        this.#streams.delete(nodeId);
        this.#statuses.forget(nodeId);
      }
      log.info({ node: nodeId }, 'an agent detached');
    }
  }

  #mark(change: Change): void {
    // After a gap the model may be what it was: whoever waits to be told something looks.
    const touched = change.type === 'changed' ? this.#views.note(change.keys) : EVERYTHING;
    for (const stream of this.#streams.values()) stream.noticed(touched);
    this.#confirmations.mark();
  }

  *#confirmed(): Generator<[nodeId: string, revision: number]> {
    for (const [nodeId, stream] of this.#streams) yield [nodeId, stream.confirmedRevision];
  }

  /**
   * Waits until this controller knows what the agent was told by another. One that lags, or is cut off from etcd, sends the
   * agent on: it would take what is merely old for an etcd that was restored. @throws UNAVAILABLE
   */
  async #catchUp({ clusterId, revision }: Hello): Promise<void> {
    const { follower, store, sessions } = this.#tools;
    const waitMs = this.#hasOthers ? PASS_ON_MS : CATCH_UP_MS;
    const isInTouch = () => follower.current && sessions.isHeld && follower.model.cluster !== undefined;
    await follower.until(isInTouch, waitMs, 'the cluster');
    if (clusterId !== follower.model.cluster?.id || follower.model.revision >= revision) return;
    const now = await this.#answered(store.list(keys.cluster()));
    // An agent that is ahead of an etcd that was restored must hear so: it then holds on to what it has.
    if (now.revision >= revision) await follower.reached(revision, CATCH_UP_MS);
  }

  /** @throws UNAVAILABLE where others may have more luck with etcd */
  #answered<T>(answer: Promise<T>): Promise<T> {
    if (!this.#hasOthers) return answer;
    return within(this.#tools.clock, ANSWER_MS, answer, () => new WeftError('UNAVAILABLE', 'etcd does not answer this controller'));
  }

  async #hello(inbox: AsyncIterator<AgentMessage>, signal: AbortSignal) {
    const { over, end } = pause(this.#tools.clock, HELLO_TIMEOUT_MS, signal);
    try {
      const first = await Promise.race([inbox.next(), over]);
      const message = first && !first.done ? first.value.message : undefined;
      if (message?.$case !== 'hello') throw new WeftError('BAD_VALUE', 'the first message of an agent must be its hello');
      return message.value;
    } catch (error) {
      throw asWeftError(error, 'UNAVAILABLE', 'the agent broke off');
    } finally {
      end();
    }
  }
}
