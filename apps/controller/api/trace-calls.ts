/** Tracing one way through the network, and looking at all of it: the nodes are asked, libs/overlay and libs/planner know what to ask. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import { applySnapshot, byKind, type ViewByKind } from '#model/view-state.js';
import { findNode } from '#planner/find-node.js';
import { viewOf } from '#planner/node-view-of.js';
import { candidates } from '#planner/schedule.js';
import { callUnary } from '#rpc/client.js';
import type {
  CheckKernelResponse,
  DiagnoseNetworksResponse,
  ProbeRequest,
  ProbeResponse,
  TraceHop,
  TraceNetworkRequest,
  TraceNetworkResponse,
} from '#rpc/gen/weft/v1/api.js';
import { concerns, tracePath, type TracePath, type TraceStart } from '#overlay/trace-path.js';
import { diagnosis, type Asked, type PairProbe } from './diagnosis.js';
import { findTask, replicaOf } from './find-tasks.js';
import { AskingCalls } from './asking-calls.js';

const TIMEOUT_MS = 15_000;
/** Probes under way at a time. */
const AT_ONCE = 8;
const PING: Omit<ProbeRequest, 'address'> = { task: '', protocol: 'icmp', port: 0, sizeBytes: 0, source: '' };

export class TraceCalls extends AskingCalls {
  /** @throws NOT_FOUND, BAD_VALUE */
  trace = async ({ from, to, port, stack }: TraceNetworkRequest): Promise<TraceNetworkResponse> => {
    const { model } = this.follower;
    const start = this.#startOf(from, stack);
    const path = tracePath(this.#view(start.nodeId), start, this.#goal(to, start));
    const asked = new Map<string, Promise<CheckKernelResponse | string>>();
    const ask = (nodeId: string) => {
      const answer = asked.get(nodeId) ?? this.#check(nodeId).catch(messageOf);
      asked.set(nodeId, answer);
      return answer;
    };
    const hops: TraceHop[] = [];
    for (const hop of path.hops) {
      const answer = hop.concerns.length === 0 ? undefined : await ask(hop.nodeId);
      const faults =
        typeof answer === 'string'
          ? [`it could not be asked: ${answer}`]
          : (answer?.faults ?? []).filter((f) => concerns(hop, f)).map((f) => f.text);
      hops.push({ step: hop.step, node: model.nodes.get(hop.nodeId)?.name ?? hop.nodeId, what: hop.what, ok: faults.length === 0, faults });
    }
    if (path.far) hops.push(await this.#underlay(start, path.far));
    const last = path.target === undefined ? undefined : await this.#probe(start, path.target, port);
    if (last) hops.push(last);
    return { hops, ...verdict(path, hops, to) };
  };

  diagnose = async (): Promise<DiagnoseNetworksResponse> => {
    const { model } = this.follower;
    const { ready } = candidates(model);
    const asked = await Promise.all(ready.map((node) => this.#ask(node)));
    const pairs = ready.flatMap((a) => ready.filter((b) => b.id !== a.id).map((b) => [a, b] as const));
    const probes: PairProbe[] = [];
    for (let at = 0; at < pairs.length; at += AT_ONCE)
      probes.push(...(await Promise.all(pairs.slice(at, at + AT_ONCE).map(([a, b]) => this.#pair(a, b)))));
    return diagnosis(model, asked, probes);
  };

  #startOf(from: string, stack: string): TraceStart {
    const { model } = this.follower;
    const node = findNode(model, from);
    if (node) return { nodeId: node.id };
    const task: Task =
      stack !== '' && model.stacks.get(stack)?.spec.services[from] ? replicaOf(model, stack, from, 0) : findTask(model, from);
    return { nodeId: task.nodeId, taskId: task.id };
  }

  /** A task by its name or id is its address on a network of both; other things are taken as they are. */
  #goal(to: string, start: TraceStart): string {
    const { model } = this.follower;
    const task = [...model.tasks.values()].find((t) => t.name === to || t.id === to);
    if (!task) return to;
    const from = start.taskId === undefined ? undefined : model.tasks.get(start.taskId);
    const shared = task.endpoints.find((e) => from?.endpoints.some((f) => f.networkId === e.networkId) ?? true);
    return shared?.ipv4 ?? to;
  }

  #view(nodeId: string): ViewByKind {
    const { model } = this.follower;
    return byKind(applySnapshot({ clusterId: model.storeId, revision: model.revision, resources: viewOf(model, nodeId), tombstones: [] }));
  }

  #reach(nodeId: string) {
    const node = this.follower.model.nodes.get(nodeId);
    if (!node) throw new WeftError('NOT_FOUND', `there is no node ${nodeId}`);
    return this.clients.reach(node);
  }

  #check(nodeId: string): Promise<CheckKernelResponse> {
    const { client, target } = this.#reach(nodeId);
    return callUnary(client, 'checkKernel', {}, { target, timeoutMs: TIMEOUT_MS });
  }

  async #send(nodeId: string, request: Partial<ProbeRequest> & { address: string }): Promise<ProbeResponse> {
    const { client, target } = this.#reach(nodeId);
    return callUnary(client, 'probe', { ...PING, ...request }, { target, timeoutMs: TIMEOUT_MS }).catch((error: unknown) => ({
      ok: false,
      why: messageOf(error),
      milliseconds: 0,
    }));
  }

  async #underlay(start: TraceStart, far: { nodeId: string; vtep: string }): Promise<TraceHop> {
    const { model } = this.follower;
    const { ok, why, milliseconds } = await this.#send(start.nodeId, { address: far.vtep });
    const to = `${model.nodes.get(far.nodeId)?.name ?? far.nodeId} (${far.vtep})`;
    const node = model.nodes.get(start.nodeId)?.name ?? '';
    return { step: 'underlay', node, what: ok ? `${to} answers in ${milliseconds} ms` : `to ${to}`, ok, faults: ok ? [] : [why] };
  }

  async #probe(start: TraceStart, address: string, port: number): Promise<TraceHop> {
    const task = this.follower.model.tasks.get(start.taskId ?? '');
    const isInside = task !== undefined && task.endpoints.length > 0;
    const request = { task: isInside ? task.id : '', address, port, protocol: port > 0 ? 'tcp' : 'icmp' };
    const { ok, why, milliseconds } = await this.#send(start.nodeId, request);
    const what = `${port > 0 ? `TCP ${address}:${port}` : `ping ${address}`}${ok ? ` answers in ${milliseconds.toFixed(1)} ms` : ''}`;
    return { step: 'probe', node: this.follower.model.nodes.get(start.nodeId)?.name ?? '', what, ok, faults: ok ? [] : [why] };
  }

