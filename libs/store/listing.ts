/** Reading a whole prefix at one revision, page by page: one huge answer would block etcd and our event loop. */
import type { RangePage, Wire, WireEntry } from './wire.js';

const PAGE_ENTRIES = 2_000;

export interface WholeListing {
  clusterId: string;
  revision: number;
  entries: WireEntry[];
}

/** @param query.revision read the past; without it the first page's revision is pinned for the rest. @throws as `Wire.range`. */
export async function listAll(wire: Wire, query: { prefix: string; revision?: number; keysOnly?: boolean }): Promise<WholeListing> {
  const first = await wire.range({ ...query, limit: PAGE_ENTRIES });
  const revision = query.revision ?? first.revision;
  const entries = [...first.entries];
  let page: RangePage = first;
  while (page.more) {
    page = await wire.range({ ...query, revision, limit: PAGE_ENTRIES, after: entries.at(-1)?.key });
    entries.push(...page.entries);
  }
  return { clusterId: first.clusterId, revision, entries };
}
