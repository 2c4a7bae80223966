/** Questions over UDP. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Answerer } from './answerer.js';
import type { Clients } from './clients.js';
import type { Counters } from './counters.js';

const BUFFER_BYTES = 4 * 1024 * 1024;
/** Answers that wait because the socket takes no more; what comes on top is dropped: the client asks again. */
const MAX_QUEUED = 1_000;

export class UdpService {
  readonly socket: Socket;
  readonly #answerer: Answerer;
  readonly #counters: Counters;
  readonly #clients: () => Clients;

  constructor(family: 4 | 6, clients: () => Clients, answerer: Answerer, counters: Counters) {
    this.#answerer = answerer;
    this.#counters = counters;
    this.#clients = clients;
    this.socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      recvBufferSize: BUFFER_BYTES,
      sendBufferSize: BUFFER_BYTES,
      // The default one would put off every answer to the next turn of the event loop, to look up what is an address already.
      lookup: (host, _options, done) => done(null, host, family),
    });
    this.socket.on('message', (request, from) => this.#request(request, from));
  }

  #request(request: Buffer, from: RemoteInfo): void {
    this.#counters.udpRequests++;
    // Nothing can be sent to port 0, and send() would throw.
    if (from.port === 0) return void this.#counters.dropped++;
    const client = this.#clients().get(from.address);
    const kept = client?.answers.find(request);
    if (!kept) return this.#answerer.answer(client, request, 'udp', (bytes) => this.#send(bytes, from));
    const queued = this.socket.getSendQueueCount();
    // While nothing is queued the kernel has copied an answer when send() returns, so one buffer serves every request.
    const answer = queued === 0 ? kept : Buffer.from(kept);
    answer[0] = request[0] as number;
    answer[1] = request[1] as number;
    if (queued < MAX_QUEUED) this.socket.send(answer, from.port, from.address);
    else this.#counters.dropped++;
  }

  #send(bytes: Uint8Array, to: RemoteInfo): void {
    try {
      this.socket.send(bytes, to.port, to.address);
    } catch {
      // Closed while the answer was fetched.
      this.#counters.dropped++;
    }
  }
}
