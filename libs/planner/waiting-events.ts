/**
 * What services wait for, as events: told when a reason is there, when it becomes another, and when it is over. What was told is read from the
 * events that are kept, so that each is told once, whichever controller leads. Pure.
 */
import { EVENTS_PER_CHUNK } from '#model/event.js';
import type { ClusterState } from './cluster-state.js';
import { keptEvents } from './event-ring.js';
import { kindOfReason } from './reason-kinds.js';
import { MAX_MESSAGE, type EventDraft } from './see-events.js';

/** `stack/service` → why a task of it cannot be made, and since when that is so, milliseconds since the epoch. */
export type Waits = ReadonlyMap<string, { why: string; since: number }>;

export interface WaitingNews {
  drafts: EventDraft[];
  /** Milliseconds from now: there will be more to tell then. */
  againMs?: number;
}

/** What is over sooner is no news: that one starts after another is how stacks come up. */
const TOLD_AFTER_MS = 1_000;
/** Of more services at a time it is not told: the events are a ring, and would be of nothing else. `ctl ps` tells of all. */
const MOST = EVENTS_PER_CHUNK;

/** @param now milliseconds since the epoch */
export function waitingNews(state: ClusterState, waits: Waits, now: number): WaitingNews {
  const told = toldWaits(state);
  const news: WaitingNews = { drafts: [] };
  if (told.size === 0 && waits.size === 0) return news;
  const draft = (key: string, action: string, message: string): EventDraft => {
    const [stack = '', service = ''] = key.split('/');
    return { revision: state.revision, at: now, kind: 'service', action, stack, service, name: service, id: '', node: '', message };
  };
  for (const key of told.keys()) if (!waits.has(key)) news.drafts.push(draft(key, 'waited', ''));
  let room = MOST - told.size;
  for (const [key, { why, since }] of waits) {
    const message = why.slice(0, MAX_MESSAGE);
    const before = told.get(key);
    if (before === undefined ? room-- <= 0 : kindOfReason(before) === kindOfReason(message)) continue;
    const inMs = since + TOLD_AFTER_MS - now;
    if (inMs <= 0) news.drafts.push(draft(key, 'waiting', message));
    else news.againMs = Math.min(news.againMs ?? Infinity, inMs);
  }
  return news;
}

/** By service, the reason that was told last, where its end was not. */
function toldWaits(state: ClusterState): Map<string, string> {
  const told = new Map<string, string>();
  for (const { kind, action, stack, service, message } of keptEvents(state)) {
    if (kind !== 'service') continue;
    if (action === 'waiting') told.set(`${stack}/${service}`, message);
    else if (action === 'waited') told.delete(`${stack}/${service}`);
  }
  return told;
}
