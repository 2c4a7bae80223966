/** One UDP port held open: each client has a socket of its own to one task, until both are silent for a while. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Backend } from './door.js';

/** As conntrack keeps a UDP stream (nf_conntrack_udp_timeout_stream). */
const IDLE_MS = 120_000;
const MOST_CLIENTS = 1_024;

interface Flow {
  socket: Socket;
  backend: Backend;
  usedAt: number;
}

export class UdpDoor {
  readonly #flows = new Map<string, Flow>();
  #socket: Socket | undefined;
  #backends: readonly Backend[];
  #sweep: NodeJS.Timeout | undefined;

  constructor(backends: readonly Backend[]) {
    this.#backends = backends;
  }

  /** @param address `::` takes IPv4 too unless `only6`. @throws as bind(2) */
  open(port: number, address: string, only6: boolean): Promise<void> {
    const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only: only6 });
    this.#socket = socket;
    socket.on('message', (data, from) => this.#pass(data, from));
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ port, address }, () => {
        socket.off('error', reject);
        socket.on('error', () => undefined);
        resolve();
      });
    });
  }

  /** Flows to tasks that take no more end: the next datagram goes to another. */
  set(backends: readonly Backend[]): void {
    this.#backends = backends;
    const there = new Set(backends.map((b) => `${b.address} ${b.port}`));
    for (const [client, flow] of this.#flows) if (!there.has(`${flow.backend.address} ${flow.backend.port}`)) this.#end(client);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const client of [...this.#flows.keys()]) this.#end(client);
    this.#socket?.close();
  }

  #pass(data: Buffer, from: RemoteInfo): void {
    const client = `${from.address} ${from.port}`;
    const flow = this.#flows.get(client) ?? this.#begin(client, from);
    if (!flow) return;
    flow.usedAt = Date.now();
    flow.socket.send(data, flow.backend.port, flow.backend.address, () => undefined);
  }

  #begin(client: string, from: RemoteInfo): Flow | undefined {
    const backend = this.#backends[Math.floor(Math.random() * this.#backends.length)];
    if (!backend || this.#flows.size >= MOST_CLIENTS) return undefined;
    const socket = createSocket(backend.address.includes(':') ? 'udp6' : 'udp4');
    const flow: Flow = { socket, backend, usedAt: Date.now() };
    socket.on('error', () => this.#end(client));
    socket.on('message', (data, sender) => {
      if (sender.address !== backend.address || sender.port !== backend.port) return;
      flow.usedAt = Date.now();
      this.#socket?.send(data, from.port, from.address, () => undefined);
    });
    this.#flows.set(client, flow);
    this.#sweep ??= setInterval(() => this.#expire(), IDLE_MS / 4).unref();
    return flow;
  }

  #expire(): void {
    const oldest = Date.now() - IDLE_MS;
    for (const [client, flow] of this.#flows) if (flow.usedAt < oldest) this.#end(client);
    if (this.#flows.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  #end(client: string): void {
    const flow = this.#flows.get(client);
    this.#flows.delete(client);
    flow?.socket.close();
  }
}
