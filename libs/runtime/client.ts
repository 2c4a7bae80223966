/**
 * One gRPC channel to containerd: every call carries our namespace, has a deadline, and fails as a WeftError whose cause keeps the status.
 */
import { Client, Metadata, connectivityState, credentials, status } from '@grpc/grpc-js';
import type { ClientDuplexStream, ClientReadableStream, MethodDefinition, ServiceError } from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';

const DEFAULT_DEADLINE_MS = 15_000;
/** Lists of containers carry their specs (about 20 KiB each); gRPC's default limit is 4 MiB. */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;

export interface CallOptions {
  /** Milliseconds; 15 s if left out, `Infinity` for none. */
  deadlineMs?: number;
  /** What is made under a lease is kept from the garbage collector. */
  lease?: string;
  signal?: AbortSignal;
}

export class ContainerdClient {
  readonly #client: Client;
  readonly namespace: string;
  readonly socket: string;

  constructor(socket: string, namespace: string) {
    this.socket = socket;
    this.namespace = namespace;
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
    });
  }

  /** A unary call. Waits for a containerd that is restarting, as long as the deadline allows. @throws RUNTIME */
  call<Q, S>(method: MethodDefinition<Q, S>, request: Q, options: CallOptions = {}): Promise<S> {
    return new Promise((resolve, reject) => {
      const { deadlineMs = DEFAULT_DEADLINE_MS, signal } = options;
      const call = this.#client.makeUnaryRequest<Q, S>(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata(options),
        deadlineMs === Infinity ? {} : { deadline: Date.now() + deadlineMs },
        (error, response) => {
          signal?.removeEventListener('abort', cancel);
          if (error) reject(containerdError(method.path, error));
          else resolve(response as S);
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }

  /** A stream of answers without a deadline: cancel it when done. Errors arrive raw; see `containerdError`. */
  stream<Q, S>(method: MethodDefinition<Q, S>, request: Q): ClientReadableStream<S> {
    return this.#client.makeServerStreamRequest<Q, S>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata({}),
    );
  }

  duplex<Q, S>(method: MethodDefinition<Q, S>, options: CallOptions = {}): ClientDuplexStream<Q, S> {
    return this.#client.makeBidiStreamRequest<Q, S>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      this.#metadata(options),
    );
  }

  /** True while there is a connection. */
  get ready(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  close(): void {
    this.#client.close();
  }

  #metadata(options: CallOptions): Metadata {
    const metadata = new Metadata({ waitForReady: true });
    metadata.set('containerd-namespace', this.namespace);
    if (options.lease) metadata.set('containerd-lease', options.lease);
    return metadata;
  }
}

/** Wraps what gRPC reports; `statusOf` finds the status again. */
export function containerdError(path: string, error: ServiceError): WeftError {
  const verb = path
    .split('/')
    .slice(-2)
    .join('.')
    .replace('containerd.services.', '')
    .replace(/\.v1\./, '.');
  return new WeftError('RUNTIME', { what: `containerd could not do ${verb}`, why: error.details || error.message, cause: error });
}

/** The gRPC status under an error of this room, if there is one. */
export function statusOf(thrown: unknown): number | undefined {
  const cause = thrown instanceof WeftError ? thrown.cause : thrown;
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'number' ? cause.code : undefined;
}

export const isNotFound = (thrown: unknown): boolean => statusOf(thrown) === status.NOT_FOUND;
export const isAlreadyExists = (thrown: unknown): boolean => statusOf(thrown) === status.ALREADY_EXISTS;

/** Runs `work`; `undefined` in place of a NOT_FOUND. */
export async function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
