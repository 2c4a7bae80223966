/**
 * The stream to a controller: any of them. Down come snapshot and deltas, up go facts, statuses and a heartbeat. When it
 * breaks, or the controller falls silent, another is tried; meanwhile the node goes on with what it knows.
 */
import { asWeftError, messageOf } from '#base/errors.js';
import type { Clock } from '#base/clock.js';
import type { Log } from '#base/log.js';
import { after, every } from '#base/timers.js';
import type { NodeFacts } from '#model/node.js';
import { connect, openBidi, type Bidi } from '#rpc/client.js';
import { AgentHubClient, type AgentMessage, type HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { deltaFromWire, factsToWire, snapshotFromWire, statusToWire } from '#rpc/wire.js';
import type { Identity } from '#trust/identity.js';
import type { Believer } from '../believer.js';
import { ControllerChoice, firstWordMs, ONCE_MORE_MS, retryMs } from '../controller-choice.js';
import type { DesiredStore } from '../desired-store.js';
import type { StatusBoard } from '../status-board.js';

/** A controller says in every interval that it is alive; after so many without a word it is frozen, or cut off. */
const SILENT_INTERVALS = 5;
/** A timer that comes later than this, in milliseconds, says that this process stood still, not the controller. */
const LATE_MS = 500;
const HEARTBEAT_MS = 500;
const COALESCE_MS = 100;
const COALESCE_COUNT = 100;
const SETTLED_MS = 10;
/** For what is said together with the end of a task's service. */
const URGENT_MS = 1;
/** A controller that takes a stream owes a snapshot by then. After that, silence is normal and gRPC's keepalive watches. */
const FIRST_SNAPSHOT_MS = 5_000;
/** While quarantined, ask again with a new stream: the controller may have been put right. */
const ASK_AGAIN_MS = 15_000;
/** The same failure again is said again after this. */
const SAY_AGAIN_MS = 60_000;
/** After `accept`, the snapshot comes by itself; if not, a new stream brings one. */
const ACCEPT_WAIT_MS = 1_000;

/** A stream to one controller, and what it runs over. */
export interface Line {
  bidi: Bidi<AgentMessage, HubMessage>;
  close(): void;
}

/** @param target host:port. The stream ends when `signal` aborts. */
export type Dial = (target: string, signal: AbortSignal) => Line;

/** Over mutual TLS, as this node. */
export const dialAs =
  (identity: Identity): Dial =>
  (target, signal) => {
    const client = connect(AgentHubClient, target, identity, 'controller');
    return { bidi: openBidi(client.attach(), signal, target), close: () => client.close() };
  };

export interface HubOptions {
  /** host:port of the controllers, as far as known. */
  controllers: () => string[];
  /** Underlay address of this node. */
  address: string;
  dial: Dial;
  store: DesiredStore;
  believer: Believer;
  board: StatusBoard;
  /** Revision that the kernel was last made as, 0 for none. */
  programmed?: () => number;
  /** Told when what a controller has read had been sent, monotonic milliseconds. */
  onHeard?: (sentAt: number) => void;
  /** The newest facts. */
  facts: () => NodeFacts;
  /** `ctl node rotate-keys`. */
  rotateKeys?: () => Promise<void> | undefined;
  clock: Clock;
  log: Log;
}

export interface Hub {
  /** New facts are there: send them soon. */
  factsChanged(): void;
  /** The kernel was made as a newer view: somebody waits to hear so. */
  beat(): void;
  isConnected(): boolean;
  stop(): Promise<void>;
}

export function startHub(options: HubOptions): Hub {
  const stopping = new AbortController();
  let session: Session | undefined;
  const complain = rarely(options);
  const running = (async () => {
    const choice = new ControllerChoice(options.address, options.clock);
    for (let failures = 0; !stopping.signal.aborted;) {
      const targets = options.controllers();
      const { target, isOnceMore } = choice.next(targets);
      if (target !== undefined) {
        session = new Session(options, target, stopping.signal, complain);
        const end = await session.run(isOnceMore ? ONCE_MORE_MS : firstWordMs(failures, targets.length));
        session = undefined;
        if (end !== 'no answer') failures = 0;
        if (end === 'silence') {
          choice.fellSilent(target);
          continue;
        }
        choice.failed(target);
      }
      await options.clock.sleep(retryMs(++failures, targets.length), stopping.signal).catch(() => undefined);
    }
  })();
  return {
    factsChanged: () => session?.sendFacts(),
    beat: () => session?.beat(),
    isConnected: () => session?.isUp ?? false,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Says that something failed, once in a while if it is always the same. */
function rarely({ clock, log }: HubOptions): (fields: object, message: string) => void {
  let last = '';
  let lastAt = -Infinity;
  return (fields, message) => {
    const text = JSON.stringify([fields, message]);
    if (text === last && clock.monotonic() - lastAt < SAY_AGAIN_MS) return;
    last = text;
    lastAt = clock.monotonic();
    log.warn(fields, message);
  };
}

/** How a stream went: nothing came of it; it worked until it broke, or until the controller was silent for too long. */
type End = 'no answer' | 'break' | 'silence';

/** One stream, from Hello to its end. */
class Session {
  isUp = false;
  #isSilent = false;
  readonly #o: HubOptions;
  readonly #target: string;
  readonly #end = new AbortController();
  readonly #stopSignal: AbortSignal;
  readonly #complain: (fields: object, message: string) => void;
  readonly #timers = new Set<() => void>();
  #bidi: Bidi<AgentMessage, HubMessage> | undefined;
  #coalescing: (() => void) | undefined;
  #coalescingMs = 0;
  #stopAwaiting: () => void = () => undefined;
  #silence: (() => void) | undefined;
  #silentMs = 0;
  /** Heartbeats of this stream, and when those that are not confirmed yet were sent: monotonic milliseconds by number. */
  #beats = 0;
  readonly #beatsSent = new Map<number, number>();
  /** What was handed to the connection and not taken yet. */
  #inFlight = 0;

  constructor(options: HubOptions, target: string, stopSignal: AbortSignal, complain: (fields: object, message: string) => void) {
    this.#o = options;
    this.#target = target;
    this.#stopSignal = stopSignal;
    this.#complain = complain;
  }

  /**
   * Resolves when the stream is over. Never rejects.
   * @param firstWordMs how long its first word is waited for
   */
  async run(firstWordMs: number): Promise<End> {
    const { dial, believer, board } = this.#o;
    const onStop = () => this.#end.abort();
    this.#stopSignal.addEventListener('abort', onStop, { once: true });
    let line: Line | undefined;
    try {
      believer.streamBegan();
      line = dial(this.#target, this.#end.signal);
      this.#bidi = line.bidi;
      this.#send(this.#hello());
      this.beat();
      board.allHeard();
      this.#startTimers();
      this.#listen(firstWordMs);
      for await (const message of this.#bidi.messages) this.#receive(message);
      if (!this.#stopSignal.aborted) this.#complain({ controller: this.#target }, 'the stream to the controller ended');
    } catch (error) {
      if (!this.#stopSignal.aborted)
        this.#complain({ controller: this.#target, error: asWeftError(error).message }, 'no stream to the controller');
    } finally {
      board.onChange(undefined);
      for (const stop of this.#timers) stop();
      this.#stopSignal.removeEventListener('abort', onStop);
      this.#bidi?.cancel();
      line?.close();
    }
    if (!this.isUp) return 'no answer';
    return this.#isSilent ? 'silence' : 'break';
  }

  sendFacts(): void {
    this.#send({ message: { $case: 'facts', value: factsToWire(this.#o.facts()) } });
  }

  beat(): void {
    // What was confirmed may be forgotten by the controller: it must outlast a crash of this agent.
    const { store, programmed, clock } = this.#o;
    const number = ++this.#beats;
    this.#beatsSent.set(number, clock.monotonic());
    const value = { appliedRevision: store.savedRevision, programmedRevision: programmed?.() ?? 0, number };
    this.#send({ message: { $case: 'heartbeat', value } });
  }

  #hello(): AgentMessage {
    const { store, board, facts } = this.#o;
    const { revision, clusterId } = store.view;
    return {
      message: { $case: 'hello', value: { revision, clusterId, facts: factsToWire(facts()), tasks: board.all().map(statusToWire) } },
    };
  }

  #startTimers(): void {
    const { board } = this.#o;
    // A connection that takes nothing is not fed: the heartbeat says "alive now", an old one says nothing.
    this.#every(HEARTBEAT_MS, () => {
      if (this.#inFlight === 0) this.beat();
    });
    this.#every(ASK_AGAIN_MS, () => {
      if (this.#o.believer.quarantine !== undefined) this.#end.abort();
    });
    this.#stopAwaiting = this.#after(FIRST_SNAPSHOT_MS, () => this.#end.abort());
    board.onChange(() => this.#statusChanged());
  }

  #receive({ message }: HubMessage): void {
    if (message === undefined) return;
    if (message.$case === 'alive') this.#silentMs = SILENT_INTERVALS * message.value.intervalMs;
    this.#listen(this.#silentMs);
    if (message.$case === 'alive') return this.#wasHeard(message.value.heard);
    if (!this.isUp) this.#o.log.info({ controller: this.#target }, 'attached to the controller');
    this.isUp = true;
    const { believer, log } = this.#o;
    try {
      switch (message.$case) {
        case 'snapshot':
          this.#stopAwaiting();
          return believer.snapshot(snapshotFromWire(message.value));
        case 'delta':
          return believer.delta(deltaFromWire(message.value));
        case 'rotateKeys':
          void this.#o
            .rotateKeys?.()
            ?.catch((error: unknown) => log.error({ error: messageOf(error) }, 'could not rotate the key of the tunnels'));
          return;
        case 'accept':
          believer.accept();
          this.#stopAwaiting();
          this.#stopAwaiting = this.#after(ACCEPT_WAIT_MS, () => this.#end.abort());
      }
    } catch (error) {
      // Not of the agreed form: what follows would build on it. Ask for the whole again.
      log.error({ controller: this.#target, error: messageOf(error) }, 'the controller sent what this agent cannot read');
      this.#end.abort();
    }
  }

  /** What was heard by the controller is known by the number of a heartbeat. */
  #wasHeard(number: number): void {
    const sentAt = this.#beatsSent.get(number);
    if (sentAt === undefined) return;
    for (const known of this.#beatsSent.keys()) if (known <= number) this.#beatsSent.delete(known);
    this.#o.onHeard?.(sentAt);
  }

  /** Waits for the next word. A controller that does not promise one is only watched by gRPC's keepalive. */
  #listen(ms: number): void {
    this.#forgetTimer(this.#silence);
    if (ms === 0) return;
    const { clock } = this.#o;
    const dueAt = clock.monotonic() + ms;
    this.#silence = this.#after(ms, () => {
      if (clock.monotonic() - dueAt > LATE_MS) return this.#listen(ms);
      this.#isSilent = true;
      this.#complain({ controller: this.#target }, 'the controller is silent');
      this.#end.abort();
    });
  }

  /**
   * Once no task is on its way, nothing is worth waiting for: somebody may be waiting for just this. A task that serves no more is
   * said at once; if many end in a row, the controller gathers (its status writer).
   */
  #statusChanged(): void {
    const { board } = this.#o;
    if (board.unheard >= COALESCE_COUNT) return this.#flushStatuses();
    const delayMs = board.isUrgent ? URGENT_MS : board.isSettled ? SETTLED_MS : COALESCE_MS;
    if (this.#coalescing && delayMs >= this.#coalescingMs) return;
    this.#forgetTimer(this.#coalescing);
    this.#coalescingMs = delayMs;
    this.#coalescing = this.#after(delayMs, () => this.#flushStatuses());
  }

  #flushStatuses(): void {
    this.#forgetTimer(this.#coalescing);
    this.#coalescing = undefined;
    for (let batch = this.#o.board.take(COALESCE_COUNT); batch.length > 0; batch = this.#o.board.take(COALESCE_COUNT)) {
      this.#send({ message: { $case: 'status', value: { statuses: batch.map(statusToWire) } } });
    }
  }

  /** What cannot be sent is not lost: the next stream's Hello says everything again. */
  #send(message: AgentMessage): void {
    this.#inFlight++;
    this.#bidi
      ?.send(message)
      .catch(() => this.#end.abort())
      .finally(() => this.#inFlight--);
  }

  #every(ms: number, act: () => void): void {
    this.#timers.add(every(this.#o.clock, ms, act));
  }

  #forgetTimer(stop: (() => void) | undefined): void {
    if (!stop) return;
    stop();
    this.#timers.delete(stop);
  }

  #after(ms: number, act: () => void): () => void {
    const stop = after(this.#o.clock, ms, () => {
      this.#timers.delete(stop);
      act();
    });
    this.#timers.add(stop);
    return stop;
  }
}
