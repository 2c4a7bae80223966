/**
 * Decides what of a controller's words becomes this node's view (libs/model `judge`), and holds the reason while it does
 * not: the quarantine. While it lasts the old view stays and everything goes on.
 */
import type { Log } from '#base/log.js';
import type { ViewDelta, ViewSnapshot } from '#model/node-view.js';
import { applyDelta, applySnapshot, judge, type Judgement, type NodeView } from '#model/view-state.js';
import type { DesiredStore } from './desired-store.js';

export class Believer {
  readonly #store: DesiredStore;
  /** Tasks that have a container here, whatever the view says. */
  readonly #containerTasks: () => Iterable<string>;
  readonly #log: Log;
  readonly #onQuarantine: () => void;
  /** Deltas build on the stream's snapshot: without it they mean nothing. */
  #hasBase = false;
  #accepted = false;
  #confirmed = false;
  #reason: string | undefined;

  constructor(store: DesiredStore, containerTasks: () => Iterable<string>, onQuarantine: () => void, log: Log) {
    this.#store = store;
    this.#containerTasks = containerTasks;
    this.#onQuarantine = onQuarantine;
    this.#log = log;
  }

  /** Why the controller is not believed; undefined when it is. */
  get quarantine(): string | undefined {
    return this.#reason;
  }

  /** A controller was heard and believed since the agent started, and is now. Until then what is on disk may be a moment old. */
  get isConfirmed(): boolean {
    return this.#confirmed && this.#reason === undefined;
  }

  /** A new stream: its snapshot is awaited. */
  streamBegan(): void {
    this.#hasBase = false;
  }

  /** `ctl node accept`: the next snapshot is taken, whatever it says. */
  accept(): void {
    this.#accepted = true;
    this.#log.info({}, 'told to accept the next snapshot, whatever it says');
  }

  snapshot(next: ViewSnapshot): void {
    const judgement = this.#accepted ? BELIEVE : judgeSnapshot(this.#store.view, next, this.#containerTasks());
    this.#hasBase = judgement.believe;
    if (!judgement.believe) return this.#refuse(judgement.reason);
    this.#accepted = false;
    this.#take(applySnapshot(next));
  }

  delta(next: ViewDelta): void {
    if (!this.#hasBase) return;
    const judgement = judge(this.#store.view, next);
    this.#hasBase = judgement.believe;
    if (!judgement.believe) return this.#refuse(judgement.reason);
    this.#take(applyDelta(this.#store.view, next));
  }

  #take(view: NodeView): void {
    const wasRefusing = this.#reason !== undefined;
    this.#reason = undefined;
    this.#confirmed = true;
    this.#store.set(view);
    if (!wasRefusing) return;
    this.#log.info({ revision: view.revision }, 'the controller is believed again');
    this.#onQuarantine();
  }

  #refuse(reason: string): void {
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#log.error({ reason }, 'quarantined: the controller is not believed, the node goes on with what it knew');
    this.#onQuarantine();
  }
}

const BELIEVE: Judgement = { believe: true };

/**
 * As `judge`; and a node that lost its own record of what it should run (disk replaced, file damaged) asks the same of a
 * first snapshot: it must explain every container that is here.
 */
export function judgeSnapshot(current: NodeView, next: ViewSnapshot, containerTasks: Iterable<string>): Judgement {
  const judgement = judge(current, next);
  if (!judgement.believe || current.clusterId !== '') return judgement;
  const explained = new Set(next.tombstones.map((t) => t.taskId));
  for (const r of next.resources) if (r.kind === 'task') explained.add(r.value.id);
  const unexplained = [...containerTasks].filter((id) => !explained.has(id));
  if (unexplained.length === 0) return BELIEVE;
  return {
    believe: false,
    reason: `${unexplained.length} container(s) run here that the controller does not know, ${unexplained[0]} among them`,
  };
}
