/**
 * Asks the node's resolvers for names that are not ours. Each question leaves from a socket of its own, so from a port that
 * the kernel chose at random, connected to the server asked, with a random id; what comes back must match all of it
 * (RFC 5452). Equal questions that are under way at the same time are asked once, which also denies a forger many tries
 * in parallel (RFC 5452 §5).
 */
import { randomInt } from 'node:crypto';
import { systemClock, type Clock } from '#base/clock.js';
import { Rcode } from '#dns/constants.js';
import { parseUpstream } from '#dns/name-config.js';
import { encodeOutsideQuery, isAnswerTo, type OutsideQuestion, type Transport } from '#dns/respond.js';
import { decodeHeader } from '#dns/wire.js';
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
}

export const FORWARDER_LIMITS: ForwarderLimits = { timeoutMs: 2_000, maxOutstanding: 512, maxPerClient: 64, maxTries: 3, restMs: 10_000 };

interface Upstream extends UpstreamAddress {
  /** Asked last until then (monotonic ms). */
  restsUntil: number;
}

/** Codes that another server may better. */
const WORTH_ANOTHER_TRY = new Set<number>([Rcode.FORMERR, Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED]);

export class Forwarder {
  readonly #limits: ForwarderLimits;
  readonly #clock: Clock;
  #upstreams: Upstream[] = [];
  readonly #underWay = new Map<string, Promise<Buffer | undefined>>();
  readonly #perClient = new Map<string, number>();
  #outstanding = 0;
  readonly #closing = new AbortController();

  constructor(limits: ForwarderLimits = FORWARDER_LIMITS, clock: Clock = systemClock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Replaces the servers; those that stay keep what is known of them. */
  setUpstreams(upstreams: readonly string[]): void {
    const known = new Map(this.#upstreams.map((u) => [`${u.address} ${u.port}`, u]));
    this.#upstreams = upstreams.flatMap((text) => {
      const parsed = parseUpstream(text);
      return parsed ? [known.get(`${parsed.address} ${parsed.port}`) ?? { ...parsed, restsUntil: 0 }] : [];
    });
  }

  /**
   * The answer as it came, or undefined: no server, none answered, or too many questions under way. `transport` is the
   * client's: an answer that is cut short is good enough for a client by UDP (it comes again by TCP), not for one by TCP.
   */
  async ask(client: string, ask: OutsideQuestion, transport: Transport): Promise<Buffer | undefined> {
    const own = this.#perClient.get(client) ?? 0;
    if (this.#upstreams.length === 0 || this.#outstanding >= this.#limits.maxOutstanding || own >= this.#limits.maxPerClient)
      return undefined;
    this.#outstanding++;
    this.#perClient.set(client, own + 1);
    try {
      return await this.#askOnce(ask, transport);
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
    this.#upstreams = [];
  }

  #askOnce(ask: OutsideQuestion, transport: Transport): Promise<Buffer | undefined> {
    const key = `${transport} ${Buffer.from(encodeOutsideQuery(ask, 0)).toString('latin1')}`;
    const known = this.#underWay.get(key);
    if (known) return known;
    const asking = this.#tryServers(ask, transport).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asking);
    return asking;
  }

  async #tryServers(ask: OutsideQuestion, transport: Transport): Promise<Buffer | undefined> {
    const now = this.#clock.monotonic();
    const rested = this.#upstreams.filter((u) => u.restsUntil <= now);
    const resting = this.#upstreams.filter((u) => u.restsUntil > now);
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
    const exchange = (): Exchange => {
      const id = randomInt(65_536);
      return {
        server: upstream,
        query: encodeOutsideQuery(ask, id),
        accepts: (bytes) => isAnswerTo(bytes, ask, id),
        timeoutMs: this.#limits.timeoutMs,
        signal: this.#closing.signal,
      };
    };
    const answer = await exchangeUdp(exchange());
    if (!answer || transport === 'udp' || !decodeHeader(answer).truncated) return answer;
    return (await exchangeTcp(exchange())) ?? answer;
  }
}
