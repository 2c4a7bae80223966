/** What this node is: read from the host now and then, told to the controller when it changed, and every 30 s anyway. */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { nodeFactsSchema, type NodeFacts } from '#model/node.js';

const READ_MS = 10_000;
const TELL_MS = 30_000;

/** What the host itself says. */
export type HostPart = Partial<Omit<NodeFacts, 'nodeId' | 'at' | 'quarantine' | 'driftRepairs' | 'repairs' | 'wireguard'>>;
/** What the agent adds, as of now; its findings come behind the host's. */
export type AgentPart = Pick<NodeFacts, 'quarantine' | 'driftRepairs' | 'repairs' | 'wireguard' | 'findings'>;

export interface FactsLoopOptions {
  nodeId: string;
  readHost: () => Promise<HostPart>;
  agentPart: () => AgentPart;
  /** There is something to tell. */
  onNews: () => void;
  clock: Clock;
  log: Log;
}

export class FactsLoop {
  readonly #o: FactsLoopOptions;
  #host: HostPart = {};
  #told = '';
  #toldAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FactsLoopOptions) {
    this.#o = options;
  }

  /** What the host can do, as last read. */
  get features(): readonly string[] {
    return this.#host.features ?? [];
  }

  /** Names of the host's own network devices, as last read. */
  get devices(): ReadonlySet<string> {
    return new Set(this.#host.devices);
  }

  /** Those of them that listen to router advertisements. */
  get advertised(): readonly string[] {
    return this.#host.advertised ?? [];
  }

  /** Resolves when the facts were read once. */
  async start(): Promise<void> {
    await this.refresh();
    this.#timer = setInterval(() => void this.refresh(), READ_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  current(): NodeFacts {
    const { nodeId, agentPart, clock } = this.#o;
    const ours = agentPart();
    const findings = [...(this.#host.findings ?? []), ...(ours.findings ?? [])];
    return nodeFactsSchema.parse({ ...this.#host, nodeId, ...ours, findings, at: clock.now() });
  }

  async refresh(): Promise<void> {
    const { readHost, onNews, clock, log } = this.#o;
    try {
      this.#host = await readHost();
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'could not read the facts of this host');
    }
    const text = JSON.stringify([this.#host, this.#o.agentPart()]);
    if (text === this.#told && clock.monotonic() - this.#toldAt < TELL_MS) return;
    this.#told = text;
    this.#toldAt = clock.monotonic();
    onNews();
  }
}
