/** Who may ask at a listener, and what is known of each. */
import type { View } from '#dns/zone.js';
import { AnswerCache } from './answer-cache.js';

export interface Client {
  address: string;
  view: View;
  /** Shared by all clients with this view. */
  answers: AnswerCache;
}

/** By address in canonical text. */
export type Clients = Map<string, Client>;

/** Makes clients whose caches are shared by view. */
export function clientMaker(): (address: string, view: View) => Client {
  const caches = new Map<View, AnswerCache>();
  return (address, view) => {
    const answers = caches.get(view) ?? new AnswerCache();
    caches.set(view, answers);
    return { address, view, answers };
  };
}
