/**
 * Holds published ports open on this host. What comes in from elsewhere is translated by nft before any socket sees it; what
 * is left is loopback, which nft cannot translate on a node (route_localnet would open it to containers, and IPv6 has no such
 * thing), and IPv6 to tasks that have none. And a port that is held cannot be taken by somebody else unseen.
 */
import type { Door } from './door.js';
import { TcpDoor } from './tcp-door.js';
import { UdpDoor } from './udp-door.js';

interface Open {
  door: TcpDoor | UdpDoor;
  /** What cannot change on a socket. */
  made: string;
}

const madeOf = (d: Door): string => `${d.protocol} ${d.address ?? '*'} ${d.port}`;

export class PortProxy {
  readonly #open = new Map<string, Open>();
  #last: Promise<unknown> = Promise.resolve();

  /** Holds exactly these. @returns keys of those that somebody else has. Idempotent */
  set(doors: readonly Door[]): Promise<string[]> {
    const result = this.#last.then(() => this.#set(doors));
    this.#last = result.catch(() => undefined);
    return result;
  }

  close(): void {
    for (const { door } of this.#open.values()) door.close();
    this.#open.clear();
  }

  async #set(doors: readonly Door[]): Promise<string[]> {
    const wanted = new Map(doors.map((d) => [d.key, d]));
    for (const [key, open] of this.#open) {
      const want = wanted.get(key);
      if (want && madeOf(want) === open.made) continue;
      open.door.close();
      this.#open.delete(key);
    }
    const held: string[] = [];
    for (const door of doors) {
      const there = this.#open.get(door.key);
      if (there) there.door.set(door.backends);
      else if (!(await this.#begin(door))) held.push(door.key);
    }
    return held;
  }

  /** @returns false when somebody has it. An address that this host does not have is nobody's */
  async #begin(wish: Door): Promise<boolean> {
    const tries = wish.address === undefined ? ['::', '0.0.0.0'] : [wish.address];
    for (const address of tries) {
      const door = wish.protocol === 'tcp' ? new TcpDoor(wish.backends) : new UdpDoor(wish.backends);
      const code = await door.open(wish.port, address, wish.address !== undefined).then(
        () => undefined,
        (error: unknown) => (typeof error === 'object' && error !== null && 'code' in error ? error.code : 'unknown'),
      );
      if (code === undefined) {
        this.#open.set(wish.key, { door, made: madeOf(wish) });
        return true;
      }
      if (code === 'EADDRINUSE') return false;
    }
    return true;
  }
}
