/**
 * The network between two machines, as TCP shows it: what is sent arrives in order, some time later; what is sent into a cut
 * waits and arrives after it, or never, when the connection is given up first.
 */
import type { Chance } from './chance.js';
import type { Timeline } from './timeline.js';

/** One packet in so many is lost and sent again. */
const LOSS = 0.01;
const RETRANSMIT_MS = 200;
/** Retransmission backs off (RFC 6298): after a cut the next try comes at most so late, as a part of how long the cut lasted. */
export const LATE_PART = 0.75;

export class Net {
  readonly #timeline: Timeline;
  readonly #chance: Chance;
  readonly #cuts = new Map<string, number>();
  readonly #held = new Map<string, (() => void)[]>();

  constructor(timeline: Timeline, chance: Chance) {
    this.#timeline = timeline;
    this.#chance = chance;
  }

  /** Whether machine `a` reaches machine `b`. */
  isCut(a: string, b: string): boolean {
    return this.#cuts.size > 0 && this.#cuts.has(linkOf(a, b));
  }

  /** Cuts may overlap: the way is whole again when the last has ended. @returns what mends this one */
  cut(a: string, b: string): () => void {
    const link = linkOf(a, b);
    this.#cuts.set(link, (this.#cuts.get(link) ?? 0) + 1);
    const since = this.#timeline.now;
    let isMended = false;
    return () => {
      if (isMended) return;
      isMended = true;
      const left = (this.#cuts.get(link) ?? 1) - 1;
      if (left > 0) return void this.#cuts.set(link, left);
      this.#cuts.delete(link);
      const late = Math.min(10_000, (this.#timeline.now - since) * LATE_PART) * this.#chance.next();
      for (const act of this.#held.get(link)?.splice(0) ?? []) this.#timeline.after(late, act);
    };
  }

  /** From 0 up to 1. */
  chance(): number {
    return this.#chance.next();
  }

  delayMs(): number {
    return 0.2 + this.#chance.next() * 2 + (this.#chance.is(LOSS) ? RETRANSMIT_MS : 0);
  }

  /** Runs `arrive` on the other side, after a while, if it ever gets there. */
  send(from: string, to: string, arrive: () => void, delayMs = this.delayMs()): void {
    const hold = () => {
      const link = linkOf(from, to);
      const held = this.#held.get(link) ?? [];
      this.#held.set(link, held);
      held.push(() => this.send(from, to, arrive, 0));
    };
    if (this.isCut(from, to)) return hold();
    this.#timeline.after(delayMs, () => (this.isCut(from, to) ? hold() : arrive()));
  }
}

const linkOf = (a: string, b: string): string => (a < b ? `${a}~${b}` : `${b}~${a}`);

/** One direction of a connection: what overtakes waits for what was sent before it. */
export class Pipe<T> {
  readonly #early = new Map<number, T>();
  #sent = 0;
  #received = 0;
  #closed = false;

  constructor(
    private readonly net: Net,
    private readonly from: string,
    private readonly to: string,
    private readonly receive: (message: T) => void,
  ) {}

  push(message: T): void {
    const place = this.#sent++;
    this.net.send(this.from, this.to, () => this.#arrived(place, message));
  }

  /** Nothing arrives any more. */
  close(): void {
    this.#closed = true;
  }

  #arrived(place: number, message: T): void {
    this.#early.set(place, message);
    for (let next = this.#early.get(this.#received); next !== undefined && !this.#closed; next = this.#early.get(this.#received)) {
      this.#early.delete(this.#received++);
      this.receive(next);
    }
  }
}
