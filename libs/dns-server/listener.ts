/** One address and port: a UDP socket and a TCP listener, opened as soon as the address is there. */
import type { Server } from 'node:net';
import { isIPv6 } from 'node:net';
import type { Socket } from 'node:dgram';
import type { Log } from '#base/log.js';
import type { Answerer } from './answerer.js';
import type { Clients } from './clients.js';
import type { Counters } from './counters.js';
import { TcpService, type TcpLimits } from './tcp-service.js';
import { UdpService } from './udp-service.js';

/** An address that is not there yet (its bridge is being made) or a port that is taken is tried again after so long. */
const RETRY_MS = 200;
/** The first container on it may be about to start. */
const RETRY_ABSENT_MS = 20;

export interface ListenAddress {
  address: string;
  port: number;
}

export interface ListenerStatus extends ListenAddress {
  udp: boolean;
  tcp: boolean;
  /** Why it does not listen, or did not the last time it was tried: EADDRNOTAVAIL, EADDRINUSE, … */
  problem?: string;
}

export interface ListenerParts {
  answerer: Answerer;
  counters: Counters;
  tcpLimits: TcpLimits;
  log: Log;
}

export class Listener {
  /** Who may ask here. Replaced whole. */
  clients: Clients = new Map();
  readonly #at: ListenAddress;
  readonly #parts: ListenerParts;
  readonly #udp: Slot;
  readonly #tcp: Slot;

  constructor(at: ListenAddress, parts: ListenerParts) {
    this.#at = at;
    this.#parts = parts;
    const name = `${at.address}:${at.port}`;
    this.#udp = new Slot(`udp ${name}`, parts.log, (events) => this.#openUdp(events));
    this.#tcp = new Slot(`tcp ${name}`, parts.log, (events) => this.#openTcp(events));
  }

  /** Tries what is not open now, without waiting for its turn. */
  nudge(): void {
    this.#udp.nudge();
    this.#tcp.nudge();
  }

  status(): ListenerStatus {
    const problem = this.#udp.problem ?? this.#tcp.problem;
    return { ...this.#at, udp: this.#udp.isOpen, tcp: this.#tcp.isOpen, ...(problem === undefined ? {} : { problem }) };
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }

  #openUdp(events: SlotEvents): () => void {
    const { answerer, counters } = this.#parts;
    const { socket } = new UdpService(isIPv6(this.#at.address) ? 6 : 4, () => this.clients, answerer, counters);
    watch(socket, events);
    socket.bind({ address: this.#at.address, port: this.#at.port, exclusive: true });
    return () => socket.close();
  }

  #openTcp(events: SlotEvents): () => void {
    const { answerer, counters, tcpLimits } = this.#parts;
    const service = new TcpService((address, request, reply) => {
      counters.tcpRequests++;
      answerer.answer(this.clients.get(address), request, 'tcp', reply);
    }, tcpLimits);
    watch(service.server, events);
    service.server.listen({ host: this.#at.address, port: this.#at.port, exclusive: true });
    return () => service.close();
  }
}

function watch(socket: Socket | Server, events: SlotEvents): void {
  const emitter: NodeJS.EventEmitter = socket;
  emitter.on('listening', events.opened);
  emitter.on('error', events.failed);
}

interface SlotEvents {
  opened: () => void;
  failed: (error: Error) => void;
}

/** Something that is to be open, and is opened again until it is. */
class Slot {
  isOpen = false;
  problem: string | undefined;
  readonly #name: string;
  readonly #log: Log;
  readonly #open: (events: SlotEvents) => () => void;
  #close: (() => void) | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(name: string, log: Log, open: (events: SlotEvents) => () => void) {
    this.#name = name;
    this.#log = log;
    this.#open = open;
    this.#try();
  }

  nudge(): void {
    if (!this.#retry) return;
    clearTimeout(this.#retry);
    this.#try();
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.isOpen = false;
    const close = this.#close;
    this.#close = undefined;
    close?.();
  }

  #try(): void {
    this.#retry = undefined;
    const close = this.#open({
      opened: () => {
        this.isOpen = true;
        this.problem = undefined;
        this.#log.info({ listener: this.#name }, 'answering');
      },
      // A bind can fail while it is called, before there is anything to close.
      failed: (error) => queueMicrotask(() => this.#close === close && this.#failed(error)),
    });
    this.#close = close;
  }

  #failed(error: Error): void {
    const problem = 'code' in error && typeof error.code === 'string' ? error.code : error.message;
    // Once for each new problem: it may be tried for hours.
    if (problem !== this.problem) this.#log.warn({ listener: this.#name, problem }, 'cannot answer there now; trying again');
    this.close();
    this.problem = problem;
    this.#retry = setTimeout(() => this.#try(), problem === 'EADDRNOTAVAIL' ? RETRY_ABSENT_MS : RETRY_MS);
  }
}
