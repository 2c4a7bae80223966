/** Networks of their own: create, enlarge, remove; who is on a network while it runs; and the check that every address has one owner. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { canonicalSubnet } from '#base/ip.js';
import { checkLeases } from '#planner/check-leases.js';
import { planConnect, planDisconnect, type ConnectionTarget } from '#planner/connection-verbs.js';
import { planNetworkCreation, planNetworkGrowth, planNetworkRemoval, type NetworkVerbPlan } from '#planner/network-verbs.js';
import { callUnary } from '#rpc/client.js';
import type {
  CheckNetworksResponse,
  ConnectNetworkRequest,
  ConnectNetworkResponse,
  CreateNetworkRequest,
  CreateNetworkResponse,
  DisconnectNetworkRequest,
  DisconnectNetworkResponse,
  RemoveNetworkRequest,
  RemoveNetworkResponse,
  UpdateNetworkRequest,
  UpdateNetworkResponse,
} from '#rpc/gen/weft/v1/api.js';
import { attachmentFromWire, networkToWire, networkWishFromWire } from '#rpc/wire.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { findTask } from './find-tasks.js';
import { kernelFindings } from './kernel-findings.js';
import type { NodeClients } from './node-clients.js';
import { newId, PlannedCalls } from './planned-calls.js';

/** A kernel with thousands of rows takes its time. */
const CHECK_TIMEOUT_MS = 15_000;

export class NetworkCalls extends PlannedCalls {
  readonly #clients: NodeClients;

  constructor(follower: ClusterFollower, store: Store, clients: NodeClients, clock: Clock) {
    super(follower, store, clock);
    this.#clients = clients;
  }

  create = async (request: CreateNetworkRequest): Promise<CreateNetworkResponse> => {
    const wish = networkWishFromWire(request);
    const { network } = await this.#carryOut(wish.name, () => planNetworkCreation(this.follower.model, wish, newId, this.clock.now()));
    return { network: networkToWire(network) };
  };

  update = async ({ network: name, addSubnets }: UpdateNetworkRequest): Promise<UpdateNetworkResponse> => {
    const subnets = addSubnets.map(canonicalSubnet);
    const { network } = await this.#carryOut(name, () => planNetworkGrowth(this.follower.model, name, subnets, this.clock.now()));
    return { network: networkToWire(network) };
  };

  remove = async ({ network }: RemoveNetworkRequest): Promise<RemoveNetworkResponse> => {
    await this.#carryOut(network, () => planNetworkRemoval(this.follower.model, network));
    return {};
  };

  connect = async (request: ConnectNetworkRequest): Promise<ConnectNetworkResponse> => {
    const attachment = attachmentFromWire(request);
    const target = this.#target(request.target);
    await this.#carryOut(request.network, () => planConnect(this.follower.model, target, request.network, attachment));
    return { tasks: this.#tasksOf(target) };
  };

  disconnect = async (request: DisconnectNetworkRequest): Promise<DisconnectNetworkResponse> => {
    const target = this.#target(request.target);
    await this.#carryOut(request.network, () => planDisconnect(this.follower.model, target, request.network));
    return { tasks: this.#tasksOf(target) };
  };

  /** `stack/service`, or a task. @throws NOT_FOUND, BAD_VALUE */
  #target(text: string): ConnectionTarget {
    this.follower.requireCurrent();
    const [stack = '', service, ...rest] = text.split('/');
    if (rest.length > 0) throw new WeftError('BAD_VALUE', `${JSON.stringify(text.slice(0, 128))} is neither STACK/SERVICE nor a task`);
    if (service !== undefined) return { stack, service };
    const task = findTask(this.follower.model, text);
    return { stack: task.stack, service: task.service, slot: task.slot };
  }

  #tasksOf({ stack, service, slot }: ConnectionTarget): string[] {
    const tasks = this.follower.model.tasksOfService(stack, service);
    return tasks
      .filter((t) => slot === undefined || t.slot === slot)
      .map((t) => t.name)
      .sort();
  }

  check = async (): Promise<CheckNetworksResponse> => {
    this.follower.requireCurrent();
    const { model } = this.follower;
    const records = checkLeases(model);
    const { findings, unasked } = await kernelFindings(model, async (node) => {
      const { client, target } = this.#clients.reach(node);
      return (await callUnary(client, 'checkKernel', {}, { target, timeoutMs: CHECK_TIMEOUT_MS })).faults;
    });
    return { ...records, findings: [...records.findings, ...findings], unasked };
  };

  /** @throws CONFLICT, OUTCOME_UNKNOWN, STORE, and what `plan` throws */
  #carryOut<P extends Pick<NetworkVerbPlan, 'compares' | 'writes'>>(name: string, plan: () => P): Promise<P> {
    return this.planned(`network ${name} could not be changed`, async () => {
      const planned = plan();
      const result = await this.store.txn(planned.compares, planned.writes);
      await this.follower.reached(result.revision);
      return result.ok ? planned : undefined;
    });
  }
}
