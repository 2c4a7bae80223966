/**
 * Keep-alives of all sessions over one stream, as etcd's own client does. etcd offers them only as a stream; here each is a
 * request with an answer and a deadline, and a stream that does not answer is thrown away.
 */
import type { ILeaseKeepAliveRequest, ILeaseKeepAliveResponse } from 'etcd3';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';

export interface KeepAliveStream {
  write(request: ILeaseKeepAliveRequest): void;
  end(): void;
  cancel(): void;
  on(event: 'data', fn: (answer: ILeaseKeepAliveResponse) => void): this;
  on(event: 'error', fn: (error: Error) => void): this;
  on(event: 'end', fn: () => void): this;
}

interface Waiting {
  resolve: (ttlSeconds: number) => void;
  reject: (error: Error) => void;
}

export class KeepAliveLine {
  readonly #open: () => Promise<KeepAliveStream>;
  readonly #onFailed: () => void;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting[]>();
  #stream: Promise<KeepAliveStream> | undefined;

  /** @param onFailed told when a stream broke or did not answer, before the next one is opened. */
  constructor(open: () => Promise<KeepAliveStream>, onFailed: () => void, clock: Clock) {
    this.#open = open;
    this.#onFailed = onFailed;
    this.#clock = clock;
  }

  /** The renewed time to live in seconds; 0 when etcd does not know the lease. @throws STORE when no answer came. */
  async send(leaseId: string, deadlineMs: number): Promise<number> {
    const timer = new AbortController();
    const answer = new Promise<number>((resolve, reject) => {
      this.#waiting.set(leaseId, [...(this.#waiting.get(leaseId) ?? []), { resolve, reject }]);
    });
    const late = this.#clock.sleep(deadlineMs, timer.signal).then(
      () => this.#drop(`no answer within ${deadlineMs} ms`),
      () => undefined,
    );
    try {
      void this.#write(leaseId);
      return await answer;
    } finally {
      timer.abort(new Error('answered'));
      await late;
    }
  }

  close(): void {
    this.#drop('the store was closed');
  }

  async #write(leaseId: string): Promise<void> {
    const opening = (this.#stream ??= this.#connect());
    try {
      (await opening).write({ ID: leaseId });
    } catch (error) {
      this.#drop((error as Error).message, opening);
    }
  }

  #connect(): Promise<KeepAliveStream> {
    const opening: Promise<KeepAliveStream> = this.#open().then((stream) =>
      stream
        .on('data', (answer) => this.#answer(answer))
        .on('error', (error) => this.#drop(error.message, opening))
        .on('end', () => this.#drop('etcd ended the stream', opening)),
    );
    return opening;
  }

  #answer({ ID, TTL }: ILeaseKeepAliveResponse): void {
    const all = this.#waiting.get(ID);
    const first = all?.shift();
    if (all?.length === 0) this.#waiting.delete(ID);
    first?.resolve(Number(TTL));
  }

  /** @param which only if this is still the stream in use: a late error of an old one must not break the new one. */
  #drop(why: string, which: Promise<KeepAliveStream> | undefined = this.#stream): void {
    if (which !== this.#stream) return;
    this.#stream = undefined;
    if (which) this.#onFailed();
    which?.then(
      (stream) => {
        stream.end();
        stream.cancel();
      },
      () => undefined,
    );
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const { reject } of all) reject(new WeftError('STORE', { what: 'cannot keep a session alive', why }));
  }
}
