/**
 * Which controller an agent turns to, and how long it waits for it. It stays where it is while that works; when it has to go,
 * it goes where it has not failed lately, and to the controller of its own host last: a host that dies is then noticed by one
 * that lives. One that fell silent is asked once more first: where it was the way that was cut, another may know no better.
 */
import { backoffMs } from '#base/backoff.js';
import type { Clock } from '#base/clock.js';
import type { Member } from '#model/node-view.js';

/** A failure older than this, in milliseconds, says nothing any more. */
const FORGET_MS = 60_000;
/** Well below the time in which nobody is declared dead after an outage of etcd (nodes-loop.ts of the controller). */
const RECONNECT = { initialMs: 200, maxMs: 1_000 };
/** A controller says that it is alive as soon as it takes a stream; others are asked when nothing was heard by then: milliseconds. */
const FIRST_WORD_MS = 1_000;
const MAX_FIRST_WORD_MS = 5_000;
/** In the next round each has so many times as long. */
const LONGER = 3;
/** For the first word of a controller that fell silent, in milliseconds: it answers at once, or it is away indeed. */
export const ONCE_MORE_MS = 500;

/** host:port of all controllers: those of the view, which is kept on disk, then those the agent was told of otherwise. */
export function knownControllers(members: readonly Member[], told: readonly string[]): string[] {
  const listed = members.flatMap((m) => (m.kind === 'controller' && m.port !== undefined ? [`${m.address}:${m.port}`] : []));
  return [...new Set([...listed, ...told])];
}

/** All controllers are asked, one soon after another, before a longer and longer pause is made: one of them may be there. */
export function retryMs(failures: number, controllers: number): number {
  const rounds = failures / Math.max(1, controllers);
  return backoffMs(Number.isInteger(rounds) ? rounds - 1 : 0, RECONNECT);
}

/** Where there are others to ask, none is waited for as long as a connection to nowhere takes; longer each round, for all may be slow. */
export function firstWordMs(failures: number, controllers: number): number {
  if (controllers < 2) return MAX_FIRST_WORD_MS;
  return Math.min(MAX_FIRST_WORD_MS, FIRST_WORD_MS * LONGER ** Math.floor(failures / controllers));
}

export class ControllerChoice {
  readonly #ownAddress: string;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** Target → when it failed, monotonic milliseconds. */
  readonly #failedAt = new Map<string, number>();
  #silent: string | undefined;

  /** @param random a number in [0, 1); spreads the agents over the controllers */
  constructor(ownAddress: string, clock: Clock, random: () => number = Math.random) {
    this.#ownAddress = ownAddress;
    this.#clock = clock;
    this.#random = random;
  }

  /** The stream to it broke, or never came up. */
  failed(target: string): void {
    this.#failedAt.set(target, this.#clock.monotonic());
  }

  /** The stream to it worked, and then nothing came for too long. */
  fellSilent(target: string): void {
    this.#silent = target;
  }

  /** @returns no target when no controller is known; `isOnceMore`: it fell silent just now, and others wait to be asked */
  next(targets: readonly string[]): { target: string | undefined; isOnceMore: boolean } {
    const silent = this.#silent;
    this.#silent = undefined;
    if (silent !== undefined && targets.length > 1 && targets.includes(silent)) return { target: silent, isOnceMore: true };
    return { target: this.#best(targets), isOnceMore: false };
  }

  #best(targets: readonly string[]): string | undefined {
    const forgotten = this.#clock.monotonic() - FORGET_MS;
    const rank = (target: string): [number, number, number] => {
      const failedAt = this.#failedAt.get(target) ?? -Infinity;
      const isOwn = target.slice(0, target.lastIndexOf(':')) === this.#ownAddress;
      return [failedAt > forgotten ? failedAt : -Infinity, isOwn ? 1 : 0, this.#random()];
    };
    const ranked = targets.map((target) => ({ target, rank: rank(target) }));
    return ranked.sort((a, b) => byRank(a.rank, b.rank))[0]?.target;
  }
}

function byRank(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0) ? -1 : 1;
}
