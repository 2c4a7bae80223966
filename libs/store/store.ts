/**
 * The store port: what Weft needs of etcd, and no more. Two implementations are held to one contract suite
 * (test/contract/store): `openEtcdStore` (etcd-store.ts) and `MemoryStore` (memory-store.ts).
 *
 * Keys are plain strings beginning with "/"; values are text (JSON made by libs/model). Revisions are etcd's: one counter
 * for the whole store, growing with every transaction that writes.
 */

export interface Entry {
  key: string;
  value: string;
  createRevision: number;
  modRevision: number;
}

/** Conditions of a transaction. All must hold. `modRevision: 0` or `exists: false` means "is not there". */
export type Compare = { key: string; modRevision: number } | { key: string; createRevision: number } | { key: string; exists: boolean };

export type Write =
  { put: string; value: string; /** Bind the key to a session's lease. */ lease?: string } | { delete: string } | { deletePrefix: string };

export interface TxnResult {
  /** False when a comparison failed: then nothing was written. */
  ok: boolean;
  revision: number;
}

export interface Listing {
  /** Identity of the etcd cluster that answered (hex). Changes when etcd was made anew. */
  clusterId: string;
  revision: number;
  entries: Entry[];
}

/** What `follow` delivers, in order. A `snapshot` replaces everything known: it comes first, and again after any break. */
export type Feed =
  | { type: 'snapshot'; clusterId: string; revision: number; entries: Entry[] }
  | { type: 'changes'; revision: number; puts: Entry[]; deletes: { key: string; modRevision: number }[] }
  /** The feed does not know whether it is current (etcd away, watch broken). A `snapshot` or `live` ends this state. */
  | { type: 'stale'; reason: string }
  | { type: 'live' };

export interface Following {
  stop(): Promise<void>;
}

/** A lease kept alive, which fences itself: `lost` aborts by our own monotonic clock before etcd could expire the lease. */
export interface Session {
  readonly leaseId: string;
  readonly lost: AbortSignal;
  /** Milliseconds, on the holder's own monotonic clock, for which the lease is still surely held. */
  remainingMs(): number;
  close(): Promise<void>;
}

/** Leadership of one election. Every write made as leader carries `fence` among its comparisons. */
export interface Leadership {
  readonly fence: Compare;
  readonly lost: AbortSignal;
  resign(): Promise<void>;
}

export interface Store {
  get(key: string): Promise<Entry | undefined>;
  list(prefix: string): Promise<Listing>;
  /**
   * One atomic transaction; compares and writes together are at most 128 each (etcd's limit).
   * @throws OUTCOME_UNKNOWN when a deadline passed or the connection broke after sending; STORE when it surely was not applied.
   */
  txn(compares: Compare[], writes: Write[]): Promise<TxnResult>;
  /** List, then watch from there; relists after errors, compaction, a changed cluster id or a revision that went back, and periodically. */
  follow(prefix: string, onFeed: (feed: Feed) => void): Following;
  openSession(ttlMs: number): Promise<Session>;
  /** Waits until this session leads `electionKey` (or `signal` aborts: rejects). The key then holds `value`, bound to the session's lease. */
  campaign(electionKey: string, value: string, session: Session, signal?: AbortSignal): Promise<Leadership>;
  health(): Promise<{ ok: boolean; detail: string; dbSizeBytes?: number; alarms?: string[] }>;
  close(): Promise<void>;
}

/** etcd refuses transactions with more than this many compares, or more than this many writes (`--max-txn-ops`). */
export const MAX_TXN_OPS = 128;
/** etcd refuses requests over 1.5 MiB (`--max-request-bytes`); values of ours stay well below. */
export const MAX_VALUE_BYTES = 1_000_000;
