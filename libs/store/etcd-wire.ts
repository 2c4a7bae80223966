/** The Wire to a real etcd, on etcd3's plain RPC clients; the only place with etcd3's builders and types. */
import { noop } from 'cockatiel';
import type { Interceptor } from '@grpc/grpc-js';
import { InterceptingCall } from '@grpc/grpc-js';
import type { ICompare, IEvent, IKeyValue, IMember, IRequestOp, IResponseHeader, IWatchResponse } from 'etcd3';
import { AlarmAction, CompareResult, CompareTarget, Etcd3 } from 'etcd3';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { isNeverSent, isRefusedUnread, readError, writeError } from './etcd-errors.js';
import { KeepAliveLine } from './etcd-keep-alive.js';
import type { EtcdMember, EtcdMembers } from './etcd-members.js';
import type { Compare, TxnResult, Write } from './store.js';
import type { Header, RangePage, RangeQuery, WatchHandlers, WatchStream, Wire, WireEntry, WireEvent, WireStatus } from './wire.js';

/** Without a deadline a call to a frozen etcd hangs for ever (and is applied when etcd thaws). */
export const UNARY_DEADLINE_MS = 3_000;

export interface EtcdClientOptions {
  /** Like "http://127.0.0.1:2379"; https with `credentials`. */
  endpoints: string[];
  credentials?: { rootCertificate: Buffer; privateKey: Buffer; certChain: Buffer };
}

const CHANNEL_OPTIONS = {
  // etcd's server refuses pings more often than every 5 s ("too_many_pings").
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // One revision can hold 128 values; a watch answer is never split.
  'grpc.max_receive_message_length': -1,
  // A channel that etcd3 closes after an error must not hand its dead connection to the next one.
  'grpc.use_local_subchannel_pool': 1,
};

/**
 * As etcd's own `WithRequireLeader`: a member that is cut off from its leader refuses calls, and ends watches, instead of
 * letting them hang (etcd, "client/v3: WithRequireLeader").
 */
const requireLeader: Interceptor = (options, nextCall) =>
  new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set('hasleader', 'true');
      next(metadata, listener);
    },
  });

/** etcd3 with its own fault handling off: its circuit breaker fails calls for 5 s after etcd is well again, its retries repeat writes. */
function makeClient(endpoint: string, credentials: EtcdClientOptions['credentials']): Etcd3 {
  return new Etcd3({
    hosts: [endpoint],
    credentials,
    grpcOptions: CHANNEL_OPTIONS,
    faultHandling: { host: () => noop, global: noop },
    defaultCallOptions: (context) => ({
      interceptors: [requireLeader],
      ...(context.isStream ? {} : { deadline: Date.now() + UNARY_DEADLINE_MS }),
    }),
  });
}

/**
 * One client an endpoint, and one endpoint in use until it fails; then the next. (etcd3 would pick one at random for every
 * call: with one of three frozen, every third call would wait for its deadline.)
 */
class Endpoints {
  readonly #credentials: EtcdClientOptions['credentials'];
  /** In order of preference. */
  #clients: { endpoint: string; client: Etcd3 }[] = [];
  #inUse = 0;

  constructor({ endpoints, credentials }: EtcdClientOptions) {
    this.#credentials = credentials;
    this.set(endpoints);
  }

  get count(): number {
    return this.#clients.length;
  }

