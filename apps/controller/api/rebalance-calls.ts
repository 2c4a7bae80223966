/** Tasks to other nodes, so that services are spread evenly again: planned here, marked in their records, moved by the leader. */
import { WeftError } from '#base/errors.js';
import { planRebalance, type RebalancePlan } from '#planner/rebalance.js';
import { packUnits } from '#planner/transaction.js';
import type { RebalanceRequest, RebalanceResponse } from '#rpc/gen/weft/v1/operations.js';
import { PlannedCalls } from './planned-calls.js';
import { txnSurely } from './txn-surely.js';

const answer = ({ moves, unmoved }: RebalancePlan): RebalanceResponse => ({
  moves: moves.map(({ task, from, to, why }) => ({
    taskId: task.id,
    taskName: task.name,
    stack: task.stack,
    service: task.service,
    from: from.name,
    to: to.name,
    why,
  })),
  unmoved,
});

export class RebalanceCalls extends PlannedCalls {
  /** Each task is marked for itself: what changed meanwhile is left out. @throws NOT_FOUND, BAD_VALUE, CONFLICT */
  rebalance = async ({ stack, services, dryRun }: RebalanceRequest): Promise<RebalanceResponse> => {
    if (stack === '' && services.length > 0) throw new WeftError('BAD_VALUE', 'services were named, and no stack');
    return this.planned('the tasks could not be moved', async () => {
      const plan = planRebalance(this.follower.model, stack, services);
      return dryRun || (await this.#write(plan)) ? answer(plan) : undefined;
    });
  };

  /** @returns false when something was refused: what is left is planned again, and what was marked is planned the same */
  async #write({ units }: RebalancePlan): Promise<boolean> {
    let isWhole = true;
    for (const pack of packUnits(units)) {
      const result = await txnSurely(this.store, pack.compares, pack.writes);
      await this.follower.reached(result.revision);
      isWhole &&= result.ok;
    }
    return isWhole;
  }
}
