import type { Stack } from '#model/stack.js';
import { RESTARTED_BY_COMMAND, type Task, type TaskStatus } from '#model/task.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { planRollback } from './plan-rollback.js';
import { placementTroubles, planServices, waitingReason } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

const POLICY = { parallelism: 1, delayMs: 0, order: 'stop-first', monitorMs: 1_000, maxFailureRatio: 0, onFailure: 'pause' };
const stack = (image: number, update: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Stack =>
  stackOf('s', { web: { replicas: 3, container: { image: `a:${image}` }, update: { ...POLICY, ...update }, ...more } });

const tasks = (world: World): Task[] =>
  [...world.model.tasks.values()].sort((a, b) => a.slot - b.slot || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
const images = (world: World): string[] => tasks(world).map((t) => `${t.container.image}${t.desired === 'stop' ? ' stopping' : ''}`);

function report(world: World, task: Task | undefined, status: Partial<TaskStatus>): void {
  if (!task) throw new Error('no such task');
  const whole = { taskId: task.id, nodeId: task.nodeId, state: 'running', message: '', restarts: 0, at: world.now, startedAt: world.now };
  world.write({ put: keys.taskStatus(task.id), value: encode({ ...whole, ...status }) });
}

/** What stops is stopped, and what is new runs. */
function obey(world: World, isGood: (task: Task) => boolean = () => true): void {
  for (const task of tasks(world)) {
    const now = world.model.statuses.get(task.id)?.state;
    if (task.desired === 'stop') report(world, task, { state: 'stopped' });
    else if (!isGood(task)) report(world, task, { state: 'restarting', exitCode: 1, message: 'exited with code 1', restarts: 1 });
    else if (now !== 'running') report(world, task, {});
  }
}

function started(update: Record<string, unknown> = {}): World {
  const world = new World(['a', 'b', 'c']);
  world.up(stack(1, update));
  world.settle();
  world.now += 60_000;
  world.up(stack(2, update));
  return world;
}

const update = (world: World) => world.model.updates.get('s/web');

/** Until nothing changes, time included. Gives how many tasks were ever away at the same time. */
function runOut(world: World, isGood?: (task: Task) => boolean): number {
  let away = 0;
  for (let i = 0; i < 200; i++) {
    const { units, wakeAt } = planServices(world.model, world.newId, world.now);
    world.apply(units);
    away = Math.max(
      away,
      3 - tasks(world).filter((t) => t.desired === 'run' && world.model.statuses.get(t.id)?.state === 'running').length,
    );
    obey(world, isGood);
    if (units.length === 0 && wakeAt === undefined && planServices(world.model, world.newId, world.now).units.length === 0) return away;
    if (wakeAt !== undefined) world.now = Math.max(world.now, wakeAt);
  }
  throw new Error('it does not end');
}

describe('an update', () => {
  it('goes on when what is new has been up for as long as it is watched', () => {
    const world = started();
    world.tick();
    expect(images(world)).toEqual(['a:1 stopping', 'a:1', 'a:1']);
    obey(world);
    world.tick();
    obey(world);
    expect(world.tick()).toBe(0);
    expect(images(world)).toEqual(['a:2', 'a:1', 'a:1']);
    world.now += 1_000;
    world.tick();
    expect(images(world)).toEqual(['a:2', 'a:1 stopping', 'a:1']);
    expect(runOut(world)).toBe(1);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
    expect(update(world)).toBeUndefined();
  });

  it.each([
    [2, 2],
    [0, 3],
  ])('takes %d at a time', (parallelism, away) => {
    const world = started({ parallelism });
    expect(runOut(world)).toBe(away);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
  });

  it('that starts first never has less than all running, and never three tasks in a slot', () => {
    const world = started({ order: 'start-first' });
    world.tick();
    expect(images(world)).toEqual(['a:1', 'a:2', 'a:1', 'a:1']);
    expect(runOut(world)).toBe(0);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
    expect([...world.model.slots.keys()].sort()).toEqual(['s/web/1', 's/web/2', 's/web/3']);
  });

  it('that fails is paused, says why, and begins again when it is asked for again', () => {
    const world = started();
    runOut(world, (t) => t.container.image !== 'a:2');
    expect(images(world)).toEqual(['a:2', 'a:1', 'a:1']);
    expect(update(world)).toMatchObject({ state: 'paused', message: 's-web-1 failed: exited with code 1' });
    world.up(stack(2));
    expect(update(world)).toBeUndefined();
    obey(world);
    runOut(world);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
  });

  it('does not count a restart in place that somebody asked for, and watches the task anew', () => {
    const world = started();
    world.tick();
    obey(world);
    world.tick();
    obey(world);
    const [next] = tasks(world);
    report(world, next, { state: 'restarting', message: RESTARTED_BY_COMMAND });
    world.tick();
    world.now += 900;
    report(world, next, { restarts: 1, restartsAsked: 1 });
    world.tick();
    world.now += 900;
    world.tick();
    expect(update(world)).toMatchObject({ state: 'updating', failed: [], passed: [] });
    expect(images(world)).toEqual(['a:2', 'a:1', 'a:1']);
    runOut(world);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
    expect(update(world)).toBeUndefined();
  });

  it('counts an end besides the restarts that were asked for', () => {
    const world = started();
    world.tick();
    obey(world);
    world.tick();
    report(world, tasks(world)[0], { restarts: 2, restartsAsked: 1 });
    world.tick();
    expect(update(world)).toMatchObject({ state: 'paused', failed: [tasks(world)[0]?.id] });
  });

  it('takes as many failures as it may', () => {
    const world = started({ maxFailureRatio: 0.5 });
    runOut(world, (t) => t.container.image !== 'a:2' || t.slot !== 1);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
    const other = started({ onFailure: 'continue' });
    runOut(other, (t) => t.container.image !== 'a:2');
    expect(images(other)).toEqual(['a:2', 'a:2', 'a:2']);
  });

  it.each([['stop-first'], ['start-first']])('%s, that fails is rolled back, and what ran goes on', (order) => {
    const world = started({ onFailure: 'rollback', order });
    const generation = world.model.stacks.get('s')?.generation ?? 0;
    const kept = tasks(world).map((t) => t.id);
    runOut(world, (t) => t.container.image !== 'a:2');
    expect(images(world)).toEqual(['a:1', 'a:1', 'a:1']);
    expect(tasks(world).filter((t) => kept.includes(t.id))).toHaveLength(order === 'start-first' ? 3 : 2);
    expect(update(world)).toMatchObject({ state: 'rolled-back', message: 's-web-1 failed: exited with code 1' });
    expect(world.model.stacks.get('s')).toMatchObject({
      generation: generation + 1,
      spec: { services: { web: { container: { image: 'a:1' } } } },
    });
    // No command leads to what failed.
    expect(() => planRollback(world.model, 's', ['web'], world.now)).toThrow(/cannot be rolled back/);
    // The file still says otherwise: asked for again, it is tried again.
    world.up(stack(2, { onFailure: 'rollback', order }));
    runOut(world);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
  });

  it('is rolled back by a command, and forward again', () => {
    const world = started();
    runOut(world);
    const back = planRollback(world.model, 's', [], world.now);
    expect(back.steps).toMatchObject([{ action: 'recreate', name: 'web' }]);
    expect(world.txn(back.compares, back.writes)).toBe(true);
    runOut(world);
    expect(images(world)).toEqual(['a:1', 'a:1', 'a:1']);
    const forth = planRollback(world.model, 's', ['web'], world.now);
    world.txn(forth.compares, forth.writes);
    runOut(world);
    expect(images(world)).toEqual(['a:2', 'a:2', 'a:2']);
    expect(() => planRollback(world.model, 's', ['db'], world.now)).toThrow(/no service db/);
  });

  it('is rolled back by a command as its rollback_config says, and paused where that fails, too', () => {
    const rollback = { ...POLICY, parallelism: 2 };
    const world = new World(['a', 'b', 'c']);
    for (const image of [1, 2]) {
      world.up(stack(image, { onFailure: 'rollback' }, { rollback }));
      runOut(world);
    }
    const command = () => {
      const { compares, writes } = planRollback(world.model, 's', [], world.now);
      expect(world.txn(compares, writes)).toBe(true);
    };
    command();
    expect(update(world)).toMatchObject({ state: 'updating', byCommand: true });
    world.tick();
    expect(images(world)).toEqual(['a:2 stopping', 'a:2 stopping', 'a:2']);
    runOut(world);
    expect(images(world)).toEqual(['a:1', 'a:1', 'a:1']);
    expect(update(world)).toBeUndefined();
    command();
    runOut(world, (t) => t.container.image !== 'a:2');
    expect(update(world)).toMatchObject({ state: 'paused', message: expect.stringContaining('exited with code 1') });
    // It begins anew, the other way round.
    command();
    runOut(world);
    expect(images(world)).toEqual(['a:1', 'a:1', 'a:1']);
    expect(update(world)).toBeUndefined();
  });

  it('goes on under another leader, and a file that is changed meanwhile is what counts', () => {
    const world = started();
    world.tick();
    obey(world);
    world.up(stack(3));
    runOut(world);
    expect(images(world)).toEqual(['a:3', 'a:3', 'a:3']);
    expect(update(world)).toBeUndefined();
  });
});

describe('an unhealthy task', () => {
  it('is replaced at once, then ever later; each leaves its history', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: 1 }));
    world.settle();
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      report(world, tasks(world)[0], { health: 'unhealthy', message: 'its health check exited with code 1' });
      const { wakeAt } = planServices(world.model, world.newId, world.now);
      waits.push((wakeAt ?? world.now) - world.now);
      world.now = wakeAt ?? world.now;
      world.tick();
      expect(tasks(world)[0]).toMatchObject({ desired: 'stop', stopReason: 'unhealthy: its health check exited with code 1' });
      obey(world);
      world.tick();
    }
    expect(waits).toEqual([0, 10_000, 20_000, 40_000]);
    expect(world.model.endedOf('s', 'web', 1).map((e) => e.unhealthyInARow)).toEqual([1, 2, 3, 4]);
  });

  it('stays where its restart policy says none', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: { restart: { condition: 'none' } } }));
    world.settle();
    report(world, tasks(world)[0], { health: 'unhealthy' });
    expect(world.tick()).toBe(0);
  });
});

