/**
 * What the store's own logic (following, sessions, elections) needs from an etcd server, call by call. Two implementations:
 * `EtcdWire` speaks to a real etcd, `MemoryWire` to an in-memory one. The logic above is the same for both, so the contract
 * suite tests it against real faults and against simulated ones.
 */
import { WeftError } from '#base/errors.js';
import type { Compare, Entry, TxnResult, Write } from './store.js';

/** An entry with the lease it is bound to ("0" for none). */
export interface WireEntry extends Entry {
  lease: string;
}

export interface RangeQuery {
  /** All keys that begin with it, in order of key; or only this very key, if `exact`. */
  prefix: string;
  exact?: boolean;
  /** Only keys after this one: the next page. */
  after?: string;
  /** Read the past: the state at this revision. */
  revision?: number;
  limit?: number;
  keysOnly?: boolean;
}

export interface Header {
  clusterId: string;
  revision: number;
}

export interface RangePage extends Header {
  entries: WireEntry[];
  more: boolean;
}

export type WireEvent = { type: 'put'; entry: Entry } | { type: 'delete'; key: string; modRevision: number };

/** Never called from within `watch` itself. */
export interface WatchHandlers {
  /** The server has registered the watch: every change from the asked revision on will be delivered. */
  onCreated(header: Header): void;
  /** Events in order of revision; all events of one revision arrive in one call. */
  onEvents(header: Header, events: WireEvent[]): void;
  /** The answer to `requestProgress`: a sign of life. The header's revision is that of the very member that answers. */
  onProgress(header: Header): void;
  /** The stream is over; called once, nothing follows. `compacted`: the asked revision is no longer in the server's history. */
  onEnd(reason: { compacted: boolean; message: string }): void;
}

export interface WatchStream {
  requestProgress(): void;
  cancel(): void;
}

export interface WireStatus extends Header {
  /** Of the member that answered, and of the one that it takes for the leader ("0" for none); hexadecimal. */
  memberId: string;
  leaderId: string;
  /** It gets all data, has no vote and answers nothing but this. */
  isLearner: boolean;
  version: string;
  dbSizeBytes: number;
  hasLeader: boolean;
  alarms: string[];
}

export interface Wire {
  /** Linearizable. @throws WeftError STORE, or `HistoryLost` when `revision` cannot be read there. */
  range(query: RangeQuery): Promise<RangePage>;
  /** @throws WeftError OUTCOME_UNKNOWN or STORE, as `Store.txn` does. */
  txn(compares: Compare[], writes: Write[]): Promise<TxnResult>;
  watch(query: { prefix: string; fromRevision: number }, handlers: WatchHandlers): WatchStream;
  /** The server may grant more than was asked for; `ttlMs` is what it granted. */
  grantLease(ttlSeconds: number): Promise<{ leaseId: string; ttlMs: number }>;
  /** The renewed time to live in milliseconds; 0: the server does not know the lease (any more). @throws STORE after `deadlineMs` */
  keepAlive(leaseId: string, deadlineMs: number): Promise<number>;
  revokeLease(leaseId: string): Promise<void>;
  status(): Promise<WireStatus>;
  close(): Promise<void>;
}

/** A past revision was asked for that was compacted away, or that this server has not reached: our history is not its history. */
export class HistoryLost extends WeftError {
  constructor(why: string) {
    super('STORE', { what: 'cannot read that revision', why });
    this.name = 'HistoryLost';
  }
}
