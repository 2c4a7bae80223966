/** Events for `ctl events`: those that are kept, then each as it is written down. */
import type { Clock } from '#base/clock.js';
import type { Event } from '#model/event.js';
import { keptEvents, lastEvent } from '#planner/event-ring.js';
import type { WatchEventsRequest, WatchEventsResponse } from '#rpc/gen/weft/v1/operations.js';
import { Bell } from '../bell.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** Events are written down a moment after they happened: `until` waits for those. In milliseconds. */
const WRITTEN_WITHIN_MS = 1_000;

export class EventCalls {
  readonly #follower: ClusterFollower;
  readonly #clock: Clock;

  constructor(follower: ClusterFollower, clock: Clock) {
    this.#follower = follower;
    this.#clock = clock;
  }

  async *watch(request: WatchEventsRequest, signal: AbortSignal): AsyncGenerator<WatchEventsResponse> {
    const { model } = this.#follower;
    const { since, until } = request;
    const bell = new Bell();
    const stop = this.#follower.listen((change) => {
      if (change.type === 'changed' && change.collections.has('events')) bell.ring();
    });
    const ends = new AbortController();
    const leftMs = until === undefined ? undefined : until - this.#clock.now();
    const timer = leftMs === undefined || leftMs <= 0 ? undefined : this.#clock.sleep(leftMs + WRITTEN_WITHIN_MS, ends.signal);
    const over = timer?.then(() => bell.ring()).catch(() => undefined);
    let told = since === undefined ? (lastEvent(model)?.sequence ?? 0) : 0;
    try {
      while (!signal.aborted) {
        const news = keptEvents(model).filter((e) => e.sequence > told);
        told = news.at(-1)?.sequence ?? told;
        const events = news.filter((e) => isMeant(e, request));
        if (events.length > 0) yield { events };
        if (until !== undefined && this.#clock.now() >= until) return;
        await bell.wait(signal);
      }
    } finally {
      ends.abort();
      stop();
      await over;
    }
  }
}

/** Of a stack only what is about it; nodes and repairs are everybody's. */
function isMeant(event: Event, { stack, services, since, until }: WatchEventsRequest): boolean {
  if (event.at < (since ?? 0) || event.at > (until ?? Infinity)) return false;
  if (event.stack === '') return services.length === 0;
  if (stack !== '' && event.stack !== stack) return false;
  return services.length === 0 || services.includes(event.service);
}
