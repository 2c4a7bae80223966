/**
 * Asks the node's resolvers for names that are not ours. Each question leaves from a socket of its own, so from a port that
 * the kernel chose at random, connected to the server asked, with a random id; what comes back must match all of it
 * (RFC 5452), the case of each letter of the name too, which is random (draft-vixie-dnsext-dns0x20). Equal questions that are under way at the same time are asked once, which also denies a forger many tries
 * in parallel (RFC 5452 §5).
 */
import { randomBytes, randomInt } from 'node:crypto';
import { systemClock, type Clock } from '#base/clock.js';
import { Rcode } from '#dns/constants.js';
import { parseUpstream } from '#dns/name-config.js';
import { encodeOutsideQuery, isAnswerTo, keepsCase, mixCase, type OutsideQuestion, type Transport } from '#dns/respond.js';
import { decodeHeader } from '#dns/wire.js';
import { OUTSIDE_CACHE_LIMITS, OutsideCache, type OutsideCacheLimits } from './outside-cache.js';
import { Rates } from './rates.js';
import { exchangeTcp, exchangeUdp, type Exchange, type UpstreamAddress } from './exchange.js';

export interface ForwarderLimits {
  /** How long one server may take, in milliseconds. */
  timeoutMs: number;
  /** Questions under way, in all and for one client; more are answered with SERVFAIL. */
  maxOutstanding: number;
  maxPerClient: number;
  /** How many servers are tried for one question. */
  maxTries: number;
  /** For so long a server that was silent is asked last, in milliseconds. */
  restMs: number;
  /** Questions of one client that really go out, a second and at once; answers that are kept do not count. */
  ratePerSecond: number;
  rateBurst: number;
  cache: OutsideCacheLimits;
}

export const FORWARDER_LIMITS: ForwarderLimits = {
  timeoutMs: 2_000,
  maxOutstanding: 512,
  maxPerClient: 64,
  maxTries: 3,
  restMs: 10_000,
  ratePerSecond: 500,
  rateBurst: 1_000,
  cache: OUTSIDE_CACHE_LIMITS,
};

interface Upstream extends UpstreamAddress {
  /** Asked last until then (monotonic ms). */
  restsUntil: number;
}

/** Codes that another server may better. */
const WORTH_ANOTHER_TRY = new Set<number>([Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED]);

export class Forwarder {
  readonly #limits: ForwarderLimits;
  readonly #clock: Clock;
  #upstreams: readonly string[] = [];
  /** Every server ever asked, by address and port: what is known of it outlives its place in a list. */
  readonly #servers = new Map<string, Upstream>();
  readonly #cache: OutsideCache;
  readonly #rates: Rates;
  readonly #underWay = new Map<string, Promise<Buffer | undefined>>();
  readonly #perClient = new Map<string, number>();
  #outstanding = 0;
  readonly #closing = new AbortController();

  constructor(limits: ForwarderLimits = FORWARDER_LIMITS, clock: Clock = systemClock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#cache = new OutsideCache(limits.cache);
    this.#rates = new Rates(limits.ratePerSecond, limits.rateBurst);
  }

