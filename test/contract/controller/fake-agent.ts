/** An agent without a kernel: it joins with a token, holds its view as a real one does, and says that its tasks run. */
import { byKind, applyDelta, applySnapshot, emptyView, judge, type NodeView, type ViewByKind } from '#model/view-state.js';
import { resourceKey } from '#model/node-view.js';
import type { Task, TaskState } from '#model/task.js';
import { callUnary, connect, connectToJoin, openBidi, type Bidi } from '#rpc/client.js';
import { AgentHubClient, type AgentMessage, type HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { ApiClient, JoinClient } from '#rpc/gen/weft/v1/api.js';
import { deltaFromWire, factsToWire, snapshotFromWire, statusToWire } from '#rpc/wire.js';
import { nodeFactsSchema, type NodeFacts } from '#model/node.js';
import { createCsr } from '#trust/ca.js';
import { fetchCa } from '#trust/join.js';
import { identityOf, type Identity } from '#trust/identity.js';
import { parseToken } from '#trust/token.js';
import { eventually, ownAddress, sleep, type TestController } from './harness.js';

const HEARTBEAT_MS = 300;

/** A node identity by the real path: token, CA digest, request, certificate. */
export async function joinNode(controller: TestController, token: string, name: string, address: string): Promise<Identity> {
  const { caDigest, id, secret } = parseToken(token);
  const caPem = await fetchCa(controller.address, controller.joinPort, caDigest);
  const client = connectToJoin(JoinClient, `${controller.address}:${controller.joinPort}`, caPem);
  try {
    const { csrPem, keyPem } = await createCsr();
    const answer = await callUnary(client, 'signCertificate', { token: `${id}.${secret}`, csrPem, name, address });
    return identityOf({ caPem: answer.caPem, certPem: answer.certificatePem, keyPem });
  } finally {
    client.close();
  }
}

export class FakeAgent {
  readonly identity: Identity;
  readonly name: string;
  readonly address: string;
  view: NodeView = emptyView;
  /** Every message as it came, and what was not believed. */
  readonly received: HubMessage[] = [];
  quarantine: string | undefined;
  /** What a task is said to be; a test may replace it. */
  stateOf: (task: Task) => TaskState = () => 'running';
  facts: Partial<NodeFacts> = {};
  #told = new Map<string, string>();
  #stop = new AbortController();
  #call: Bidi<AgentMessage, HubMessage> | undefined;
  #clients: AgentHubClient[] = [];
  #accepted = false;
  #beats = 0;

  private constructor(identity: Identity, name: string, address: string) {
    this.identity = identity;
    this.name = name;
    this.address = address;
  }

  static async join(controller: TestController, name: string, address = ownAddress()): Promise<FakeAgent> {
    const api = await controller.api();
    const { token } = await callUnary(api, 'createToken', { role: 'node', ttlMs: 60_000 });
    const agent = new FakeAgent(await joinNode(controller, token, name, address), name, address);
    agent.attach(controller);
    await eventually(() => agent.view.clusterId !== '', `${name} has its first snapshot`);
    return agent;
  }

  get kinds(): ViewByKind {
    return byKind(this.view);
  }

  task(name: string): Task | undefined {
    return this.kinds.tasks.find((t) => t.name === name);
  }

  /** Attaches, and again whenever the stream breaks: to the next controller, if it was given several. */
  attach(...controllers: TestController[]): void {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const clients = controllers.map(({ target }) => connect(AgentHubClient, target, this.identity, 'controller'));
    this.#clients = clients;
    void (async () => {
      for (let i = 0; !signal.aborted; i++) {
        await this.#attachOnce(clients[i % clients.length] as AgentHubClient, signal).catch(() => undefined);
        await sleep(100);
      }
    })();
  }

  /** Hangs up and goes to another controller, as an agent does whose controller is silent. */
  moveTo(controller: TestController): void {
    this.detach();
    this.attach(controller);
  }

  /** Goes silent, as a dead node does. */
  detach(): void {
    this.#stop.abort();
    this.#call?.cancel();
    for (const client of this.#clients) client.close();
  }

  #facts() {
    const facts = nodeFactsSchema.parse({
      nodeId: this.identity.id,
      hostname: this.name,
      addresses: [`${this.address}/32`],
      at: Date.now(),
      quarantine: this.quarantine,
      ...this.facts,
    });
    return factsToWire(facts);
  }

  async #attachOnce(client: AgentHubClient, signal: AbortSignal): Promise<void> {
    const call = openBidi<AgentMessage, HubMessage>(client.attach(), signal);
    this.#call = call;
    this.#told.clear();
    const { revision, clusterId } = this.view;
    await call.send({ message: { $case: 'hello', value: { revision, clusterId, facts: this.#facts(), tasks: [] } } });
    const timer = setInterval(() => void this.#beat(call), HEARTBEAT_MS);
    try {
      for await (const message of call.messages) {
        if (message.message?.$case === 'alive') continue;
        this.received.push(message);
        this.#take(message);
        await this.tell();
        await this.#beat(call);
      }
    } finally {
      clearInterval(timer);
    }
  }

  async #beat(call: Bidi<AgentMessage, HubMessage>): Promise<void> {
    const { revision } = this.view;
    const value = { appliedRevision: revision, programmedRevision: revision, number: ++this.#beats };
    await call.send({ message: { $case: 'heartbeat', value } }).catch(() => undefined);
  }

  #take({ message }: HubMessage): void {
    if (message?.$case === 'accept') {
      this.#accepted = true;
      return;
    }
    if (!message || message.$case === 'rotateKeys' || message.$case === 'alive') return;
    const next = message.$case === 'snapshot' ? snapshotFromWire(message.value) : deltaFromWire(message.value);
    const verdict = this.#accepted && message.$case === 'snapshot' ? { believe: true as const } : judge(this.view, next);
    const before = this.quarantine;
    this.quarantine = verdict.believe ? undefined : verdict.reason;
    if (verdict.believe) {
      this.#accepted = false;
      this.view = 'resources' in next ? applySnapshot(next) : applyDelta(this.view, next);
    }
    if (before !== this.quarantine) void this.#call?.send({ message: { $case: 'facts', value: this.#facts() } }).catch(() => undefined);
  }

  /** Says what its tasks are, where that is news. */
  async tell(): Promise<void> {
    const news = this.kinds.tasks.flatMap((task) => {
      const state: TaskState = task.desired === 'stop' ? 'stopped' : this.stateOf(task);
      if (this.#told.get(task.id) === state) return [];
      this.#told.set(task.id, state);
      return [statusToWire({ taskId: task.id, nodeId: this.identity.id, state, message: '', restarts: 0, at: Date.now() })];
    });
    if (news.length > 0) await this.#call?.send({ message: { $case: 'status', value: { statuses: news } } }).catch(() => undefined);
  }

  /** Tells new facts. */
  async tellFacts(facts: Partial<NodeFacts>): Promise<void> {
    this.facts = { ...this.facts, ...facts };
    await this.#call?.send({ message: { $case: 'facts', value: this.#facts() } });
  }

  /** An API client with this node's certificate: it must be refused. */
  apiAsNode(controller: TestController): ApiClient {
    return connect(ApiClient, controller.target, this.identity, 'controller');
  }

  resourceKeys(): string[] {
    return [...this.view.resources.values()].map(resourceKey);
  }
}
