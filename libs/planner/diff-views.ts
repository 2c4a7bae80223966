/** The difference of two views of a node, as a delta carries it. */
import { resourceKey, type Resource } from '#model/node-view.js';

/** A view as it was sent: resource key → its JSON. */
export type SentView = ReadonlyMap<string, string>;

export interface ViewDifference {
  upserts: Resource[];
  /** Keys that are gone. */
  removals: string[];
  /** To compare the next view with. */
  sent: SentView;
}

export function diffViews(before: SentView, next: readonly Resource[]): ViewDifference {
  const sent = new Map<string, string>();
  const upserts: Resource[] = [];
  for (const resource of next) {
    const key = resourceKey(resource);
    const text = JSON.stringify(resource.value);
    sent.set(key, text);
    if (before.get(key) !== text) upserts.push(resource);
  }
  return { upserts, removals: [...before.keys()].filter((key) => !sent.has(key)), sent };
}
