/** What goes down to one agent. */
import type { Clock } from '#base/clock.js';
import { every } from '#base/timers.js';
import type { Tombstone } from '#model/task.js';
import { diffViews, EMPTY_VIEW, type View } from '#planner/diff-views.js';
import { touches, type Touched } from '#planner/view-index.js';
import type { HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { deltaOf, snapshotOf } from '#rpc/wire.js';
import { Bell } from '../bell.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { Pulse } from './pulse.js';

/** How often a stream says that its controller is alive, in milliseconds. */
const ALIVE_MS = 500;

/** What an agent hears first, and in every interval. */
export const ALIVE: HubMessage = alive(0);

function alive(heard: number): HubMessage {
  return { message: { $case: 'alive', value: { intervalMs: ALIVE_MS, heard } } };
}

export interface StreamTools {
  follower: ClusterFollower;
  clock: Clock;
  pulse: Pulse;
  viewOf: (nodeId: string) => View;
  /** Called when `confirmedRevision` may have grown. */
  onConfirmed: () => void;
}

export class AgentStream {
  readonly #nodeId: string;
  readonly #follower: ClusterFollower;
  readonly #clock: Clock;
  readonly #pulse: Pulse;
  readonly #viewOf: (nodeId: string) => View;
  readonly #onConfirmed: () => void;
  readonly #bell = new Bell();
  readonly #ended = new AbortController();
  #sent: { clusterId: string; storeId: string; revision: number; view: View } | undefined;
  /** Revision of the first view on this stream, and of the last that was looked at, sent or not. */
  #firstSent = Infinity;
  #looked = 0;
  #programmed = 0;
  #isMarked = false;
  #isAliveDue = false;
  #aliveAt = -Infinity;
  /** Number of the newest heartbeat. */
  #heard = 0;
  #accept = false;
  #rotate = false;

  constructor(nodeId: string, { follower, clock, pulse, viewOf, onConfirmed }: StreamTools) {
    this.#nodeId = nodeId;
    this.#follower = follower;
    this.#clock = clock;
    this.#pulse = pulse;
    this.#viewOf = viewOf;
    this.#onConfirmed = onConfirmed;
    this.mark();
  }

  /** The newest revision that was sent on this stream. */
  get sentRevision(): number {
    return this.#sent?.revision ?? 0;
  }

  /** The revision up to which everything of consequence to the agent was sent on this stream, before what is sent next. */
  get shownRevision(): number {
    return this.#looked;
  }

  /** A heartbeat was read: the agent waits to hear so. @param number of the heartbeat */
  heard(number: number): void {
    if (number <= this.#heard) return;
    this.#heard = number;
    this.#isAliveDue = true;
    this.#bell.ring();
  }

  /** The agent says which revision its kernel was made as. */
  programmed(revision: number): void {
    if (revision === this.#programmed) return;
    this.#programmed = revision;
    this.#onConfirmed();
  }

  /**
   * The revision up to which the agent's kernel is as its view says: if it has made the newest that was sent, then as far as
   * nothing new had to be sent. 0 while it has not made anything that came on this stream: elsewhere it may have been told of
   * another store.
   */
  get confirmedRevision(): number {
    if (this.#programmed === this.sentRevision) return this.#looked;
    return this.#programmed >= this.#firstSent && this.#programmed < this.sentRevision ? this.#programmed : 0;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  mark(): void {
    this.#isMarked = true;
    this.#bell.ring();
  }

  /** The model has changed: news for this node are sent soon; what is of no consequence to it counts as looked at. */
  noticed(touched: Touched): void {
    if (this.#isMarked) return;
    if (!this.#sent || touches(touched, this.#nodeId, this.#sent.view)) this.mark();
    else this.#looked = this.#follower.model.revision;
  }

  /** Tells the agent to take the next snapshot as it is, and sends one. */
  accept(): void {
    this.#accept = true;
    this.mark();
  }

  /** Has the agent make a new key for encrypted networks. */
  rotateKeys(): void {
    this.#rotate = true;
    this.mark();
  }

  end(): void {
    this.#ended.abort();
  }

  async *messages(): AsyncGenerator<HubMessage> {
    const { signal } = this.#ended;
    const stop = every(this.#clock, ALIVE_MS, () => this.#aliveIsDue());
    try {
      for (;;) {
        await this.#bell.wait(signal);
        if (signal.aborted) return;
        if (this.#isAliveDue) yield this.#alive();
        if (this.#isMarked) yield* this.#news(signal);
      }
    } finally {
      stop();
    }
  }

  async *#news(signal: AbortSignal): AsyncGenerator<HubMessage> {
    await this.#pulse.next();
    if (signal.aborted) return;
    this.#isMarked = false;
    // Looked at in one go: what is noticed from here on is of no consequence to it, or marks it again.
    yield* [...this.#orders(), ...this.#next()];
  }

  /** Said at once when it was heard, and else in every interval. */
  #aliveIsDue(): void {
    if (this.#clock.monotonic() - this.#aliveAt < ALIVE_MS / 2) return;
    this.#isAliveDue = true;
    this.#bell.ring();
  }

  #alive(): HubMessage {
    this.#isAliveDue = false;
    this.#aliveAt = this.#clock.monotonic();
    return alive(this.#heard);
  }

  #orders(): HubMessage[] {
    if (!this.#rotate) return [];
    this.#rotate = false;
    return [{ message: { $case: 'rotateKeys', value: {} } }];
  }

  #next(): HubMessage[] {
    const { model } = this.#follower;
    const clusterId = model.cluster?.id;
    // Without its record a cluster has nothing to say, and without the node's, nothing to this node.
    if (clusterId === undefined || !model.nodes.has(this.#nodeId)) return [];
    const before = this.#sent;
    const accept: HubMessage[] = this.#accept ? [{ message: { $case: 'accept', value: { clusterId } } }] : [];
    const anew =
      before === undefined ||
      this.#accept ||
      before.clusterId !== clusterId ||
      before.storeId !== model.storeId ||
      model.revision < before.revision;
    this.#accept = false;
    const view = this.#viewOf(this.#nodeId);
    const { upserts, removals } = diffViews(anew ? EMPTY_VIEW : before.view, view);
    this.#looked = model.revision;
    this.#onConfirmed();
    if (!anew && upserts.length === 0 && removals.length === 0) {
      this.#sent = { ...before, view };
      return [];
    }
    this.#sent = { clusterId, storeId: model.storeId, revision: model.revision, view };
    if (anew) this.#firstSent = model.revision;
    const head = { clusterId, revision: model.revision };
    if (anew) {
      const snapshot = snapshotOf({ ...head, documents: upserts, tombstones: this.#tombstones() });
      return [...accept, { message: { $case: 'snapshot', value: snapshot } }];
    }
    const gone = new Set(removals.filter((key) => key.startsWith('task/')).map((key) => key.slice('task/'.length)));
    const tombstones = this.#tombstones().filter((t) => gone.has(t.taskId));
    return [
      {
        message: {
          $case: 'delta',
          value: deltaOf({ ...head, documents: upserts, removals, tombstones }),
        },
      },
    ];
  }

  #tombstones(): Tombstone[] {
    return [...(this.#follower.model.tombstones.get(this.#nodeId)?.values() ?? [])];
  }
}