  /** Replaces the node's servers. Other servers may know other answers: what was kept goes. */
  setUpstreams(upstreams: readonly string[]): void {
    if (upstreams.join() === this.#upstreams.join()) return;
    this.#upstreams = [...upstreams];
    this.#cache.clear();
    this.#servers.clear();
  }

  /**
   * The answer as it came, or undefined: no server, none answered, or too many questions under way. `transport` is the
   * client's: an answer that is cut short is good enough for a client by UDP (it comes again by TCP), not for one by TCP.
   */
  async ask(
    client: string,
    ask: OutsideQuestion,
    transport: Transport,
    upstreams: readonly string[] = this.#upstreams,
  ): Promise<Uint8Array | undefined> {
    const now = this.#clock.monotonic();
    const key = keyOf(ask, upstreams);
    const kept = this.#cache.find(key, now);
    if (kept) return kept.answer;
    const own = this.#perClient.get(client) ?? 0;
    if (upstreams.length === 0 || this.#closing.signal.aborted) return undefined;
    if (this.#outstanding >= this.#limits.maxOutstanding || own >= this.#limits.maxPerClient) return undefined;
    if (!this.#rates.allows(client, now)) return undefined;
    this.#outstanding++;
    this.#perClient.set(client, own + 1);
    try {
      return await this.#askOnce(key, ask, transport, upstreams);
    } finally {
      this.#outstanding--;
      const left = (this.#perClient.get(client) ?? 1) - 1;
      if (left > 0) this.#perClient.set(client, left);
      else this.#perClient.delete(client);
    }
  }

  /** Ends everything that is under way, without answers. */
  close(): void {
    this.#closing.abort();
  }

  #askOnce(key: string, ask: OutsideQuestion, transport: Transport, upstreams: readonly string[]): Promise<Buffer | undefined> {
    const id = `${transport} ${key}`;
    const known = this.#underWay.get(id);
    if (known) return known;
    const asking = this.#tryServers(ask, transport, upstreams)
      .then((answer) => {
        // What ended because all ends says nothing of the servers.
        if (!this.#closing.signal.aborted) this.#cache.keep(key, answer, this.#clock.monotonic());
        return answer;
      })
      .finally(() => this.#underWay.delete(id));
    this.#underWay.set(id, asking);
    return asking;
  }

  #serversOf(upstreams: readonly string[]): Upstream[] {
    return upstreams.flatMap((text) => {
      const parsed = parseUpstream(text);
      if (!parsed) return [];
      const server = this.#servers.get(text) ?? { ...parsed, restsUntil: 0 };
      this.#servers.set(text, server);
      return [server];
    });
  }

  async #tryServers(ask: OutsideQuestion, transport: Transport, upstreams: readonly string[]): Promise<Buffer | undefined> {
    const now = this.#clock.monotonic();
    const servers = this.#serversOf(upstreams);
    const rested = servers.filter((u) => u.restsUntil <= now);
    const resting = servers.filter((u) => u.restsUntil > now);
    let last: Buffer | undefined;
    for (const upstream of [...rested, ...resting].slice(0, this.#limits.maxTries)) {
      if (this.#closing.signal.aborted) return undefined;
      const answer = await this.#askServer(upstream, ask, transport);
      upstream.restsUntil = answer ? 0 : this.#clock.monotonic() + this.#limits.restMs;
      last = answer ?? last;
      if (answer && !WORTH_ANOTHER_TRY.has(decodeHeader(answer).rcode)) return answer;
    }
    return last;
  }

  async #askServer(upstream: Upstream, ask: OutsideQuestion, transport: Transport): Promise<Buffer | undefined> {
    const exchange = (question: Uint8Array): Exchange => {
      const id = randomInt(65_536);
      return {
        server: upstream,
        query: encodeOutsideQuery(ask, id, question),
        accepts: (bytes) => isAnswerTo(bytes, ask, id),
        timeoutMs: this.#limits.timeoutMs,
        signal: this.#closing.signal,
      };
    };
    const mixed = mixCase(ask.question, randomBytes(ask.question.length));
    const answer = await exchangeUdp(exchange(mixed));
    if (!answer) return undefined;
    if (!keepsCase(answer, mixed)) {
      // Forged, or of a server that folds letters. A connection cannot be forged by who does not see it; where there is none to be
      // had, a second answer has to match a second id and port.
      const plain = mixCase(ask.question, new Uint8Array(ask.question.length));
      return (await exchangeTcp(exchange(plain))) ?? (await exchangeUdp(exchange(plain)));
    }
    if (transport === 'udp' || !decodeHeader(answer).truncated) return answer;
    return (await exchangeTcp(exchange(mixed))) ?? answer;
  }
}

/** Questions with one key have one answer: the same name in any letters, flags and size, asked of the same servers. */
function keyOf(ask: OutsideQuestion, upstreams: readonly string[]): string {
  const plain = mixCase(ask.question, new Uint8Array(ask.question.length));
  return `${upstreams.join()} ${Buffer.from(encodeOutsideQuery(ask, 0, plain)).toString('latin1')}`;
}
