/** What people do to the cluster, through the API of a controller: the real plans, written as the API writes them. */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { stackSchema, type Stack } from '#model/stack.js';
import { serviceKey } from '#planner/cluster-state.js';
import { drainOf } from '#planner/drain.js';
import { planRemoval, planStack } from '#planner/plan-stack.js';
import { planRebalance } from '#planner/rebalance.js';
import { runsIn } from '#planner/serving.js';
import { packUnits } from '#planner/transaction.js';
import type { Chance } from './chance.js';
import type { SimController } from './sim-controller.js';
import type { World } from './world.js';

/** Some stack of up to three services; the same name again is an update. @param stopping how likely services are to stop on partition */
export function someStack(chance: Chance, name: string, stopping = 0.2): Stack {
  const isOrdered = chance.is(0.2);
  const service = (key: string, more: Record<string, unknown>) => ({
    name: key,
    container: { image: `busybox:${chance.int(1, 2)}`, mounts: [] },
    networks: { default: {} },
    ...(chance.is(stopping) ? { onPartition: 'stop' } : {}),
    ...more,
  });
  const update = chance.pick([
    undefined,
    { order: 'stop-first', parallelism: chance.int(1, 2), monitorMs: 500, onFailure: 'continue' },
    { order: 'start-first', parallelism: chance.int(1, 2), monitorMs: 500, onFailure: chance.pick(['continue', 'pause', 'rollback']) },
  ]);
  const services: Record<string, unknown> = {
    web: service('web', {
      replicas: chance.int(0, 4),
      ...(update ? { update } : {}),
      ...(isOrdered ? { dependsOn: { db: { condition: 'service_started', required: true } } } : {}),
      ...(chance.is(0.3) ? { drainMs: chance.int(0, 2_000) } : {}),
    }),
  };
  if (isOrdered || chance.is(0.5)) services['db'] = service('db', { networks: { default: chance.is(0.5) ? { ipv4: '10.20.0.9' } : {} } });
  if (chance.is(0.15)) services['log'] = service('log', { mode: 'global' });
  const ipam = [{ subnet: name === 's0' ? '10.20.0.0/24' : '10.21.0.0/24' }];
  const own = services['db'] as { networks: { default: { ipv4?: string } } } | undefined;
  if (name !== 's0' && own?.networks.default.ipv4) own.networks.default = { ipv4: '10.21.0.9' };
  return stackSchema.parse({ name, services, networks: { default: { key: 'default', name: `${name}_default`, ipam } } });
}

/** A controller that answers; the caller's `ctl` has found one, or gives up. */
function api(world: World): SimController | undefined {
  const up = [...world.controllers.values()].filter((c) => !c.process.isDead && !c.process.isFrozen && c.follower.current);
  return up.length > 0 ? world.chance.pick(up) : undefined;
}

/** A refusal with a reason is an answer, after which all is as before; whether a write that timed out took effect shows later. */
async function attempt(world: World, what: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (!code) throw error;
    world.note(`${what}: ${code}, ${message}`);
  }
}

export function up(world: World, stack: Stack): void {
  const controller = api(world);
  if (!controller) return;
  const { follower, store, process } = controller;
  void attempt(world, `up ${stack.name} is refused`, async () => {
    const plan = planStack(follower.model, stack, world.newId, process.now());
    if (plan.writes.length > 0) await store.txn(plan.compares, plan.writes);
  });
}

export function down(world: World, name: string): void {
  const controller = api(world);
  if (!controller?.follower.model.stacks.has(name)) return;
  const { follower, store, process } = controller;
  void attempt(world, `down ${name} is refused`, async () => {
    const { compares, writes } = planRemoval(follower.model, name, process.now());
    if (writes.length > 0) await store.txn(compares, writes);
  });
}

export function setAvailability(world: World, nodeId: string, availability: 'active' | 'pause' | 'drain'): void {
  const controller = api(world);
  const node = controller?.follower.model.nodes.get(nodeId);
  if (!controller || !node) return;
  const key = keys.node(nodeId);
  const { follower, store } = controller;
  void attempt(world, `${node.name} is not changed`, () =>
    store.txn([{ key, modRevision: follower.model.revisionOf(key) }], [{ put: key, value: encode({ ...node, availability }) }]),
  );
}

/** @returns how many tasks are to move */
export function rebalance(world: World): number {
  const controller = api(world);
  if (!controller) return 0;
  const { follower, store } = controller;
  const { moves, units } = planRebalance(follower.model);
  void attempt(world, 'the rebalance is refused', async () => {
    for (const { compares, writes } of packUnits(units)) await store.txn(compares, writes);
  });
  return moves.length;
}

/** How many tasks a rebalance would move now, but for services that failed to be moved. */
export function movesLeft(world: World): number {
  const controller = api(world);
  if (!controller) return 0;
  const { model } = controller.follower;
  return planRebalance(model).moves.filter(({ task }) => !model.updates.has(serviceKey(task.stack, task.service))).length;
}

/** As `sync+restart` of `ctl watch`: the tasks of a service that run, each by the agent of its node. */
export function restart(world: World, stack: string, service: string): void {
  const controller = api(world);
  if (!controller) return;
  const { model } = controller.follower;
  const tasks = model.tasksOfService(stack, service).filter((t) => runsIn(model, t));
  for (const nodeId of new Set(tasks.map((t) => t.nodeId))) {
    const here = tasks.filter((t) => t.nodeId === nodeId);
    const request = { tasks: here.map((t) => t.id), drainMs: Object.fromEntries(here.map((t) => [t.id, drainOf(model, t)])) };
    const names = here.map((t) => t.name).join(' and ');
    world.callNode(controller.id, nodeId, (calls) => void attempt(world, `${names} not restarted`, () => calls.restartTasks(request)));
  }
}
