/**
 * The proof that an agent is alive: for each node whose agent speaks to this replica, an etcd lease with the node's session
 * key on it. It is kept as long as the agent is heard, given up some time after its last word, and simply expires when this
 * replica dies. A keep-alive makes no revision in etcd.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { every } from '#base/timers.js';
import { keys } from '#model/keys.js';
import type { Session, Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** TTL of the etcd leases, in milliseconds: how long the nodes of a replica that died have to come to another one. */
export const NODE_TTL_MS = 5_000;
/**
 * An agent that is not heard for this long, in milliseconds, has no session any more. After a cut of 2 s, with a heartbeat
 * each half second, TCP's retransmission (RFC 6298) brings the next word after 3.5 s at most; the leader waits a second more.
 */
export const SILENCE_MS = 3_000;
/** How often sessions are looked after, in milliseconds. */
const CARE_MS = 250;
/** A session key that was written is shown by the feed within this, in milliseconds. */
const SHOWN_MS = 2_000;
/** Looked after later than this, in milliseconds: this process stood still, and what agents said meanwhile is still unread. */
const STOOD_STILL_MS = 1_000;

interface Held {
  session: Session | undefined;
  /** Monotonic milliseconds. */
  heardAt: number;
  /** When the key was last written, monotonic; the feed needs a moment to show it. */
  putAt: number;
  busy: boolean;
}

export class NodeSessions {
  readonly #store: Store;
  readonly #follower: ClusterFollower;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #controllerId: string;
  readonly #held = new Map<string, Held>();
  #endCare: () => void = () => undefined;
  #caredAt = 0;

  constructor(store: Store, follower: ClusterFollower, controllerId: string, log: Log, clock: Clock) {
    this.#store = store;
    this.#follower = follower;
    this.#controllerId = controllerId;
    this.#log = log;
    this.#clock = clock;
  }

  start(): void {
    this.#caredAt = this.#clock.monotonic();
    this.#endCare = every(this.#clock, CARE_MS, () => this.#careForAll());
  }

  /** Leases are left to expire: an agent comes back, here or elsewhere, well before. */
  stop(): void {
    this.#endCare();
    this.#held.clear();
  }

  /** The agent of this node was heard just now. */
  heard(nodeId: string): void {
    const held = this.#held.get(nodeId);
    if (held) {
      held.heardAt = this.#clock.monotonic();
      return;
    }
    const fresh: Held = { session: undefined, heardAt: this.#clock.monotonic(), putAt: 0, busy: false };
    this.#held.set(nodeId, fresh);
    void this.#care(nodeId, fresh);
  }

  #careForAll(): void {
    const now = this.#clock.monotonic();
    if (now - this.#caredAt > STOOD_STILL_MS) for (const held of this.#held.values()) held.heardAt = now;
    this.#caredAt = now;
    for (const [nodeId, held] of this.#held) void this.#care(nodeId, held);
  }

  async #care(nodeId: string, held: Held): Promise<void> {
    if (held.busy) return;
    held.busy = true;
    try {
      if (this.#clock.monotonic() - held.heardAt > SILENCE_MS) await this.#giveUp(nodeId, held);
      else await this.#keep(nodeId, held);
    } catch (error) {
      this.#log.debug({ node: nodeId, error: messageOf(error) }, 'cannot keep the session of a node; trying again');
    } finally {
      held.busy = false;
    }
  }

  async #giveUp(nodeId: string, held: Held): Promise<void> {
    this.#held.delete(nodeId);
    this.#log.info({ node: nodeId }, 'the agent of a node is silent');
    await held.session?.close();
  }

  async #keep(nodeId: string, held: Held): Promise<void> {
    if (held.session?.lost.aborted) held.session = undefined;
    const shown = this.#follower.model.sessions.has(nodeId) || !this.#follower.current || this.#clock.monotonic() - held.putAt < SHOWN_MS;
    if (held.session && shown) return;
    held.session ??= await this.#store.openSession(NODE_TTL_MS);
    await this.#store.txn([], [{ put: keys.nodeSession(nodeId), value: this.#controllerId, lease: held.session.leaseId }]);
    held.putAt = this.#clock.monotonic();
  }
}
