/** Jobs of the mode `global-job`: one run to its end on every node, also on those that come later. */
import { keys } from '#model/keys.js';
import { encode } from '#model/codec.js';
import type { Stack } from '#model/stack.js';
import type { Task, TaskStatus } from '#model/task.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { wantedTasks } from './service-slots.js';
import { stackOf, World } from './spec-kit.js';

const migration = (image = 1, more: Record<string, unknown> = {}): Stack =>
  stackOf('s', {
    prepare: { mode: 'global-job', container: { image: `a:${image}` }, restart: { condition: 'on-failure' } },
    web: { replicas: 1, dependsOn: { prepare: { condition: 'service_completed_successfully' } } },
    ...more,
  });

const tasks = (world: World, service = 'prepare'): Task[] => world.model.tasksOfService('s', service).sort((a, b) => a.slot - b.slot);
const nodesOf = (world: World, service = 'prepare'): string[] =>
  tasks(world, service).map((t) => world.model.nodes.get(t.nodeId)?.name ?? '');

function report(world: World, task: Task, status: Partial<TaskStatus>): void {
  const whole = { taskId: task.id, nodeId: task.nodeId, message: '', restarts: 0, at: world.now, ...status };
  world.write({ put: keys.taskStatus(task.id), value: encode(whole) });
}

/** Every run of the job on a node that lives ends well; all else does as it is told. */
function obey(world: World): void {
  for (let i = 0; i < 50; i++) {
    let changed = world.tick() > 0;
    for (const task of world.model.tasks.values()) {
      const state = task.desired === 'stop' ? 'stopped' : task.service === 'prepare' ? 'complete' : 'running';
      if (world.model.statuses.get(task.id)?.state === state || world.model.nodeStates.get(task.nodeId)?.state === 'down') continue;
      report(world, task, { state, ...(state === 'complete' ? { exitCode: 0 } : {}) });
      changed = true;
    }
    if (!changed) return;
  }
  throw new Error('it does not settle');
}

function reasonOf(world: World, service: string): string {
  const record = world.model.stacks.get('s');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : '';
}
const wanted = (world: World): number => {
  const service = world.model.stacks.get('s')?.spec.services['prepare'];
  return service ? wantedTasks(world.model, 's', service) : -1;
};

describe('a global job', () => {
  it('runs once on every node, and who depends on it waits for all of them', () => {
    const world = new World(['a', 'b', 'c']);
    expect(world.up(migration()).steps.find((s) => s.name === 'prepare')?.details).toEqual(['on every node that fits: a:1']);
    world.tick();
    expect(nodesOf(world)).toEqual(['a', 'b', 'c']);
    const [first, second, third] = tasks(world) as [Task, Task, Task];
    for (const task of [first, second]) report(world, task, { state: 'complete', exitCode: 0 });
    report(world, third, { state: 'running' });
    world.tick();
    expect(tasks(world, 'web')).toEqual([]);
    expect(reasonOf(world, 'web')).toBe('waits for prepare to complete');
    report(world, third, { state: 'complete', exitCode: 0 });
    world.tick();
    expect(tasks(world, 'web')).toHaveLength(1);
    expect(world.tick()).toBe(0);
    expect(reasonOf(world, 'prepare')).toBe('');
  });

  it('says which node it failed on, and lets nobody begin who depends on it', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    world.tick();
    const [first, second] = tasks(world) as [Task, Task];
    report(world, first, { state: 'complete', exitCode: 0 });
    report(world, second, { state: 'failed', exitCode: 3, message: 'exited with code 3' });
    world.tick();
    expect(reasonOf(world, 'prepare')).toBe('s-prepare-2 on b: exited with code 3');
    expect(reasonOf(world, 'web')).toBe('waits for prepare to complete: s-prepare-2 failed: exited with code 3');
  });

  it('is run by nodes that join later, and not again by those that have', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    obey(world);
    const before = tasks(world).map((t) => t.id);
    world.addNode('c');
    expect(wanted(world)).toBe(3);
    obey(world);
    expect(nodesOf(world)).toEqual(['a', 'b', 'c']);
    expect(tasks(world).map((t) => t.id)).toEqual([...before, expect.any(String)]);
  });

  it('is run again everywhere when it changes', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    obey(world);
    const before = tasks(world).map((t) => t.id);
    world.up(migration(2));
    obey(world);
    expect(nodesOf(world)).toEqual(['a', 'b']);
    expect(tasks(world).filter((t) => before.includes(t.id))).toEqual([]);
  });

  it('stays done where its node is drained and comes back, or fits no longer; what had not ended is run anew', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    world.tick();
    const [first, second] = tasks(world) as [Task, Task];
    report(world, first, { state: 'complete', exitCode: 0 });
    report(world, second, { state: 'running' });
    for (const name of ['a', 'b']) world.changeNode(name, { availability: 'drain' });
    world.tick();
    expect(tasks(world).map((t) => t.desired)).toEqual(['run', 'stop']);
    report(world, second, { state: 'stopped' });
    world.tick();
    expect(nodesOf(world)).toEqual(['a']);
    for (const name of ['a', 'b']) world.changeNode(name, { availability: 'active' });
    obey(world);
    expect(nodesOf(world)).toEqual(['a', 'b']);
    expect(tasks(world)[0]?.id).toBe(first.id);
    expect(tasks(world)[1]?.id).not.toBe(second.id);
  });

  it('a changed one is forgotten on a drained node, and run there when it is back', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    obey(world);
    world.changeNode('b', { availability: 'drain' });
    world.up(migration(2));
    obey(world);
    expect(nodesOf(world)).toEqual(['a']);
    expect(wanted(world)).toBe(1);
    world.changeNode('b', { availability: 'active' });
    obey(world);
    expect(nodesOf(world)).toEqual(['a', 'b']);
  });

  it('nobody waits for a dead node or a paused one; they run it when they are back', () => {
    const world = new World(['a', 'b', 'c']);
    world.setNodeState('b', 'down');
    world.changeNode('c', { availability: 'pause' });
    world.up(migration());
    obey(world);
    expect([wanted(world), nodesOf(world), tasks(world, 'web').length]).toEqual([1, ['a'], 1]);
    expect(reasonOf(world, 'prepare')).toMatch(/has to be on node [bc], which takes none now/);
    world.setNodeState('b', 'ready');
    world.changeNode('c', { availability: 'active' });
    obey(world);
    expect(nodesOf(world)).toEqual(['a', 'b', 'c']);
  });

  it('what was done on a node that died counts as done there', () => {
    const world = new World(['a', 'b']);
    world.up(migration());
    obey(world);
    const before = tasks(world).map((t) => t.id);
    world.setNodeState('b', 'down');
    obey(world);
    expect(reasonOf(world, 'prepare')).toBe('');
    world.setNodeState('b', 'ready');
    obey(world);
    expect(tasks(world).map((t) => t.id)).toEqual(before);
  });
});

it('nobody who depends on a global service waits for a dead node that has none of it', () => {
  const world = new World(['a', 'b']);
  world.setNodeState('b', 'down');
  world.up(stackOf('s', { log: { mode: 'global' }, web: { replicas: 1, dependsOn: { log: { condition: 'service_started' } } } }));
  world.settle();
  expect([nodesOf(world, 'log'), nodesOf(world, 'web')]).toEqual([['a'], ['a']]);
});
