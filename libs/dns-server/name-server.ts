/** The sockets of all networks of a node, around the pure lookup of libs/dns. Holds one configuration, replaced whole. */
import { silentLog, type Log } from '#base/log.js';
import { EMPTY_NAME_CONFIG, type NameConfig } from '#dns/name-config.js';
import { buildZone, type Zone } from '#dns/zone.js';
import { Answerer } from './answerer.js';
import { clientMaker, type Clients } from './clients.js';
import { newCounters, type Counters } from './counters.js';
import { FORWARDER_LIMITS, Forwarder, type ForwarderLimits } from './forwarder.js';
import { Listener, type ListenerStatus } from './listener.js';
import { TCP_LIMITS, type TcpLimits } from './tcp-service.js';

export interface NameServerOptions {
  log?: Log;
  forwarder?: Partial<ForwarderLimits>;
  tcp?: Partial<TcpLimits>;
}

export interface NameServerStatus {
  networks: (ListenerStatus & { id: string })[];
  upstreams: string[];
  /** Names in all networks. */
  records: number;
  counters: Counters;
}

export class NameServer {
  readonly #log: Log;
  readonly #tcpLimits: TcpLimits;
  readonly #counters: Counters = newCounters();
  readonly #forwarder: Forwarder;
  readonly #answerer: Answerer;
  readonly #listeners = new Map<string, Listener>();
  #config: NameConfig = EMPTY_NAME_CONFIG;
  #text = JSON.stringify(EMPTY_NAME_CONFIG);

  constructor(options: NameServerOptions = {}) {
    this.#log = options.log ?? silentLog;
    this.#tcpLimits = { ...TCP_LIMITS, ...options.tcp };
    this.#forwarder = new Forwarder({ ...FORWARDER_LIMITS, ...options.forwarder });
    this.#answerer = new Answerer(this.#forwarder, this.#counters, this.#log);
  }

  /** Makes the zone and the listeners match `config`. What is equal stays as it is: open sockets, connections, kept answers. */
  set(config: NameConfig): void {
    const text = JSON.stringify(config);
    const isSame = text === this.#text;
    this.#text = text;
    this.#config = config;
    if (!isSame) {
      this.#forwarder.setUpstreams(config.upstreams);
      this.#setListeners(config, buildZone(config));
    }
    for (const listener of this.#listeners.values()) listener.nudge();
  }

  status(): NameServerStatus {
    const networks = this.#config.networks.flatMap(({ id, listen }) => {
      const listener = this.#listeners.get(keyOf(listen));
      return listener ? [{ id, ...listener.status() }] : [];
    });
    const records = this.#config.networks.reduce((sum, n) => sum + n.records.length, 0);
    return { networks, upstreams: this.#config.upstreams, records, counters: { ...this.#counters } };
  }

  /** Closes every socket. */
  close(): void {
    this.#forwarder.close();
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  #setListeners(config: NameConfig, zone: Zone): void {
    const wanted = clientsByListener(config, zone);
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      listener.close();
      this.#listeners.delete(key);
    }
    for (const { listen } of config.networks) {
      const key = keyOf(listen);
      const parts = { answerer: this.#answerer, counters: this.#counters, tcpLimits: this.#tcpLimits, log: this.#log };
      const listener = this.#listeners.get(key) ?? new Listener(listen, parts);
      listener.clients = wanted.get(key) ?? new Map();
      this.#listeners.set(key, listener);
    }
  }
}

const keyOf = (listen: { address: string; port: number }): string => `${listen.address} ${listen.port}`;

/** A client may ask at its own network's address only: at another one it is a stranger, whatever it is on. */
function clientsByListener(config: NameConfig, zone: Zone): Map<string, Clients> {
  const make = clientMaker();
  const networkListens = new Map(config.networks.map((n) => [n.id, keyOf(n.listen)]));
  const byListener = new Map(config.networks.map((n): [string, Clients] => [keyOf(n.listen), new Map()]));
  for (const [address, view] of zone.views) {
    const clients = byListener.get(networkListens.get(view.networks[0]?.id ?? '') ?? '');
    clients?.set(address, make(address, view));
  }
  return byListener;
}
