/** Networks of their own: create, enlarge, remove; and the check that every address has one owner. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { canonicalSubnet } from '#base/ip.js';
import { checkLeases } from '#planner/check-leases.js';
import { planNetworkCreation, planNetworkGrowth, planNetworkRemoval, type NetworkVerbPlan } from '#planner/network-verbs.js';
import type {
  CheckNetworksResponse,
  CreateNetworkRequest,
  CreateNetworkResponse,
  RemoveNetworkRequest,
  RemoveNetworkResponse,
  UpdateNetworkRequest,
  UpdateNetworkResponse,
} from '#rpc/gen/weft/v1/api.js';
import { networkToWire, networkWishFromWire } from '#rpc/wire.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** Something unrelated changed what a plan was made on: plan again so many times. */
const TRIES = 5;

const newId = (): string => randomBytes(8).toString('hex');

export class NetworkCalls {
  readonly #follower: ClusterFollower;
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(follower: ClusterFollower, store: Store, clock: Clock) {
    this.#follower = follower;
    this.#store = store;
    this.#clock = clock;
  }

  create = async (request: CreateNetworkRequest): Promise<CreateNetworkResponse> => {
    const wish = networkWishFromWire(request);
    const { network } = await this.#carryOut(wish.name, () => planNetworkCreation(this.#follower.model, wish, newId, this.#clock.now()));
    return { network: networkToWire(network) };
  };

  update = async ({ network: name, addSubnets }: UpdateNetworkRequest): Promise<UpdateNetworkResponse> => {
    const subnets = addSubnets.map(canonicalSubnet);
    const { network } = await this.#carryOut(name, () => planNetworkGrowth(this.#follower.model, name, subnets, this.#clock.now()));
    return { network: networkToWire(network) };
  };

  remove = async ({ network }: RemoveNetworkRequest): Promise<RemoveNetworkResponse> => {
    await this.#carryOut(network, () => planNetworkRemoval(this.#follower.model, network));
    return {};
  };

  check = async (): Promise<CheckNetworksResponse> => {
    this.#follower.requireCurrent();
    return { ...checkLeases(this.#follower.model), unasked: [] };
  };

  /** @throws CONFLICT, OUTCOME_UNKNOWN, STORE, and what `plan` throws */
  async #carryOut(name: string, plan: () => NetworkVerbPlan): Promise<NetworkVerbPlan> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      this.#follower.requireCurrent();
      const planned = plan();
      const result = await this.#store.txn(planned.compares, planned.writes);
      await this.#follower.reached(result.revision);
      if (result.ok) return planned;
    }
    throw new WeftError('CONFLICT', `network ${name} could not be changed: too much else changed at the same time`);
  }
}
