/**
 * Which controller an agent turns to. It stays where it is while that works; when it has to go, it goes where it has not
 * failed lately, and to the controller of its own host last: a host that dies is then noticed by one that lives.
 */
import type { Clock } from '#base/clock.js';
import type { Member } from '#model/node-view.js';

/** A failure older than this, in milliseconds, says nothing any more. */
const FORGET_MS = 60_000;

/** host:port of all controllers: those of the view, which is kept on disk, then those the agent was told of otherwise. */
export function knownControllers(members: readonly Member[], told: readonly string[]): string[] {
  const listed = members.flatMap((m) => (m.kind === 'controller' && m.port !== undefined ? [`${m.address}:${m.port}`] : []));
  return [...new Set([...listed, ...told])];
}

export class ControllerChoice {
  readonly #ownAddress: string;
  readonly #clock: Clock;
  readonly #random: () => number;
  /** Target → when it failed, monotonic milliseconds. */
  readonly #failedAt = new Map<string, number>();

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

  /** @returns undefined when no controller is known */
  next(targets: readonly string[]): string | undefined {
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
