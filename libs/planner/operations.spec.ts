/** Scaling, stopping, starting and restarting by command, as the leader carries it out. */
import type { Task } from '#model/task.js';
import { grownStack, planRestart, planScale, planStart, planStop, type OperationPlan } from './plan-operations.js';
import { planRollback } from './plan-rollback.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';
import { RESTARTED, STOPPED } from './stopped-services.js';

const NODES = ['n1', 'n2', 'n3'];

function worldOf(services: Parameters<typeof stackOf>[1]): World {
  const world = new World(NODES);
  world.up(stackOf('shop', services));
  world.settle();
  return world;
}

function take(world: World, plan: OperationPlan): void {
  if (plan.writes.length > 0) expect(world.txn(plan.compares, plan.writes)).toBe(true);
}

const tasksOf = (world: World, service: string): Task[] =>
  world.model.tasksOfService('shop', service).sort((a, b) => a.slot - b.slot || (a.id < b.id ? -1 : 1));
const running = (world: World, service: string) => tasksOf(world, service).filter((t) => t.desired === 'run');
const addresses = (tasks: readonly Task[]) => tasks.map((t) => t.endpoints[0]?.ipv4);
const places = (tasks: readonly Task[]) => tasks.map((t) => t.nodeId);
const stop = (world: World, ...services: string[]) => take(world, planStop(world.model, 'shop', services, undefined, world.now));
const start = (world: World, ...services: string[]) => take(world, planStart(world.model, 'shop', services, world.now));
const restart = (world: World, services: string[], alone = false) =>
  take(world, planRestart(world.model, 'shop', services, { alone }, world.now));

describe('scale', () => {
  it('holds until the next up says otherwise, and is no change to roll back', () => {
    const world = worldOf({ web: 2, db: 1 });
    const before = tasksOf(world, 'web').map((t) => t.id);
    const plan = planScale(world.model, 'shop', { web: 4 }, world.now);
    expect(plan.steps).toEqual([{ action: 'change', kind: 'service', name: 'web', details: ['replicas: 2 → 4'] }]);
    take(world, plan);
    world.settle();
    expect(running(world, 'web')).toHaveLength(4);
    expect(running(world, 'web').map((t) => t.id)).toEqual(expect.arrayContaining(before));
    expect(() => planRollback(world.model, 'shop', [], world.now)).toThrow(/nothing of stack shop was changed/);
    world.up(stackOf('shop', { web: 2, db: 1 }));
    world.settle();
    expect(running(world, 'web')).toHaveLength(2);
  });

  it('writes nothing where nothing changes', () => {
    const world = worldOf({ web: 2 });
    const { generation } = world.model.stacks.get('shop') ?? { generation: 0 };
    expect(planScale(world.model, 'shop', { web: 2 }, world.now)).toMatchObject({ writes: [], generation, steps: [{ action: 'keep' }] });
  });

  it('brings tasks of services that grow alone: what these mount is looked at before', () => {
    const world = worldOf({ web: 2, db: 3, cache: 1 });
    const { services } = grownStack(world.model, 'shop', { web: 4, db: 1, cache: 1 });
    expect(Object.values(services).map((s) => [s.name, s.replicas])).toEqual([
      ['web', 4],
      ['db', 3],
      ['cache', 1],
    ]);
    expect(services['db']).toBe(world.model.stacks.get('shop')?.spec.services['db']);
  });

  it.each([
    ['another stack', 'none', { web: 1 }, 'NOT_FOUND'],
    ['a service that is not there', 'shop', { nothing: 1 }, 'NOT_FOUND'],
    ['a number below 0', 'shop', { web: -1 }, 'BAD_VALUE'],
    ['a number without end', 'shop', { web: 1_000_000 }, 'BAD_VALUE'],
    ['a part of a task', 'shop', { web: 1.5 }, 'BAD_VALUE'],
    ['a global service', 'shop', { agent: 2 }, 'BAD_VALUE'],
    ['one of a static address', 'shop', { fixed: 2 }, 'BAD_VALUE'],
  ])('refuses %s', (_, name, replicas, code) => {
    const fixed = { networks: { default: { ipv4: '10.128.0.77' } } };
    const world = worldOf({ web: 1, agent: { mode: 'global' }, fixed });
    expect(() => planScale(world.model, name, replicas as Record<string, number>, world.now)).toThrow(expect.objectContaining({ code }));
  });
});

