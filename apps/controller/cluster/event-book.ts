/** What this controller saw happen and the leader may not have written down yet. Every controller sees; one writes. */
import type { Clock } from '#base/clock.js';
import { EventSight, type EventDraft } from '#planner/see-events.js';
import type { ClusterFollower } from './follower.js';

/** More is not kept anyway. */
const MAX_WAITING = 1_000;

export class EventBook {
  readonly #sight = new EventSight();
  #waiting: EventDraft[] = [];
  #isFirst = true;

  /** Listens from before the follower starts: the first snapshot is how things are, and no news. */
  constructor(follower: ClusterFollower, clock: Clock) {
    follower.listen((change) => {
      if (change.type !== 'changed') return;
      const seen = this.#sight.observe(follower.model, change.keys, clock.now());
      if (this.#isFirst) this.#isFirst = false;
      else if (seen.length > 0) this.#waiting = [...this.#waiting, ...seen].slice(-MAX_WAITING);
    });
  }

  get waiting(): readonly EventDraft[] {
    return this.#waiting;
  }

  /** Forgets what was seen up to a revision: it is written down. */
  written(revision: number): void {
    this.#waiting = this.#waiting.filter((draft) => draft.revision > revision);
  }
}
