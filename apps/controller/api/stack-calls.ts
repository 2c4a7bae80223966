/** Stacks: plan, apply, remove, list, watch. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { requireContents } from '#planner/contents.js';
import { stopGraceSchema } from '#model/stack.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { planRollback } from '#planner/plan-rollback.js';
import {
  grownStack,
  planRemoveOneOffs,
  planRestart,
  planScale,
  planStart,
  planStop,
  type OperationPlan,
} from '#planner/plan-operations.js';
import { planRemoval, planStack, type StackPlan } from '#planner/plan-stack.js';
import { resolveVolumes } from '#planner/volumes.js';
import type {
  ApplyStackRequest,
  ApplyStackResponse,
  OperateStackResponse,
  PlanStackRequest,
  PlanStackResponse,
  RemoveStackRequest,
  RemoveStackResponse,
  RollbackStackRequest,
  RollbackStackResponse,
  StackState,
  WatchStackRequest,
} from '#rpc/gen/weft/v1/api.js';
import type { OperateStackRequest } from '#rpc/gen/weft/v1/operations.js';
import { stackFromWire, stackToWire } from '#rpc/wire.js';
import { MAX_TXN_OPS, MAX_VALUE_BYTES, type Store } from '#store/store.js';
import { Bell } from '../bell.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { checkHostPaths, tellMade } from './host-paths.js';
import type { NodeClients } from './node-clients.js';
import { StackSight } from './stack-sight.js';
import { newId, PlannedCalls } from './planned-calls.js';
import { txnSurely } from './txn-surely.js';

/** Least time between two states of one watcher, in milliseconds. */
const WATCH_GATHER_MS = 50;
const WATCH_FIRST_MS = 5;
/** All watchers together look for a fourth of the time at most: what they wait for has to be done beside. */
const SHARE = 3;

function planOperation(state: ClusterState, { name, operation }: OperateStackRequest, now: number): OperationPlan {
  switch (operation?.$case) {
    case 'scale':
      return planScale(state, name, operation.value.replicas, now);
    case 'stop':
      return planStop(state, name, operation.value.services, graceFrom(operation.value), now);
    case 'start':
      return planStart(state, name, operation.value.services, now);
    case 'restart':
      return planRestart(state, name, operation.value.services, { graceMs: graceFrom(operation.value), alone: operation.value.alone }, now);
    case 'removeOneOffs':
      return planRemoveOneOffs(state, name, operation.value.services, now);
    case undefined:
      throw new WeftError('BAD_VALUE', 'what is to be done was not said');
  }
}

function graceFrom({ graceMs }: { graceMs?: number | undefined }): number | undefined {
  if (graceMs === undefined || stopGraceSchema.safeParse(graceMs).success) return graceMs;
  throw new WeftError('BAD_VALUE', { what: 'that is no time to wait for a stop', why: 'it can be 0 seconds to one hour' });
}

export class StackCalls extends PlannedCalls {
  readonly #clients: Pick<NodeClients, 'reach'>;
  #watchers = 0;

  constructor(follower: ClusterFollower, store: Store, clients: Pick<NodeClients, 'reach'>, clock: Clock) {
    super(follower, store, clock);
    this.#clients = clients;
  }

