/**
 * gRPC servers and handlers. A server without an identity is only possible for joining; every other listener asks for a
 * client certificate of the cluster's CA, and each handler names the roles that may call it. Who calls is read from the
 * certificate, never from a message.
 */
import {
  Server,
  ServerCredentials,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';
import { toServiceError } from './errors.js';
import { writable } from './writable.js';

export type Role = 'controller' | 'node' | 'admin' | 'none';

export interface Peer {
  /** 'none' on a listener for joining. */
  role: Role;
  /** Node id, controller id or user name. */
  id: string;
  clusterId: string;
}

export interface ServerIdentity {
  caPem: string;
  certPem: string;
  keyPem: string;
}

export interface ServerOptions {
  /** Address to bind: never a wildcard by default. */
  address: string;
  /** 0 picks a free one. */
  port: number;
  identity: ServerIdentity;
  /** Only for joining: the caller has no certificate yet and proves itself by a token. */
  joinOnly?: boolean;
  services: { definition: ServiceDefinition; implementation: UntypedServiceImplementation }[];
}

/** Bytes of one message, in and out; archives travel in chunks far below. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** @throws UNAVAILABLE when the address cannot be bound */
export async function startServer(options: ServerOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const { identity } = options;
  const server = new Server({
    'grpc.max_receive_message_length': options.joinOnly ? 64 * 1024 : MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 3_000,
    // Clients keep idle connections alive every 10 s: that is not abuse.
    'grpc.http2.min_ping_interval_without_data_ms': 5_000,
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  // The chain carries the CA: a joiner checks it against the digest in its token.
  const pair = { cert_chain: Buffer.from(identity.certPem + identity.caPem), private_key: Buffer.from(identity.keyPem) };
  const credentials = ServerCredentials.createSsl(options.joinOnly ? null : Buffer.from(identity.caPem), [pair], !options.joinOnly);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${options.address}:${options.port}`, credentials, (error, bound) => {
      if (error)
        reject(
          new WeftError('UNAVAILABLE', {
            what: `cannot listen on ${options.address}:${options.port}`,
            why: error.message,
            hint: 'Choose another address or port, or stop what holds it.',
          }),
        );
      else resolve(bound);
    });
  });
  return {
    port,
    stop: () =>
      new Promise((resolve) => {
        // Streams are endless here: give them a moment, then cut.
        const timer = setTimeout(() => server.forceShutdown(), 200);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}

type AnyCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;

/** The caller's identity, from its verified certificate: CN = id, OU = role, O = cluster id. */
function peerOf(call: AnyCall): Peer {
  const subject = call.getAuthContext().sslPeerCertificate?.subject as { CN?: unknown; OU?: unknown; O?: unknown } | undefined;
  const { CN, OU, O } = subject ?? {};
  if (typeof CN !== 'string' || typeof O !== 'string') return { role: 'none', id: '', clusterId: '' };
  return { role: OU === 'controller' || OU === 'node' || OU === 'admin' ? OU : 'none', id: CN, clusterId: O };
}

function admit(call: AnyCall, roles: readonly Role[]): Peer {
  const peer = peerOf(call);
  if (roles.includes(peer.role) || roles.includes('none')) return peer;
  throw new WeftError('FORBIDDEN', {
    what: `a certificate of the role "${peer.role}" may not do this`,
    why: `it needs ${roles.join(' or ')}`,
  });
}

function hangUpSignal(call: AnyCall): AbortSignal {
  const controller = new AbortController();
  (call as ServerUnaryCall<unknown, unknown>).on('cancelled', () => controller.abort(new WeftError('UNAVAILABLE', 'the caller hung up')));
  return controller.signal;
}

/** One request, one response. */
export function unary<Req, Res>(
  roles: readonly Role[],
  handle: (request: Req, peer: Peer, signal: AbortSignal) => Promise<Res>,
): handleUnaryCall<Req, Res> {
  return (call, callback) => {
    const untyped = call as ServerUnaryCall<unknown, unknown>;
    Promise.resolve()
      .then(() => handle(call.request, admit(untyped, roles), hangUpSignal(untyped)))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(toServiceError(error)),
      );
  };
}

/** Sends all of `messages`, waiting for the connection where it is slower than we are. */
async function pump<Res>(
  call: ServerWritableStream<never, Res> | ServerDuplexStream<never, Res>,
  messages: AsyncIterable<Res>,
  signal: AbortSignal,
): Promise<void> {
  for await (const message of messages) {
    if (signal.aborted) return;
    if (!call.write(message)) await writable(call, signal);
  }
}

function finish(call: { emit(event: 'error', error: unknown): boolean; end(): void }, signal: AbortSignal, error?: unknown): void {
  if (error !== undefined && !signal.aborted) call.emit('error', toServiceError(error));
  else call.end();
}

/** One request, a stream of responses. */
export function serverStream<Req, Res>(
  roles: readonly Role[],
  handle: (request: Req, peer: Peer, signal: AbortSignal) => AsyncIterable<Res>,
): handleServerStreamingCall<Req, Res> {
  return (call) => {
    const untyped = call as ServerWritableStream<unknown, unknown>;
    const signal = hangUpSignal(untyped);
    Promise.resolve()
      .then(() => pump(call as ServerWritableStream<never, Res>, handle(call.request, admit(untyped, roles), signal), signal))
      .then(
        () => finish(call, signal),
        (error: unknown) => finish(call, signal, error),
      );
  };
}

/** Streams both ways. Requests are read one by one: a handler that is slow slows the caller. */
export function bidi<Req, Res>(
  roles: readonly Role[],
  handle: (requests: AsyncIterable<Req>, peer: Peer, signal: AbortSignal) => AsyncIterable<Res>,
): handleBidiStreamingCall<Req, Res> {
  return (call) => {
    const untyped = call as ServerDuplexStream<unknown, unknown>;
    const signal = hangUpSignal(untyped);
    // A call that breaks off raises 'error' on the stream: the handler hears of it through its signal.
    call.on('error', () => undefined);
    // Reading to the end must not destroy the call: answers are still to be written on it.
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<Req>;
    Promise.resolve()
      .then(() => pump(call as unknown as ServerDuplexStream<never, Res>, handle(requests, admit(untyped, roles), signal), signal))
      .then(
        () => finish(call, signal),
        (error: unknown) => finish(call, signal, error),
      );
  };
}
