/** gRPC clients over mTLS. The server is checked by the role in its certificate (`<role>.weft`), not by its address. */
import type { ChannelCredentials } from '@grpc/grpc-js';
import {
  credentials as grpcCredentials,
  Metadata,
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientOptions,
  type ServiceError,
} from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';
import { fromServiceError } from './errors.js';
import { writable } from './writable.js';

export interface ClientIdentity {
  caPem: string;
  certPem: string;
  keyPem: string;
}

type ClientConstructor<C extends Client> = new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>) => C;

const BASE_OPTIONS: Partial<ClientOptions> = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
  // Two clients of one process to one server share no connection: one that breaks does not take the other with it.
  'grpc.use_local_subchannel_pool': 1,
};

/** @param target host:port */
export function connect<C extends Client>(
  Constructor: ClientConstructor<C>,
  target: string,
  identity: ClientIdentity,
  expectRole: 'controller' | 'node',
): C {
  const creds = grpcCredentials.createSsl(Buffer.from(identity.caPem), Buffer.from(identity.keyPem), Buffer.from(identity.certPem));
  return new Constructor(target, creds, {
    ...BASE_OPTIONS,
    'grpc.ssl_target_name_override': `${expectRole}.weft`,
    'grpc.default_authority': `${expectRole}.weft`,
  });
}

/** A client of the join listener: only the server has a certificate. `caPem` pins who it may be. */
export function connectToJoin<C extends Client>(Constructor: ClientConstructor<C>, target: string, caPem: string): C {
  const creds = grpcCredentials.createSsl(Buffer.from(caPem));
  return new Constructor(target, creds, {
    ...BASE_OPTIONS,
    'grpc.ssl_target_name_override': 'controller.weft',
    'grpc.default_authority': 'controller.weft',
  });
}

/** Deadline of a unary call where the caller names none, in milliseconds. */
const DEFAULT_TIMEOUT_MS = 10_000;

type UnaryCall<Req, Res> = (
  request: Req,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Res) => void,
) => unknown;
type RequestOf<F> = F extends UnaryCall<infer Req, infer _Res> ? Req : never;
type ResponseOf<F> = F extends (
  ...args: [infer _Req, Metadata, Partial<CallOptions>, (error: ServiceError | null, response: infer Res) => void]
) => unknown
  ? Res
  : never;

/**
 * `await callUnary(client, 'listNodes', request)`.
 * @throws WeftError as the server meant it; UNAVAILABLE, TIMEOUT
 */
export function callUnary<C extends Client, M extends keyof C & string>(
  client: C,
  method: M,
  request: RequestOf<C[M]>,
  options: { timeoutMs?: number; target?: string } = {},
): Promise<ResponseOf<C[M]>> {
  type Res = ResponseOf<C[M]>;
  return new Promise<Res>((resolve, reject) => {
    const deadline = Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    // Bound, because grpc-js methods use `this`.
    const call = (client[method] as UnaryCall<RequestOf<C[M]>, Res>).bind(client);
    call(request, new Metadata(), { deadline }, (error, response) =>
      error ? reject(fromServiceError(error, options.target)) : resolve(response),
    );
  });
}

/** The messages of a stream; ends quietly when `signal` aborts. @throws WeftError */
export async function* readStream<Res>(
  call: ClientReadableStream<Res> | ClientDuplexStream<never, Res>,
  signal?: AbortSignal,
  target?: string,
): AsyncGenerator<Res> {
  const cancel = () => call.cancel();
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  // An error after the loop was left early (cancel) must not go unheard.
  call.on('error', () => undefined);
  try {
    for await (const message of call as AsyncIterable<Res>) yield message;
  } catch (error) {
    if (signal?.aborted) return;
    throw fromServiceError(error, target);
  } finally {
    signal?.removeEventListener('abort', cancel);
    call.cancel();
  }
}

export interface Bidi<Req, Res> {
  /** Resolves when the connection can take more. @throws UNAVAILABLE once the call has ended */
  send(message: Req): Promise<void>;
  /** Says that no more will be sent. */
  end(): void;
  messages: AsyncGenerator<Res>;
  cancel(): void;
}

export function openBidi<Req, Res>(call: ClientDuplexStream<Req, Res>, signal?: AbortSignal, target?: string): Bidi<Req, Res> {
  return {
    async send(message) {
      if (call.destroyed || call.writableEnded)
        throw new WeftError('UNAVAILABLE', { what: `the stream to ${target ?? 'the server'} has ended` });
      if (!call.write(message)) await writable(call);
    },
    end: () => call.end(),
    messages: readStream(call as unknown as ClientDuplexStream<never, Res>, signal, target),
    cancel: () => call.cancel(),
  };
}
