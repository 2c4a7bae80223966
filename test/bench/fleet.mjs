/**
 * Agents without a node: each joins with a token, has its own certificate and its own connection, and speaks as apps/agent does:
 * hello, heartbeats, statuses gathered as there. Only the kernel and the containers are left out, and that they read their views
 * no further than to find their tasks: two hundred machines would do that side by side, and one cannot.
 */
import { systemClock } from '#base/clock.js';
import { nodeFactsSchema } from '#model/node.js';
import { callUnary, connectToJoin } from '#rpc/client.js';
import { JoinClient } from '#rpc/gen/weft/v1/api.js';
import { factsToWire, statusToWire } from '#rpc/wire.js';
import { createCsr } from '#trust/ca.js';
import { identityOf } from '#trust/identity.js';
import { fetchCa } from '#trust/join.js';
import { parseToken } from '#trust/token.js';
import { dialAs } from '../../dist/apps/agent/loops/hub.js';
import { StatusBoard } from '../../dist/apps/agent/status-board.js';
import { pause } from './lab.mjs';

/** As in apps/agent/loops/hub.ts. */
const HEARTBEAT_MS = 500;
const COALESCE_MS = 100;
const COALESCE_COUNT = 100;
const RECONNECT_MS = 200;
/** From when a task is known until its container would run. */
const START_MS = 300;

const TASK = '{"kind":"task"';
/** A backend went or came: an agent says at once when its kernel is made so. */
const isOfBackends = ({ json }) => json.startsWith('{"kind":"vip"') || json.startsWith('{"kind":"name"');

async function joinAs(controller, token, name, address) {
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

export class LightAgent {
  /** Task id → task, as last told. */
  tasks = new Map();
  /** Resources told, and bytes of their documents, since it was attached. */
  told = { messages: 0, resources: 0, bytes: 0 };
  /** Why streams ended that should not have. */
  breaks = [];
  /** Called with (agent, message) for each snapshot and delta. */
  onNews = () => undefined;
  #identity;
  #name;
  #board;
  #line;
  #revision = 0;
  #beats = 0;
  #stop = new AbortController();
  #coalescing;

  static async join(controller, token, name, address) {
    const agent = new LightAgent();
    agent.#identity = await joinAs(controller, token, name, address);
    agent.#name = name;
    agent.address = address;
    agent.#board = new StatusBoard(agent.#identity.id, systemClock);
    return agent;
  }

  get id() {
    return this.#identity.id;
  }

  /** Resolves with the first snapshot. A stream that breaks is opened again, as an agent does. */
  attach(controller) {
    return new Promise((resolve) => void this.#stay(controller, resolve));
  }

  async #stay(controller, attached) {
    while (!this.#stop.signal.aborted) {
      await this.#stream(controller, attached).catch((error) => this.breaks.push(error.message));
      if (!this.#stop.signal.aborted) await pause(RECONNECT_MS);
    }
  }

  /** One stream, from Hello to its end. */
  async #stream(controller, attached) {
    const line = dialAs(this.#identity)(controller.target, this.#stop.signal);
    this.#line = line;
    this.#send('hello', { revision: 0, clusterId: '', facts: this.#facts(), tasks: this.#board.all().map(statusToWire) });
    this.#board.allHeard();
    const beats = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#board.onChange(() => this.#statusChanged());
    try {
      await this.#read(attached);
      if (!this.#stop.signal.aborted) throw new Error('the stream ended');
    } finally {
      clearInterval(beats);
      line.close();
    }
  }

  detach() {
    clearTimeout(this.#coalescing);
    this.#stop.abort();
    this.#line?.close();
  }

  /** Says that a task of its is in another state now. */
  say(taskId, state) {
    this.#board.set({ taskId, state, message: '', restarts: 0 });
  }

  #facts() {
    const facts = { nodeId: this.id, hostname: this.#name, addresses: [`${this.address}/32`], at: Date.now() };
    return factsToWire(nodeFactsSchema.parse(facts));
  }

  async #read(attached) {
    for await (const { message } of this.#line.bidi.messages) {
      if (message?.$case !== 'snapshot' && message?.$case !== 'delta') continue;
      this.#take(message);
      if (message.$case === 'snapshot') attached();
    }
  }

  #take({ $case, value }) {
    this.#revision = value.revision;
    const before = this.tasks;
    if ($case === 'snapshot') this.tasks = new Map();
    const documents = $case === 'snapshot' ? value.resources : value.upserts;
    this.told.messages++;
    this.told.resources += documents.length;
    for (const { json } of documents) {
      this.told.bytes += json.length;
      if (json.startsWith(TASK)) this.#taskIs(JSON.parse(json).value, before);
    }
    for (const key of value.removals ?? []) if (key.startsWith('task/')) this.#taskIsGone(key.slice('task/'.length));
    for (const id of before.keys()) if (!this.tasks.has(id)) this.#taskIsGone(id);
    if (documents.some(isOfBackends)) this.#beat();
    this.onNews(this, { $case, value });
  }

  #taskIs(task, before) {
    const isNew = !before.has(task.id);
    this.tasks.set(task.id, task);
    if (task.desired === 'stop') {
      if ((task.drainMs ?? 0) === 0 || task.drained) this.say(task.id, 'stopped');
    } else if (isNew) {
      this.say(task.id, 'preparing');
      setTimeout(() => this.tasks.get(task.id)?.desired === 'run' && this.say(task.id, 'running'), START_MS);
    }
  }

  #taskIsGone(id) {
    this.tasks.delete(id);
    this.#board.forget(id);
  }

  #beat() {
    this.#send('heartbeat', { appliedRevision: this.#revision, programmedRevision: this.#revision, number: ++this.#beats });
  }

  #statusChanged() {
    if (this.#board.unheard >= COALESCE_COUNT) return this.#flush();
    this.#coalescing ??= setTimeout(() => this.#flush(), this.#board.isSettled ? 10 : COALESCE_MS);
  }

  #flush() {
    clearTimeout(this.#coalescing);
    this.#coalescing = undefined;
    for (let batch = this.#board.take(COALESCE_COUNT); batch.length > 0; batch = this.#board.take(COALESCE_COUNT))
      this.#send('status', { statuses: batch.map(statusToWire) });
  }

  #send($case, value) {
    this.#line.bidi.send({ message: { $case, value } }).catch(() => undefined);
  }
}