describe('stop and start', () => {
  it('a stopped service keeps its slots and addresses, and comes back to them', () => {
    const world = worldOf({ web: 3, db: 1 });
    const before = tasksOf(world, 'web');
    stop(world, 'web');
    world.settle();
    const after = tasksOf(world, 'web');
    expect(after.map((t) => [t.id, t.desired, t.stopReason])).toEqual(before.map((t) => [t.id, 'stop', STOPPED]));
    expect(running(world, 'db')).toHaveLength(1);
    expect(reasonOf(world, 'web')).toBe('stopped');
    start(world, 'web');
    world.settle();
    expect(addresses(running(world, 'web'))).toEqual(addresses(before));
    expect(places(running(world, 'web'))).toEqual(places(before));
    expect(reasonOf(world, 'web')).toBe('');
    expect(world.model.endedOf('shop', 'web', 1)).toMatchObject([{ reason: STOPPED }]);
  });

  it('nothing is made while it is stopped: not when a node dies, is drained or removed, nor by a tick', () => {
    const world = worldOf({ web: 3 });
    stop(world);
    world.settle();
    const [first, second] = tasksOf(world, 'web');
    const nameOf = (task: Task | undefined) => world.model.nodes.get(task?.nodeId ?? '')?.name ?? '';
    world.setNodeState(nameOf(first), 'down');
    world.changeNode(nameOf(second), { availability: 'drain' });
    world.settle();
    expect(running(world, 'web')).toEqual([]);
    expect(tasksOf(world, 'web')).toHaveLength(3);
    start(world);
    world.settle();
    const homes = places(running(world, 'web'));
    expect(homes).toHaveLength(3);
    expect(homes).not.toContain(first?.nodeId);
    expect(homes).not.toContain(second?.nodeId);
  });

  it('up starts what was stopped, and says so', () => {
    const world = worldOf({ web: 1, db: 1 });
    stop(world, 'web');
    world.settle();
    const { steps } = world.up(stackOf('shop', { web: 1, db: 1 }));
    expect(steps.find((s) => s.name === 'web')).toMatchObject({ action: 'change', details: ['starts: it was stopped'] });
    expect(steps.find((s) => s.name === 'db')).toMatchObject({ action: 'keep' });
    world.settle();
    expect(running(world, 'web')).toHaveLength(1);
    expect(world.model.stacks.get('shop')?.stopped).toBeUndefined();
  });

  it('stops in reverse of the order of dependencies, and starts in that order', () => {
    const world = worldOf({ web: { dependsOn: { db: {} } }, db: 1 });
    stop(world);
    world.tick();
    expect([running(world, 'web').length, running(world, 'db').length]).toEqual([0, 1]);
    world.settle();
    expect(running(world, 'db')).toEqual([]);
    start(world, 'web');
    world.tick();
    expect(reasonOf(world, 'web')).toContain('waits for db to start: it is stopped');
    start(world, 'db');
    world.settle();
    expect([running(world, 'web').length, running(world, 'db').length]).toEqual([1, 1]);
  });

  it('says what is so already, hands the grace on, and goes with the stack', () => {
    const world = worldOf({ web: 1, db: 1 });
    expect(planStart(world.model, 'shop', ['web'], world.now)).toMatchObject({ writes: [], steps: [{ details: ['it was not stopped'] }] });
    take(world, planStop(world.model, 'shop', ['web'], 1_500, world.now));
    world.tick();
    expect(tasksOf(world, 'web')[0]?.stopGraceMs).toBe(1_500);
    expect(planStop(world.model, 'shop', ['web'], 1, world.now)).toMatchObject({
      writes: [],
      steps: [{ details: ['it is stopped already'] }],
    });
    expect(() => planStop(world.model, 'shop', ['none'], 1, world.now)).toThrow(/no service none/);
    world.settle();
    world.up(stackOf('shop', { db: 1 }));
    world.settle();
    expect(tasksOf(world, 'web')).toEqual([]);
  });
});

describe('restart', () => {
  it('brings new tasks one after another, in the same places', () => {
    const world = worldOf({ web: 3, db: 1 });
    const before = tasksOf(world, 'web');
    const db = tasksOf(world, 'db')[0]?.id;
    restart(world, ['web']);
    world.tick();
    expect(tasksOf(world, 'web').filter((t) => t.desired === 'stop')).toMatchObject([{ stopReason: RESTARTED }]);
    world.settle();
    const after = running(world, 'web');
    expect(after.filter((t) => before.some((b) => b.id === t.id))).toEqual([]);
    expect([addresses(after), places(after)]).toEqual([addresses(before), places(before)]);
    expect(tasksOf(world, 'db')[0]?.id).toBe(db);
    // The file says nothing new: nothing is made anew.
    world.up(stackOf('shop', { web: 3, db: 1 }));
    world.settle();
    expect(running(world, 'web').map((t) => t.id)).toEqual(after.map((t) => t.id));
  });

  it('takes along what depends on it with restart: true, unless it goes alone', () => {
    const world = worldOf({ web: { dependsOn: { db: { restart: true } } }, log: { dependsOn: { db: {} } }, db: 1 });
    const ids = () => ['web', 'log', 'db'].map((s) => running(world, s)[0]?.id);
    const first = ids();
    restart(world, ['db'], true);
    world.settle();
    const second = ids();
    expect(second.map((id, i) => id === first[i])).toEqual([true, true, false]);
    restart(world, ['db']);
    world.settle();
    expect(ids().map((id, i) => id === second[i])).toEqual([false, true, false]);
  });

  it('starts what was stopped', () => {
    const world = worldOf({ web: 1 });
    stop(world);
    world.settle();
    restart(world, []);
    world.settle();
    expect(running(world, 'web')).toHaveLength(1);
  });

  it('that fails is never rolled back to what was before the last change', () => {
    const update = { parallelism: 1, monitorMs: 1_000, onFailure: 'rollback' };
    const world = worldOf({ web: { replicas: 2, update } });
    world.up(stackOf('shop', { web: { replicas: 2, update, container: { image: 'busybox:2' } } }));
    for (let i = 0; i < 5; i++) {
      world.settle();
      world.now += 2_000;
    }
    restart(world, []);
    world.tick();
    for (const task of tasksOf(world, 'web')) if (task.desired === 'stop') world.report(task.id, 'stopped');
    world.tick();
    const fresh = running(world, 'web').find((t) => !world.model.statuses.has(t.id));
    world.report(fresh?.id ?? '', 'failed');
    world.tick();
    expect(world.model.updates.get('shop/web')).toMatchObject({ state: 'paused', message: expect.stringContaining('it was restarted') });
    expect(world.model.stacks.get('shop')?.spec.services['web']?.container.image).toBe('busybox:2');
  });
});

const reasonOf = (world: World, service: string): string => {
  const record = world.model.stacks.get('shop');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'gone';
};
