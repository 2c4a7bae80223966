/**
 * The proof that this controller is alive, and the agents that speak to it: one etcd lease, with the controller's own key on
 * it and a session key for each node whose agent is heard here. A node's key is deleted some time after the agent's last
 * word; all of them expire together, in one revision, when this controller dies or loses etcd. A keep-alive makes no revision.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { every } from '#base/timers.js';
import { keys, splitKey } from '#model/keys.js';
import { SILENCE_MS } from '#model/node-death.js';
import type { Session, Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** TTL of the etcd lease, in milliseconds: how long the nodes of a controller that died have to come to another one. */
const NODE_TTL_MS = 5_000;
/**
 * How long the lease has to be held yet, in milliseconds, for an agent to be told that it was heard. The lease of a controller
 * that etcd has lost ends, with all its sessions, no sooner than this after its agents' last such word.
 */
const LEAST_VOUCHED_MS = 1_500;
/** How often sessions are looked after, in milliseconds. */
const CARE_MS = 250;
/** A session key that was written is shown by the feed within this, in milliseconds. */
const SHOWN_MS = 2_000;
/** Looked after later than this, in milliseconds: this process stood still, and what agents said meanwhile is still unread. */
const STOOD_STILL_MS = 1_000;
/** A key that was changed meanwhile is tried again so often before the next look after it. */
const TRIES = 3;
/** Keys deleted in one transaction. */
const MAX_DELETES = 60;

/** One key on the lease, as this controller wrote it. */
interface Held {
  /** Monotonic milliseconds. */
  heardAt: number;
  /** The newest revision that was known here when the agent came. */
  since: number;
  /** Of the lease that the key was last written on, '' when it has to be written. */
  leaseId: string;
  /** modRevision of the key as we wrote it. */
  revision: number;
  /** When it was written, monotonic; the feed needs a moment to show it. */
  putAt: number;
  busy: boolean;
}

const unheld = (now: number, since: number): Held => ({ heardAt: now, since, leaseId: '', revision: 0, putAt: -Infinity, busy: false });

export class NodeSessions {
  readonly #store: Store;
  readonly #follower: ClusterFollower;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #controllerId: string;
  readonly #held = new Map<string, Held>();
  #endCare: () => void = () => undefined;
  readonly #self: Held;
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #caredAt = 0;
  /** Revision that this process began at: keys of ours that are older are those of the process before it. */
  #startedAt = 0;
  #sweeping = false;

  /** Told when etcd may give the sessions of this controller up: what its agents say does not count any more. */
  onLost: () => void = () => undefined;
  /** Told of a node whose session another controller has: its agent went there, or has to come anew. */
  onTaken: (nodeId: string) => void = () => undefined;

  constructor(store: Store, follower: ClusterFollower, controllerId: string, log: Log, clock: Clock) {
    this.#store = store;
    this.#follower = follower;
    this.#controllerId = controllerId;
    this.#log = log;
    this.#clock = clock;
    this.#self = unheld(0, 0);
  }

  start(): void {
    this.#startedAt = this.#follower.model.revision;
    this.#caredAt = this.#clock.monotonic();
    this.#endCare = every(this.#clock, CARE_MS, () => this.#careForAll());
    this.#careForAll();
  }

  /** The lease is left to expire: agents come back, here or elsewhere, well before. */
  stop(): void {
    this.#endCare();
    this.#held.clear();
  }

  /** Whether etcd surely has this controller's lease: it answered not long ago, and this process did not stand still since. */
  get isHeld(): boolean {
    return this.#session?.lost.aborted === false;
  }