describe('the order of services', () => {
  const reasonOf = (world: World): string => {
    const record = world.model.stacks.get('s');
    return record ? waitingReason(world.model, record, 'web', placementTroubles(world.model, world.now)) : '';
  };
  const names = (world: World): string[] =>
    tasks(world)
      .map((t) => t.service)
      .sort();
  const pair = (condition: string, db: Record<string, unknown> = {}, required = true): Stack =>
    stackOf('s', { web: { dependsOn: { db: { condition, required } } }, db });
  const of = (world: World, service: string): Task | undefined => tasks(world).find((t) => t.service === service);

  it.each([
    ['service_started', 'waits for db to start', [{ state: 'preparing', startedAt: undefined }], { state: 'running' }],
    [
      'service_healthy',
      'waits for db to be healthy',
      [{ state: 'running', health: 'starting' }, { state: 'running', health: 'unhealthy' }, { state: 'running' }],
      { state: 'running', health: 'healthy' },
    ],
    [
      'service_completed_successfully',
      'waits for db to complete',
      [{ state: 'running' }, { state: 'failed' }],
      { state: 'complete', exitCode: 0 },
    ],
  ] as [string, string, Partial<TaskStatus>[], Partial<TaskStatus>][])('%s', (condition, reason, not, met) => {
    const world = new World(['a', 'b']);
    world.up(pair(condition, { restart: { condition: 'none' } }));
    world.tick();
    expect(names(world)).toEqual(['db']);
    expect(reasonOf(world)).toBe(reason);
    for (const status of not) {
      report(world, of(world, 'db'), status);
      world.tick();
      expect(names(world)).toEqual(['db']);
      expect(reasonOf(world)).toContain(reason);
    }
    report(world, of(world, 'db'), met);
    world.tick();
    expect(names(world)).toEqual(['db', 'web']);
  });

  it('what is not required is waited for only while it may come', () => {
    const world = new World(['a', 'b']);
    world.up(pair('service_healthy', {}, false));
    world.tick();
    report(world, of(world, 'db'), { health: 'starting' });
    world.tick();
    expect(names(world)).toEqual(['db']);
    report(world, of(world, 'db'), { health: 'unhealthy' });
    world.tick();
    expect(names(world)).toEqual(['db', 'web']);
  });

  it('is turned round when the stack goes', () => {
    const world = new World(['a', 'b']);
    world.up(pair('service_started'));
    world.settle();
    const record = world.model.stacks.get('s');
    world.write({ put: keys.stack('s'), value: encode({ ...record, removing: true }) });
    world.tick();
    expect(
      tasks(world)
        .map((t) => `${t.service} ${t.desired}`)
        .sort(),
    ).toEqual(['db run', 'web stop']);
    report(world, of(world, 'web'), { state: 'stopped' });
    world.tick();
    world.tick();
    expect(tasks(world).map((t) => `${t.service} ${t.desired}`)).toEqual(['db stop']);
  });

  it('restart: true makes a service anew with what it depends on, after it', () => {
    const world = new World(['a', 'b']);
    const file = (image: string): Stack => stackOf('s', { web: { dependsOn: { db: { restart: true } } }, db: { container: { image } } });
    world.up(file('db:1'));
    world.settle();
    const before = of(world, 'web')?.id;
    expect(world.up(file('db:2')).steps).toMatchObject([
      expect.anything(),
      { action: 'recreate', name: 'web', details: ['db, which it depends on, changes'] },
      { action: 'recreate', name: 'db' },
    ]);
    world.settle();
    expect(of(world, 'web')?.id).not.toBe(before);
  });

  it('circles are refused', () => {
    const world = new World(['a']);
    expect(() => world.up(stackOf('s', { a: { dependsOn: { b: {} } }, b: { dependsOn: { a: {} } } }))).toThrow(/a → b → a/);
  });
});

describe('jobs', () => {
  const job = (image: number): Stack =>
    stackOf('s', {
      web: { replicas: 2, mode: 'replicated-job', container: { image: `a:${image}` }, restart: { condition: 'on-failure' } },
    });

  it('run once, stay complete, and run again when they change', () => {
    const world = new World(['a', 'b']);
    world.up(job(1));
    world.tick();
    for (const task of tasks(world)) report(world, task, { state: 'complete', exitCode: 0 });
    expect(world.tick()).toBe(0);
    const ids = tasks(world).map((t) => t.id);
    world.up(job(1));
    expect(world.tick()).toBe(0);
    world.up(job(2));
    world.tick();
    expect(tasks(world).map((t) => t.desired)).toEqual(['stop', 'stop']);
    obey(world);
    world.tick();
    expect(tasks(world).some((t) => ids.includes(t.id))).toBe(false);
  });
});
