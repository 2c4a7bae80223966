/**
 * Questions over TCP. One slow or stuck client must not stand in the way of another (CVE-2024-8418): connections are counted
 * per client, a message must arrive whole in time, answers must be fetched in time, and nothing ever waits for a socket.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { systemClock, type Clock } from '#base/clock.js';
import { framed, frameReader } from './tcp-frames.js';

export interface TcpLimits {
  maxConnections: number;
  maxPerClient: number;
  /** A connection ends when so long no request came whole and no answer left, in milliseconds (RFC 7766 §6.2.3). */
  idleMs: number;
  /** Requests of one connection that may wait for their answers; reading stops above it. */
  maxPipelined: number;
  /** Answers that a client leaves unread; above it the connection ends. */
  maxUnreadBytes: number;
}

export const TCP_LIMITS: TcpLimits = {
  maxConnections: 512,
  maxPerClient: 16,
  idleMs: 10_000,
  maxPipelined: 32,
  maxUnreadBytes: 512 * 1024,
};

const SWEEP_MS = 1_000;

/** Calls `reply` once or never. */
export type OnTcpRequest = (client: string, request: Buffer, reply: (bytes: Uint8Array) => void) => void;

interface Connection {
  socket: Socket;
  client: string;
  /** Monotonic ms of the last whole request or flushed answer. */
  movedAt: number;
  waiting: number;
}

export class TcpService {
  readonly #limits: TcpLimits;
  readonly #clock: Clock;
  readonly #onRequest: OnTcpRequest;
  readonly #connections = new Set<Connection>();
  readonly #sweeper: NodeJS.Timeout;
  readonly server: Server;

  constructor(onRequest: OnTcpRequest, limits: TcpLimits = TCP_LIMITS, clock: Clock = systemClock) {
    this.#onRequest = onRequest;
    this.#limits = limits;
    this.#clock = clock;
    this.server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP_MS, limits.idleMs)).unref();
  }

  get connections(): number {
    return this.#connections.size;
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.server.close();
    for (const { socket } of this.#connections) socket.destroy();
  }

  #accept(socket: Socket): void {
    const client = socket.remoteAddress;
    let own = 0;
    for (const other of this.#connections) if (other.client === client) own++;
    if (client === undefined || own >= this.#limits.maxPerClient || this.#connections.size >= this.#limits.maxConnections) {
      socket.destroy();
      return;
    }
    const connection: Connection = { socket, client, movedAt: this.#clock.monotonic(), waiting: 0 };
    this.#connections.add(connection);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#connections.delete(connection));
    socket.on(
      'data',
      frameReader((request) => this.#request(connection, request)),
    );
  }

  #request(connection: Connection, request: Buffer): void {
    const { socket } = connection;
    connection.movedAt = this.#clock.monotonic();
    if (++connection.waiting >= this.#limits.maxPipelined) socket.pause();
    this.#onRequest(connection.client, request, (bytes) => {
      if (--connection.waiting < this.#limits.maxPipelined && socket.isPaused()) socket.resume();
      if (!socket.writable) return;
      if (socket.writableLength > this.#limits.maxUnreadBytes) socket.destroy();
      else socket.write(framed(bytes), () => (connection.movedAt = this.#clock.monotonic()));
    });
  }

  #sweep(): void {
    const limit = this.#clock.monotonic() - this.#limits.idleMs;
    for (const { socket, movedAt } of this.#connections) if (movedAt < limit) socket.destroy();
  }
}
