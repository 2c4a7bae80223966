/** One TCP port held open: what nft does not translate (loopback; IPv6 to tasks without it) is passed on here. */
import { createServer, connect, type Server, type Socket } from 'node:net';
import type { Backend } from './door.js';

/** A task that does not answer in this time is passed over. */
const CONNECT_MS = 3_000;

export class TcpDoor {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #backends: readonly Backend[];

  constructor(backends: readonly Backend[]) {
    this.#backends = backends;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#take(client));
  }

  /** @param address `::` takes IPv4 too unless `only6`. @throws as listen(2) */
  open(port: number, address: string, only6: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host: address, ipv6Only: only6 }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', () => undefined);
        resolve();
      });
    });
  }

  /** Connections that are there go on. */
  set(backends: readonly Backend[]): void {
    this.#backends = backends;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #take(client: Socket): void {
    client.on('error', () => client.destroy());
    this.#keep(client);
    const order = [...this.#backends];
    // Begins anywhere, and goes round.
    const first = Math.floor(Math.random() * order.length);
    this.#try(client, [...order.slice(first), ...order.slice(0, first)]);
  }

  #try(client: Socket, [backend, ...others]: readonly Backend[]): void {
    if (!backend || client.destroyed) return void client.resetAndDestroy();
    const task = connect({ host: backend.address, port: backend.port, allowHalfOpen: true });
    this.#keep(task);
    const next = (): void => {
      task.destroy();
      this.#try(client, others);
    };
    task.setTimeout(CONNECT_MS, next);
    task.once('error', next);
    task.once('connect', () => {
      task.setTimeout(0);
      task.off('error', next).on('error', () => client.resetAndDestroy());
      for (const end of [client, task]) end.setNoDelay(true);
      client.once('close', () => task.destroy());
      task.once('close', () => client.destroy());
      client.pipe(task);
      task.pipe(client);
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
