/** Token buckets by client: each may do so many things a second, and save up to a burst. */

/** More clients than that are not remembered: who was quiet the longest begins anew, with a full bucket. */
const MAX_CLIENTS = 4096;

export class Rates {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  /** Whether the client may do it now; if so, it is counted. @param now monotonic ms */
  allows(client: string, now: number): boolean {
    const bucket = this.#buckets.get(client) ?? { tokens: this.#burst, at: now };
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    bucket.tokens = Math.min(this.#burst, bucket.tokens + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    if (this.#buckets.size > MAX_CLIENTS) this.#buckets.delete(this.#buckets.keys().next().value ?? '');
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
