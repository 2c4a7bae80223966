/** One question to one server, by UDP or TCP. */
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { framed, frameReader } from './tcp-frames.js';

export interface UpstreamAddress {
  address: string;
  port: number;
}

export interface Exchange {
  server: UpstreamAddress;
  query: Uint8Array;
  /** Whether these bytes are the answer: others are passed over. */
  accepts: (bytes: Buffer) => boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

/** The answer, or undefined if none came in time or nobody is there. Never rejects; leaves nothing open. */
export function exchangeUdp(exchange: Exchange): Promise<Buffer | undefined> {
  const { server, query, accepts } = exchange;
  // The address is an address: the resolver of libuv must not be asked what it is.
  const family = isIPv6(server.address) ? 6 : 4;
  const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4', lookup: (host, _options, done) => done(null, host, family) });
  return once(
    exchange,
    () => socket.removeAllListeners('connect').close(),
    (finish) => {
      socket.on('error', () => finish(undefined));
      socket.on('message', (bytes) => {
        if (accepts(bytes)) finish(bytes);
      });
      // An unbound socket that connects gets a random port from the kernel; a connected one takes packets of its peer only.
      // Not by connect's callback: it is also called with an error (no route), and then nothing can be sent.
      socket.once('connect', () => socket.send(query, (error) => error && finish(undefined)));
      socket.connect(server.port, server.address);
    },
  );
}

/** As exchangeUdp, over a connection of its own. */
export function exchangeTcp(exchange: Exchange): Promise<Buffer | undefined> {
  const { server, query, accepts } = exchange;
  const socket = connect({ host: server.address, port: server.port });
  return once(
    exchange,
    () => socket.destroy(),
    (finish) => {
      socket.on('error', () => finish(undefined));
      socket.on('close', () => finish(undefined));
      socket.on(
        'data',
        frameReader((bytes) => finish(accepts(bytes) ? bytes : undefined)),
      );
      socket.write(framed(query));
    },
  );
}

function once(
  { timeoutMs, signal }: Exchange,
  close: () => void,
  start: (finish: (answer: Buffer | undefined) => void) => void,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let done = false;
    const finish = (answer: Buffer | undefined): void => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      close();
      resolve(answer);
    };
    const onAbort = (): void => finish(undefined);
    const timer = setTimeout(onAbort, timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    start(finish);
  });
}