  async #ask(node: Node): Promise<Asked> {
    const before = this.clock.now();
    try {
      const answer = await this.#check(node.id);
      return { node, answer, askedAt: before, answeredAt: this.clock.now() };
    } catch (error) {
      return { node, error: messageOf(error), askedAt: before, answeredAt: this.clock.now() };
    }
  }

  /** Underlay and, where both are on one overlay network, a whole packet of its MTU by VXLAN. */
  async #pair(from: Node, to: Node): Promise<PairProbe> {
    const { model } = this.follower;
    const underlay = await this.#send(from.id, { address: to.address });
    const mtu = Math.min(model.facts.get(from.id)?.underlayMtu ?? 1500, model.facts.get(to.id)?.underlayMtu ?? 1500);
    const whole = underlay.ok ? await this.#send(from.id, { address: to.address, sizeBytes: mtu }) : undefined;
    const shared = this.#view(from.id).networks.find(
      (n) => n.driver === 'overlay' && n.nodeAddress && model.nodeAddresses.get(n.id)?.get(to.id),
    );
    const there = shared && model.nodeAddresses.get(shared.id)?.get(to.id)?.ipv4;
    const overlay =
      shared && there !== undefined
        ? await this.#send(from.id, { address: there, source: shared.nodeAddress ?? '', sizeBytes: shared.mtu })
        : undefined;
    return { from, to, underlay, mtu, whole, overlay, network: shared?.name };
  }
}

function verdict(path: TracePath, hops: readonly TraceHop[], to: string): Pick<TraceNetworkResponse, 'ok' | 'verdict' | 'remedy'> {
  const probe = hops.find((h) => h.step === 'probe');
  const bad = hops.find((h) => !h.ok && h.step !== 'probe' && h.step !== 'underlay');
  if (path.broken) return { ok: false, verdict: `It ends before it begins: ${path.broken.why}.`, remedy: path.broken.remedy };
  if (bad)
    return {
      ok: probe?.ok === true,
      verdict: `It breaks at "${bad.step}" on ${bad.node}: ${bad.faults[0]}.`,
      remedy: bad.faults[0]?.startsWith('it could not be asked')
        ? `Look at the agent on ${bad.node}: it is not there, or cannot be reached.`
        : `The agent on ${bad.node} puts it right within seconds; if it comes back, find who removes it (\`ctl node inspect ${bad.node}\`).`,
    };
  if (probe?.ok !== false) return { ok: true, verdict: `Every hop to ${to} is as it should be, and the probe was answered.`, remedy: '' };
  const wire = hops.find((h) => h.step === 'underlay' && !h.ok);
  if (wire)
    return {
      ok: false,
      verdict: `It breaks between the nodes: ${wire.node} does not reach ${wire.what.replace(/^to /, '')}.`,
      remedy: 'Look at the network between the hosts, and at their firewalls.',
    };
  if (probe.faults[0]?.includes('refused'))
    return {
      ok: false,
      verdict: `The way to ${to} is whole, but nobody listens there.`,
      remedy: 'Check the port, and whether the program is up (`ctl logs`).',
    };
  const remedy = hops.some((h) => h.step === 'underlay')
    ? 'Let the VXLAN port (UDP 4789 unless set otherwise) pass between the nodes; `ctl network doctor` checks every pair.'
    : 'See whether the program in the task answers at all (`ctl exec`).';
  return { ok: false, verdict: `Every kernel object is right, yet the probe to ${to} had no answer: ${probe.faults[0] ?? ''}.`, remedy };
}
