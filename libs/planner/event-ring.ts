/** The events that are kept: in chunks, the newest few of which stay. Pure. */
import { encode } from '#model/codec.js';
import { EVENT_CHUNKS, EVENTS_PER_CHUNK, type Event } from '#model/event.js';
import { keys } from '#model/keys.js';
import type { ClusterState } from './cluster-state.js';
import type { EventDraft } from './see-events.js';
import type { Unit } from './transaction.js';

/** All that are kept, oldest first. */
export const keptEvents = (state: Pick<ClusterState, 'events'>): Event[] =>
  [...state.events.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, chunk]) => chunk.events);

/** The last one that is kept. */
export function lastEvent(state: Pick<ClusterState, 'events'>): Event | undefined {
  const newest = [...state.events.keys()].sort().at(-1);
  return newest === undefined ? undefined : state.events.get(newest)?.events.at(-1);
}

/**
 * Adds events to the ring, and takes the oldest chunks away; undefined when there is nothing to add.
 * @param drafts what was seen: what is of a revision that was written down is left out
 * @param besides what the ring itself says has not been told
 */
export function appendEvents(state: ClusterState, drafts: readonly EventDraft[], besides: readonly EventDraft[] = []): Unit | undefined {
  const last = lastEvent(state);
  const seen = drafts.filter((d) => d.revision > (last?.revision ?? -1));
  // Of a revision that others are yet to come of, it would stand for those as written.
  const revision = seen.at(-1)?.revision ?? last?.revision ?? 0;
  // What would fall out again at once is not written.
  const fresh = [...seen, ...besides.map((d) => ({ ...d, revision }))].slice(-EVENTS_PER_CHUNK * (EVENT_CHUNKS - 1));
  if (fresh.length === 0) return undefined;
  const events = fresh.map((draft, i): Event => ({ ...draft, sequence: (last?.sequence ?? 0) + i + 1 }));
  const byChunk = new Map<number, Event[]>();
  for (const event of events) {
    const n = chunkOf(event);
    byChunk.set(n, [...(byChunk.get(n) ?? []), event]);
  }
  const unit: Unit = { what: `write down ${events.length} events`, compares: [], writes: [] };
  for (const [n, more] of byChunk) {
    const key = keys.events(n);
    unit.compares.push({ key, modRevision: state.revisionOf(key) });
    unit.writes.push({
      put: key,
      value: encode({ events: [...(state.events.get(keys.events(n).slice(EVENTS.length))?.events ?? []), ...more] }),
    });
  }
  const oldest = Math.max(...byChunk.keys()) - EVENT_CHUNKS + 1;
  for (const name of state.events.keys()) if (Number(name) < oldest) unit.writes.push({ delete: keys.events(Number(name)) });
  return unit;
}

const EVENTS = keys.events(0).slice(0, keys.events(0).lastIndexOf('/') + 1);

const chunkOf = ({ sequence }: Event): number => Math.floor((sequence - 1) / EVENTS_PER_CHUNK);