/** Many of them. */
export class Fleet {
  agents = [];
  #controller;
  #createToken;

  constructor(controller, createToken) {
    this.#controller = controller;
    this.#createToken = createToken;
  }

  /** Joins and attaches until there are `count`. */
  async growTo(count) {
    while (this.agents.length < count) {
      const first = this.agents.length;
      const some = await Promise.all(Array.from({ length: Math.min(10, count - first) }, (_, i) => this.#one(first + i + 1)));
      this.agents.push(...some);
    }
  }

  async #one(number) {
    const address = `127.${100 + (process.pid % 100)}.${number >> 8}.${number & 255}`;
    const agent = await LightAgent.join(this.#controller, await this.#createToken(), `n${number}`, address);
    await agent.attach(this.#controller);
    return agent;
  }

  get tasks() {
    return this.agents.reduce((sum, agent) => sum + agent.tasks.size, 0);
  }

  get told() {
    const sum = { messages: 0, resources: 0, bytes: 0 };
    for (const { told } of this.agents) for (const key of Object.keys(sum)) sum[key] += told[key];
    return sum;
  }

  /** Streams that broke, by the reason. */
  get breaks() {
    const counts = {};
    for (const why of this.agents.flatMap((agent) => agent.breaks)) counts[why] = (counts[why] ?? 0) + 1;
    return counts;
  }

  /** Until all agents together have so many tasks. */
  async hasTasks(count, timeoutMs) {
    const deadline = performance.now() + timeoutMs;
    while (this.tasks !== count) {
      if (performance.now() > deadline) throw new Error(`${this.tasks} tasks of ${count} after ${timeoutMs} ms`);
      await pause(5);
    }
  }

  /** Milliseconds until each agent had news for which `holds(message)`, from now. */
  heard(holds) {
    const began = performance.now();
    const waits = this.agents.map(
      (agent) =>
        new Promise((resolve) => {
          agent.onNews = (_, message) => {
            if (!holds(message)) return;
            agent.onNews = () => undefined;
            resolve(performance.now() - began);
          };
        }),
    );
    return Promise.all(waits);
  }

  stop() {
    for (const agent of this.agents) agent.detach();
  }
}
