/**
 * Published ports as this node may open them: asks the port proxy to hold each, and remembers which somebody else has. Those
 * stay theirs (nft would take their packets away), are told in the node's facts, and are tried again now and then.
 */
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Finding, ListeningPort } from '#model/node.js';
import { DNS_PORT } from '#model/ports.js';
import type { ViewByKind } from '#model/view-state.js';
import { portKey, portsOfView } from '#overlay/node-ports.js';
import type { PublishedPort } from '#overlay/published-ports.js';
import type { Door } from './port-proxy/door.js';

const AGAIN_MS = 5_000;
const SSH_PORT = 22;
/** So long the first look waits for the proxy: without it, a port of somebody else's would be taken until it is there. */
const PROXY_WAIT_MS = 3_000;

export interface PortKeeperOptions {
  nodeId: string;
  listening: () => Promise<ListeningPort[]>;
  /** Ports may be opened that could not before, or the other way round. */
  onChange: () => void;
  /** There is another finding, or one less. */
  onFindings: () => void;
  log: Log;
}

export class PortKeeper {
  readonly #o: PortKeeperOptions;
  #set: ((doors: readonly Door[]) => Promise<string[]>) | undefined;
  #doors: readonly Door[] = [];
  #told: string | undefined;
  #held: ReadonlySet<string> = new Set();
  #refused: ReadonlyMap<string, string> = new Map();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #proxyIsUp: Promise<void>;
  #release: () => void = () => undefined;

  constructor(options: PortKeeperOptions) {
    this.#o = options;
    this.#proxyIsUp = new Promise((resolve) => {
      const timer = setTimeout(resolve, PROXY_WAIT_MS).unref();
      this.#release = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** One a port that this node cannot open, and who has it. */
  get findings(): Finding[] {
    return [...this.#refused].map(([key, why]) => ({
      code: 'port-taken',
      severity: 'broken',
      what: `published port ${key} is not opened on this node: ${why}`,
      remedy: 'End who has it, or publish another port. It is tried again every few seconds.',
    }));
  }

  /** The proxy is there, and holds nothing we know of. */
  use(set: (doors: readonly Door[]) => Promise<string[]>): void {
    this.#set = set;
    this.#told = undefined;
    this.#release();
    this.#o.onChange();
  }

  stop(): void {
    this.#stopped = true;
    this.#release();
    clearTimeout(this.#timer);
  }

  /** Keys of published ports that this node may not open, and why. Never fails: without the proxy it says what it knows. */
  async hold(view: ViewByKind): Promise<ReadonlyMap<string, string>> {
    const ports = portsOfView(view, this.#o.nodeId);
    const refused = new Map<string, string>();
    for (const port of ports) {
      const whose = keptFor(port, view);
      if (whose !== undefined) refused.set(portKey(port), `it is kept for ${whose}`);
    }
    this.#doors = ports.filter((p) => !refused.has(portKey(p))).flatMap(doorOf);
    if (this.#doors.length > 0) await this.#proxyIsUp;
    await this.#tell();
    if (this.#held.size > 0) for (const [key, why] of await this.#holders()) refused.set(key, why);
    this.#note(refused);
    return refused;
  }

  async #tell(): Promise<void> {
    const text = JSON.stringify(this.#doors);
    if (text === this.#told || !this.#set) return;
    try {
      this.#held = new Set(await this.#set(this.#doors));
      this.#told = text;
    } catch (error) {
      this.#o.log.warn({ error: messageOf(error) }, 'published ports could not be held open for localhost');
    }
    if (this.#told !== text || this.#held.size > 0) this.#again();
  }

  #again(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      const before = [...this.#held].join();
      this.#told = undefined;
      void this.#tell().then(() => {
        if ([...this.#held].join() !== before) this.#o.onChange();
      });
    }, AGAIN_MS);
  }

  async #holders(): Promise<[key: string, why: string][]> {
    const listening = await this.#o.listening().catch(() => []);
    return this.#doors
      .filter((d) => this.#held.has(d.key))
      .map((door) => {
        const owner = listening.find((l) => l.port === door.port && l.protocol === door.protocol);
        return [door.key, `${owner?.process ?? 'a process'} listens on it${owner ? ` (${owner.address}:${owner.port})` : ''}`];
      });
  }

  #note(refused: ReadonlyMap<string, string>): void {
    const text = (m: ReadonlyMap<string, string>) => [...m].map(([key, why]) => `${key}: ${why}`);
    if (text(refused).join() === text(this.#refused).join()) return;
    this.#refused = refused;
    if (refused.size > 0) this.#o.log.error({ ports: text(refused) }, 'published ports that this node cannot open');
    this.#o.onFindings();
  }
}

/** As the controller checks when a stack comes up; it may know less of this node than the node. */
function keptFor(p: PublishedPort, { settings }: ViewByKind): string | undefined {
  if (p.protocol === 'tcp' && p.published === SSH_PORT) return 'ssh';
  if (p.protocol === 'tcp' && settings.guardedTcpPorts.includes(p.published)) return 'Weft';
  if (p.protocol === 'udp' && p.published === settings.vxlanPort) return 'VXLAN';
  if (p.protocol === 'udp' && p.published === settings.wireguardPort) return 'WireGuard';
  return p.protocol !== 'sctp' && p.published === DNS_PORT ? 'name resolution' : undefined;
}

/** The kernel's SCTP has no sockets in node: such a port is not held, and not served on loopback. */
function doorOf(p: PublishedPort): Door[] {
  if (p.protocol === 'sctp') return [];
  const address = p.hostIp === undefined ? {} : { address: p.hostIp };
  return [{ key: portKey(p), protocol: p.protocol, port: p.published, ...address, backends: [...p.backends] }];
}