  /** The agent of this node has come here, wherever it was before. */
  attached(nodeId: string): void {
    const held = unheld(this.#clock.monotonic(), this.#follower.model.revision);
    this.#held.set(nodeId, held);
    void this.#care(nodeId, held);
  }

  /** The agent of this node was heard just now. */
  heard(nodeId: string): void {
    const held = this.#held.get(nodeId);
    if (held) held.heardAt = this.#clock.monotonic();
    else this.attached(nodeId);
  }

  /**
   * What must hold in etcd for a word of this node's agent to be its newest: that it still speaks to this controller. A
   * controller that was frozen meanwhile finds its old news refused.
   * @returns undefined while the session is not confirmed
   */
  fence(nodeId: string): { key: string; modRevision: number } | undefined {
    const held = this.#held.get(nodeId);
    const key = keys.nodeSession(nodeId);
    if (!held || held.leaseId === '' || this.#session?.lost.aborted !== false || held.leaseId !== this.#session.leaseId) return undefined;
    return { key, modRevision: held.revision };
  }

  /**
   * Whether the node's agent may be told that it was heard, and counts from there (libs/model node-death.ts): its session is in
   * etcd, and stays there for long enough; the leader has seen it alive, since; and the agent knows what was decided before that.
   * @param shown revision that the agent's stream has told the news of
   */
  vouches(nodeId: string, shown: number): boolean {
    const fence = this.fence(nodeId);
    const { nodeStates } = this.#follower.model;
    if (!fence || fence.modRevision > shown || nodeStates.get(nodeId)?.state !== 'ready') return false;
    return (this.#session?.remainingMs() ?? 0) >= LEAST_VOUCHED_MS;
  }

  #careForAll(): void {
    const now = this.#clock.monotonic();
    if (now - this.#caredAt > STOOD_STILL_MS) for (const held of this.#held.values()) held.heardAt = now;
    this.#caredAt = now;
    void this.#keep(keys.controllerSession(this.#controllerId), this.#self);
    for (const [nodeId, held] of this.#held) {
      if (now - held.heardAt <= SILENCE_MS) {
        void this.#care(nodeId, held);
        continue;
      }
      this.#held.delete(nodeId);
      this.#log.info({ node: nodeId }, 'the agent of a node is silent');
    }
    if (!this.#sweeping) void this.#sweep();
  }

  async #care(nodeId: string, held: Held): Promise<void> {
    if (await this.#keep(keys.nodeSession(nodeId), held)) return;
    // The agent has gone to another controller; what is still unread or unwritten here is old.
    if (this.#held.get(nodeId) !== held) return;
    this.#held.delete(nodeId);
    this.onTaken(nodeId);
  }

  /** Writes the key where it is not there, or not on the lease that is held now. @returns false when another controller has it */
  async #keep(key: string, held: Held): Promise<boolean> {
    if (held.busy) return true;
    held.busy = true;
    try {
      const { leaseId } = await this.#lease();
      for (let attempt = 0; attempt < TRIES && !this.#isSettled(key, held, leaseId); attempt++) {
        if (this.#isTaken(key, held)) return false;
        await this.#put(key, held, leaseId);
      }
    } catch (error) {
      this.#log.debug({ key, error: messageOf(error) }, 'cannot keep a session; trying again');
    } finally {
      held.busy = false;
    }
    return true;
  }

  /** Written by another controller after the agent came here: this process was cut off or stood still, and the agent has moved on. */
  #isTaken(key: string, { revision, since }: Held): boolean {
    const { model } = this.#follower;
    const holder = model.sessions.get(splitKey(key)?.[1] ?? '');
    return model.revisionOf(key) > Math.max(revision, since) && holder !== undefined && holder !== this.#controllerId;
  }

  #isSettled(key: string, held: Held, leaseId: string): boolean {
    if (held.leaseId !== leaseId) return false;
    if (!this.#follower.current || this.#clock.monotonic() - held.putAt < SHOWN_MS) return true;
    return this.#follower.model.revisionOf(key) === held.revision;
  }

  /** On what was seen: a write that etcd applies late, after the agent has moved on, must not bring the key back. */
  async #put(key: string, held: Held, leaseId: string): Promise<void> {
    const seen = this.#follower.model.revisionOf(key);
    const { ok, revision } = await this.#store.txn([{ key, modRevision: seen }], [{ put: key, value: this.#controllerId, lease: leaseId }]);
    if (ok) Object.assign(held, { leaseId, revision, putAt: this.#clock.monotonic() });
    else await this.#follower.reached(revision, SHOWN_MS);
  }

  /** The lease that is held now, or a new one when it was lost. */
  async #lease(): Promise<Session> {
    if (this.#session?.lost.aborted === false) return this.#session;
    this.#opening ??= this.#store.openSession(NODE_TTL_MS).finally(() => (this.#opening = undefined));
    const session = await this.#opening;
    if (this.#session !== session) session.lost.addEventListener('abort', () => this.onLost(), { once: true });
    this.#session = session;
    return session;
  }

  /** Deletes the keys of nodes that are not heard here any more. Those from before this process go with their own lease. */
  async #sweep(): Promise<void> {
    const { model } = this.#follower;
    if (!this.#follower.current) return;
    const mine = [...model.sessions].filter(([nodeId, holder]) => holder === this.#controllerId && !this.#held.has(nodeId));
    const compares = mine
      .map(([nodeId]) => ({ key: keys.nodeSession(nodeId), modRevision: model.revisionOf(keys.nodeSession(nodeId)) }))
      .filter(({ modRevision }) => modRevision > this.#startedAt)
      .slice(0, MAX_DELETES);
    if (compares.length === 0) return;
    this.#sweeping = true;
    try {
      const { revision } = await this.#store.txn(
        compares,
        compares.map(({ key }) => ({ delete: key })),
      );
      await this.#follower.reached(revision, SHOWN_MS);
    } catch (error) {
      this.#log.debug({ error: messageOf(error) }, 'cannot give up sessions; trying again');
    } finally {
      this.#sweeping = false;
    }
  }
}