  get inUse(): Etcd3 {
    return (this.#clients[this.#inUse] as { client: Etcd3 }).client;
  }

  /** Replaces the endpoints; the one in use stays in use if it is still among them. */
  set(endpoints: readonly string[]): void {
    if (endpoints.length === 0) throw new WeftError('STORE', { what: 'cannot connect to etcd', why: 'no endpoint was given' });
    const before = this.#clients;
    const used = before[this.#inUse]?.endpoint;
    this.#clients = [...new Set(endpoints)].map(
      (endpoint) => before.find((c) => c.endpoint === endpoint) ?? { endpoint, client: makeClient(endpoint, this.#credentials) },
    );
    this.#inUse = Math.max(
      0,
      this.#clients.findIndex((c) => c.endpoint === used),
    );
    for (const gone of before) if (!this.#clients.includes(gone)) gone.client.close();
  }

  /** Goes on to the next endpoint, unless another call that failed there too has done so. */
  leave(failed: Etcd3): void {
    if (failed === this.inUse) this.#inUse = (this.#inUse + 1) % this.#clients.length;
  }

  close(): void {
    for (const { client } of this.#clients) client.close();
  }
}

export class EtcdWire implements Wire, EtcdMembers {
  readonly #endpoints: Endpoints;
  readonly #keepAlives: KeepAliveLine;
  readonly #streams = new Set<WatchStream>();

  constructor(options: EtcdClientOptions, clock: Clock) {
    this.#endpoints = new Endpoints(options);
    let client = this.#endpoints.inUse;
    this.#keepAlives = new KeepAliveLine(
      () => (client = this.#endpoints.inUse).leaseClient.leaseKeepAlive(),
      () => this.#endpoints.leave(client),
      clock,
    );
  }

  useEndpoints(endpoints: readonly string[]): void {
    this.#endpoints.set(endpoints);
  }

  async range(query: RangeQuery): Promise<RangePage> {
    const request = {
      key: Buffer.from(query.after === undefined ? query.prefix : `${query.after}\0`),
      range_end: query.exact ? undefined : endOfPrefix(query.prefix),
      revision: query.revision,
      limit: query.limit,
      keys_only: query.keysOnly,
    };
    const answer = await this.#try(
      'cannot read from etcd',
      readError,
      () => true,
      (client) => client.kv.range(request),
    );
    return { ...toHeader(answer.header), more: answer.more, entries: answer.kvs.map(toEntry) };
  }

  async txn(compares: Compare[], writes: Write[]): Promise<TxnResult> {
    const request = { compare: compares.map(toCompare), success: writes.map(toRequest) };
    const answer = await this.#try('cannot write to etcd', writeError, isRefusedUnread, (client) => client.kv.txn(request));
    return { ok: answer.succeeded, revision: Number(answer.header.revision) };
  }

  watch(query: { prefix: string; fromRevision: number }, handlers: WatchHandlers): WatchStream {
    let ended = false;
    let stream: Awaited<ReturnType<Etcd3['watchClient']['watch']>> | undefined;
    const end = (message: string, compacted = false) => {
      if (ended) return;
      ended = true;
      this.#streams.delete(handle);
      hangUp(stream);
      handlers.onEnd({ compacted, message });
    };
    const handle: WatchStream = {
      requestProgress: () => {
        if (!ended) stream?.write({ progress_request: {} });
      },
      cancel: () => {
        ended = true;
        this.#streams.delete(handle);
        hangUp(stream);
      },
    };
    this.#streams.add(handle);
    const client = this.#endpoints.inUse;
    client.watchClient.watch().then(
      (opened) => {
        stream = opened
          .on('data', (answer) => {
            if (!ended) sortAnswer(answer, handlers, end);
          })
          .on('error', (error) => {
            if (!ended) this.#endpoints.leave(client);
            end(`the watch broke: ${error.message}`);
          })
          .on('end', () => end('etcd ended the watch'));
        if (ended) hangUp(stream);
        else
          stream.write({
            create_request: { key: Buffer.from(query.prefix), range_end: endOfPrefix(query.prefix), start_revision: query.fromRevision },
          });
      },
      (error: Error) => end(`cannot open a watch: ${error.message}`),
    );
    return handle;
  }

  async grantLease(ttlSeconds: number): Promise<{ leaseId: string; ttlMs: number }> {
    const answer = await this.#try(
      'cannot open a session',
      readError,
      () => true,
      (client) => client.leaseClient.leaseGrant({ TTL: ttlSeconds }),
    );
    return { leaseId: answer.ID, ttlMs: Number(answer.TTL) * 1000 };
  }

  async keepAlive(leaseId: string, deadlineMs: number): Promise<number> {
    return (await this.#keepAlives.send(leaseId, deadlineMs)) * 1000;
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#try(
      'cannot revoke a lease',
      writeError,
      () => true,
      (client) => client.leaseClient.leaseRevoke({ ID: leaseId }),
    );
  }

  async status(): Promise<WireStatus> {
    const ask = <T>(call: (client: Etcd3) => Promise<T>) => this.#try('etcd does not tell its state', readError, () => true, call);
    const status = await ask((client) => client.maintenance.status());
    const { isLearner } = status;
    // A member that still learns is asked for nothing but its state.
    const { alarms } = isLearner ? { alarms: [] } : await ask((client) => client.maintenance.alarm({ action: AlarmAction.Get }));
    return {
      ...toHeader(status.header),
      memberId: toHex(status.header.member_id),
      leaderId: toHex(status.leader),
      isLearner,
      version: status.version,
      dbSizeBytes: Number(status.dbSize),
      hasLeader: status.leader !== '0',
      alarms: alarms.map((a) => String(a.alarm)),
    };
  }

  async list(): Promise<EtcdMember[]> {
    const { members } = await this.#members((client) => client.cluster.memberList({}));
    return members.map(toMember);
  }

  async addLearner(peerUrl: string): Promise<EtcdMember[]> {
    const { members } = await this.#members((client) => client.cluster.memberAdd({ peerURLs: [peerUrl], isLearner: true }));
    return members.map(toMember);
  }

  async promote(id: string): Promise<void> {
    await this.#members((client) => client.cluster.memberPromote({ ID: fromHex(id) }));
  }

  async move(id: string, peerUrls: readonly string[]): Promise<void> {
    await this.#members((client) => client.cluster.memberUpdate({ ID: fromHex(id), peerURLs: [...peerUrls] }));
  }

  async remove(id: string): Promise<void> {
    await this.#members((client) => client.cluster.memberRemove({ ID: fromHex(id) }));
  }

  /** etcd itself refuses a change that would lose the quorum, or that was made already: none can be made twice. */
  #members<T>(call: (client: Etcd3) => Promise<T>): Promise<T> {
    return this.#try('cannot change or list the members of etcd', writeError, isRefusedUnread, call);
  }

  async close(): Promise<void> {
    for (const stream of [...this.#streams]) stream.cancel();
    this.#keepAlives.close();
    this.#endpoints.close();
  }

  async #try<T>(
    what: string,
    toError: (what: string, error: unknown) => WeftError,
    mayRepeat: (error: unknown) => boolean,
    call: (client: Etcd3) => Promise<T>,
  ): Promise<T> {
    for (let left = this.#endpoints.count - 1; ; left--) {
      const client = this.#endpoints.inUse;
      try {
        return await call(client);
      } catch (error) {
        const ours = toError(what, error);
        if (!isTransport(error)) throw ours;
        this.#endpoints.leave(client);
        if (left <= 0 || !mayRepeat(error)) throw ours;
      }
    }
  }
}

function isTransport(error: unknown): boolean {
  return (
    isNeverSent(error) || /(UNAVAILABLE|DEADLINE_EXCEEDED|CANCELLED|UNKNOWN|INTERNAL)/.test(error instanceof Error ? error.message : '')
  );
}

/** `end` first: etcd3 takes the error of a cancelled stream that is still writable for a failed host, and closes that host's channels. */
function hangUp(stream: { end(): void; cancel(): void } | undefined): void {
  stream?.end();
  stream?.cancel();
}

function sortAnswer(answer: IWatchResponse, handlers: WatchHandlers, end: (message: string, compacted?: boolean) => void): void {
  if (answer.canceled) {
    const compacted = answer.compact_revision !== '0' || /compacted/.test(answer.cancel_reason);
    return end(answer.cancel_reason || 'etcd cancelled the watch', compacted);
  }
  const header = toHeader(answer.header);
  if (answer.created) return handlers.onCreated(header);
  if (answer.events.length === 0) return handlers.onProgress(header);
  handlers.onEvents(header, answer.events.map(toEvent));
}

function toHeader(header: IResponseHeader): Header {
  return { clusterId: BigInt(header.cluster_id).toString(16), revision: Number(header.revision) };
}

const toHex = (id: string): string => BigInt(id).toString(16);
const fromHex = (id: string): string => BigInt(`0x${id}`).toString();

function toMember({ ID, name, peerURLs, clientURLs, isLearner }: IMember): EtcdMember {
  return { id: toHex(ID), name, peerUrls: peerURLs, clientUrls: clientURLs, isLearner };
}

function toEntry(kv: IKeyValue): WireEntry {
  return {
    key: kv.key.toString(),
    value: kv.value.toString(),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    lease: kv.lease,
  };
}

function toEvent({ type, kv }: IEvent): WireEvent {
  // etcd3's types say "Put" and "Delete"; its loader delivers the names of the proto file, "PUT" and "DELETE".
  if (type.toUpperCase() === 'DELETE') return { type: 'delete', key: kv.key.toString(), modRevision: Number(kv.mod_revision) };
  const { key, value, createRevision, modRevision } = toEntry(kv);
  return { type: 'put', entry: { key, value, createRevision, modRevision } };
}

function toCompare(compare: Compare): ICompare {
  const key = Buffer.from(compare.key);
  if ('modRevision' in compare) return { key, target: CompareTarget.Mod, result: CompareResult.Equal, mod_revision: compare.modRevision };
  if ('createRevision' in compare)
    return { key, target: CompareTarget.Create, result: CompareResult.Equal, create_revision: compare.createRevision };
  return { key, target: CompareTarget.Create, result: compare.exists ? CompareResult.Greater : CompareResult.Equal, create_revision: 0 };
}

function toRequest(write: Write): IRequestOp {
  if ('put' in write) return { request_put: { key: Buffer.from(write.put), value: Buffer.from(write.value), lease: write.lease } };
  if ('delete' in write) return { request_delete_range: { key: Buffer.from(write.delete) } };
  return { request_delete_range: { key: Buffer.from(write.deletePrefix), range_end: endOfPrefix(write.deletePrefix) } };
}

/** The smallest key after all that begin with `prefix` (etcd API, "Key ranges"). */
function endOfPrefix(prefix: string): Buffer {
  const bytes = Buffer.from(prefix);
  for (let i = bytes.length - 1; i >= 0; i--) {
    const byte = bytes[i] ?? 0;
    if (byte === 0xff) continue;
    const end = Buffer.from(bytes.subarray(0, i + 1));
    end[i] = byte + 1;
    return end;
  }
  throw new WeftError('STORE', { what: 'cannot read from etcd', why: 'the prefix is empty' });
}
