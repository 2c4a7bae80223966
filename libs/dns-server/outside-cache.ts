/** Answers from outside, kept for as long as they may be (RFC 2181, RFC 2308), and failures for a moment (RFC 9520). */
import { aged, lifetimeOf } from '#dns/outside-answer.js';

export interface OutsideCacheLimits {
  maxEntries: number;
  maxBytes: number;
  /** Larger answers are rare and not kept. */
  maxAnswerBytes: number;
  /** For so long a question that nobody answered is not asked again, in milliseconds: RFC 9520 §3.2 wants one second at least. */
  failureMs: number;
}

export const OUTSIDE_CACHE_LIMITS: OutsideCacheLimits = {
  maxEntries: 10_000,
  maxBytes: 8 * 1024 * 1024,
  maxAnswerBytes: 4096,
  failureMs: 1_000,
};

interface Entry {
  /** undefined: nobody answered. */
  answer: Uint8Array | undefined;
  /** Monotonic milliseconds. */
  at: number;
  until: number;
}

export class OutsideCache {
  readonly #limits: OutsideCacheLimits;
  /** Oldest first: what is used again moves to the end. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(limits: OutsideCacheLimits) {
    this.#limits = limits;
  }

  /** `{ answer: undefined }`: it was asked a moment ago, and nobody answered. @param now monotonic ms */
  find(key: string, now: number): { answer: Uint8Array | undefined } | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#drop(key, entry);
    if (now >= entry.until) return undefined;
    this.#put(key, entry);
    return { answer: entry.answer && aged(entry.answer, Math.floor((now - entry.at) / 1000)) };
  }

  keep(key: string, answer: Uint8Array | undefined, now: number): void {
    const lifetimeMs = answer ? lifetimeOf(answer) * 1000 : this.#limits.failureMs;
    if (lifetimeMs === 0 || (answer?.length ?? 0) > this.#limits.maxAnswerBytes) return;
    const known = this.#entries.get(key);
    if (known) this.#drop(key, known);
    this.#put(key, { answer: answer && new Uint8Array(answer), at: now, until: now + lifetimeMs });
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#limits.maxEntries && this.#bytes <= this.#limits.maxBytes) break;
      this.#drop(oldest, entry);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #put(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#bytes += sizeOf(key, entry);
  }

  #drop(key: string, entry: Entry): void {
    if (this.#entries.delete(key)) this.#bytes -= sizeOf(key, entry);
  }
}

const sizeOf = (key: string, entry: Entry): number => key.length + (entry.answer?.length ?? 0);