  plan = async (request: PlanStackRequest): Promise<PlanStackResponse> => {
    this.follower.requireCurrent();
    const plan = planStack(this.follower.model, stackFromWire(request.stack), newId, this.clock.now(), request.leftBehind);
    tellMade(plan.steps, await checkHostPaths(this.follower.model, this.#clients, plan.stack));
    return {
      steps: plan.steps,
      baseGeneration: plan.baseGeneration,
      stack: stackToWire(plan.stack),
      orphans: plan.orphans,
      kept: plan.kept,
    };
  };

  apply = async (request: ApplyStackRequest): Promise<ApplyStackResponse> => {
    const wanted = stackFromWire(request.stack);
    this.follower.requireCurrent();
    // Not in its turn: others plan while nodes are asked.
    const made = await checkHostPaths(this.follower.model, this.#clients, resolveVolumes(this.follower.model, wanted));
    return this.planned(`stack ${wanted.name} could not be stored`, async () => {
      const plan = planStack(this.follower.model, wanted, newId, this.clock.now(), { kept: request.kept });
      if (plan.baseGeneration !== request.baseGeneration) {
        throw new WeftError('CONFLICT', {
          what: `stack ${wanted.name} was changed since it was planned`,
          why: `its generation is ${plan.baseGeneration}, the plan was made on ${request.baseGeneration}`,
        });
      }
      requireContents(this.follower.model, plan.stack);
      tellMade(plan.steps, made);
      return (await this.#write(plan)) ? { generation: plan.generation, steps: plan.steps } : undefined;
    });
  };

  rollback = async (request: RollbackStackRequest): Promise<RollbackStackResponse> =>
    this.planned(`stack ${request.name} could not be rolled back`, async () => {
      const plan = planRollback(this.follower.model, request.name, request.services, this.clock.now());
      const isDone = request.dryRun || (await this.#write(plan));
      return isDone ? { generation: plan.generation, steps: plan.steps } : undefined;
    });

  /** Scale, stop, start, restart. @throws NOT_FOUND, BAD_VALUE, NO_NODES, CONFLICT; UNAVAILABLE naming nodes that do not say what is there */
  operate = async (request: OperateStackRequest): Promise<OperateStackResponse> => {
    const made = await this.#checkGrown(request);
    return this.planned(`stack ${request.name} could not be changed`, async () => {
      const plan = planOperation(this.follower.model, request, this.clock.now());
      tellMade(plan.steps, made);
      return (await this.#write(plan)) ? { generation: plan.generation, steps: plan.steps } : undefined;
    });
  };

  /** More tasks may come to nodes that lack the paths they mount: asked as for `up`. @returns what is made, by service */
  async #checkGrown(request: OperateStackRequest): Promise<ReadonlyMap<string, readonly string[]>> {
    const { name, operation } = request;
    if (operation?.$case !== 'scale') return new Map();
    this.follower.requireCurrent();
    // What is wrong with the numbers is told first.
    planOperation(this.follower.model, request, this.clock.now());
    return checkHostPaths(this.follower.model, this.#clients, grownStack(this.follower.model, name, operation.value.replicas));
  }

  remove = async (request: RemoveStackRequest): Promise<RemoveStackResponse> =>
    this.planned(`stack ${request.name} could not be removed`, async () => {
      const plan = planRemoval(this.follower.model, request.name, this.clock.now());
      return (await this.#write(plan)) ? { steps: plan.steps } : undefined;
    });

  /** The state now, then at each change of it, gathered. */
  async *watch(request: WatchStackRequest, signal: AbortSignal): AsyncGenerator<StackState> {
    const bell = new Bell();
    const sight = new StackSight(this.follower.model, request.name, this.clock, () => bell.ring());
    const stop = this.follower.listen((change) => {
      if (change.type === 'changed' && sight.concerns(change.keys)) bell.ring();
    });
    this.#watchers++;
    let before = '';
    let sentAt = -WATCH_GATHER_MS;
    try {
      while (!signal.aborted) {
        const state = sight.look();
        const text = JSON.stringify(state);
        if (text !== before) {
          before = text;
          sentAt = this.clock.monotonic();
          yield state;
        }
        await bell.wait(signal);
        const restMs = WATCH_GATHER_MS - (this.clock.monotonic() - sentAt);
        await this.clock.sleep(Math.max(WATCH_FIRST_MS, restMs, sight.tookMs * SHARE * this.#watchers), signal).catch(() => undefined);
      }
    } finally {
      this.#watchers--;
      sight.end();
      stop();
    }
  }

  /** @returns false when it has to be planned again. @throws OUTCOME_UNKNOWN, STORE */
  async #write(plan: Pick<StackPlan, 'compares' | 'writes'>): Promise<boolean> {
    if (plan.writes.length === 0) return true;
    const tooLarge = plan.writes.some((w) => 'put' in w && Buffer.byteLength(w.value) > MAX_VALUE_BYTES);
    if (tooLarge || plan.writes.length > MAX_TXN_OPS || plan.compares.length > MAX_TXN_OPS) {
      throw new WeftError('BAD_VALUE', {
        what: 'the stack is too large to be stored',
        why: `limits are ${MAX_VALUE_BYTES} bytes and some 40 networks`,
        hint: 'Split it into several stacks.',
      });
    }
    const result = await txnSurely(this.store, plan.compares, plan.writes);
    // Seen here before it is answered: what the caller asks next is asked of the new state.
    await this.follower.reached(result.revision);
    return result.ok;
  }
}
