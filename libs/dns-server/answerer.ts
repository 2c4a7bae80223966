/** A request that has no kept answer: made here, or fetched from outside. */
import type { Log } from '#base/log.js';
import { messageOf } from '#base/errors.js';
import { Rcode } from '#dns/constants.js';
import { failureReply, relayReply, respond, type OutsideQuestion, type Transport } from '#dns/respond.js';
import type { Client } from './clients.js';
import type { Counters } from './counters.js';
import type { Forwarder } from './forwarder.js';

export class Answerer {
  readonly #forwarder: Forwarder;
  readonly #counters: Counters;
  readonly #log: Log;

  constructor(forwarder: Forwarder, counters: Counters, log: Log) {
    this.#forwarder = forwarder;
    this.#counters = counters;
    this.#log = log;
  }

  /**
   * Calls `send` once, at once or later, or never if the request deserves no answer. `client` is undefined for a stranger.
   * `request` must stay as it is until then.
   */
  answer(client: Client | undefined, request: Buffer, transport: Transport, send: (bytes: Uint8Array) => void): void {
    const response = respond(client?.view, request, transport, client?.answers.turnFor(request) ?? 0);
    switch (response.kind) {
      case 'drop':
        this.#counters.dropped++;
        return;
      case 'reply':
        if (response.rcode === Rcode.REFUSED) this.#counters.refused++;
        if (transport === 'udp') client?.answers.keep(request, response.bytes, response.turns);
        return send(response.bytes);
      case 'forward':
        void this.#fetch(client?.address ?? '', request, response.ask, transport, response.upstreams).then(send);
    }
  }

  async #fetch(
    client: string,
    request: Buffer,
    ask: OutsideQuestion,
    transport: Transport,
    upstreams: readonly string[] | undefined,
  ): Promise<Uint8Array> {
    this.#counters.forwarded++;
    const answer = await this.#forwarder.ask(client, ask, transport, upstreams).catch((error: unknown) => {
      this.#log.error({ error: messageOf(error) }, 'asking outside failed');
      return undefined;
    });
    if (answer) return relayReply(answer, request, ask.limitBytes);
    this.#counters.failed++;
    return failureReply(request, Rcode.SERVFAIL);
  }
}
