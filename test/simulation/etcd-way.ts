/** A controller's way to etcd: every request and answer takes its time, and may get lost. What a dead process asked for is done all the same. */
import type { EtcdServer, MemoryEtcd, MemoryWatch } from '#store/memory-etcd.js';
import type { Compare, TxnResult, Write } from '#store/store.js';
import type { RangePage, RangeQuery, WireStatus } from '#store/wire.js';
import { Pipe, type Net } from './net.js';
import type { SimProcess } from './process.js';

export const ETCD = 'etcd';

/** A transaction on its way to etcd, as the process made it. */
export interface Request {
  compares: Compare[];
  writes: Write[];
}

export interface EtcdWayTools {
  server: MemoryEtcd;
  process: SimProcess;
  machine: string;
  net: Net;
  /** Told just before a transaction of this process is run. */
  onTxn: (process: SimProcess) => void;
  /** How long a request is on its way at most, in milliseconds, where etcd is far or slow; as usual if left out. */
  slowMs?: number;
  /** A planted fault: what the process is made to ask for instead. */
  tamper?: (request: Request) => Request;
}

export class EtcdWay implements EtcdServer {
  readonly clock;
  readonly #o: EtcdWayTools;
  readonly #watches = new Map<MemoryWatch, { inner: MemoryWatch; pipe: Pipe<() => void> }>();

  constructor(options: EtcdWayTools) {
    this.#o = options;
    this.clock = options.process;
    options.process.onDeath(() => {
      for (const watch of this.#watches.keys()) this.unwatch(watch);
    });
  }

  call<T>(operation: () => T): Promise<T> {
    const { server, process, machine, net, slowMs } = this.#o;
    return new Promise((resolve, reject) => {
      const answer = (act: () => void) => net.send(ETCD, machine, () => process.do(act));
      net.send(
        machine,
        ETCD,
        () => {
          server.call(operation).then(
            (value) => answer(() => resolve(value)),
            (error: unknown) => answer(() => reject(error as Error)),
          );
        },
        slowMs === undefined ? undefined : net.delayMs() + slowMs * net.chance(),
      );
    });
  }

  range = (query: RangeQuery): RangePage => this.#o.server.range(query);

  txn(compares: Compare[], writes: Write[]): TxnResult {
    const { server, process, onTxn, tamper } = this.#o;
    const request = tamper ? tamper({ compares, writes }) : { compares, writes };
    onTxn(process);
    return server.txn(request.compares, request.writes);
  }

  watch(fromRevision: number, watch: MemoryWatch): void {
    const { server, process, machine, net } = this.#o;
    const pipe = new Pipe<() => void>(net, ETCD, machine, (say) => process.do(() => watch.closed || say()));
    const later =
      <A extends unknown[]>(say: (...args: A) => void) =>
      (...args: A) =>
        pipe.push(() => say(...args));
    const { onCreated, onEvents, onProgress, onEnd } = watch.handlers;
    const handlers = {
      onCreated: later(onCreated),
      onEvents: later(onEvents),
      onProgress: later(onProgress),
      onEnd: later((reason: { compacted: boolean; message: string }) => {
        watch.closed = true;
        onEnd(reason);
      }),
    };
    const inner: MemoryWatch = { prefix: watch.prefix, handlers, closed: false };
    this.#watches.set(watch, { inner, pipe });
    server.watch(fromRevision, inner);
  }

  unwatch(watch: MemoryWatch): void {
    watch.closed = true;
    const way = this.#watches.get(watch);
    if (!way) return;
    way.pipe.close();
    this.#o.server.unwatch(way.inner);
    this.#watches.delete(watch);
  }

  progress(watch: MemoryWatch): void {
    const way = this.#watches.get(watch);
    if (way) this.#o.server.progress(way.inner);
  }

  grantLease = (ttlSeconds: number): { leaseId: string; ttlMs: number } => this.#o.server.grantLease(ttlSeconds);
  keepAlive = (leaseId: string): number => this.#o.server.keepAlive(leaseId);
  revokeLease = (leaseId: string): void => this.#o.server.revokeLease(leaseId);
  status = (): WireStatus => this.#o.server.status();
}
