/** A drained node gets empty, whatever others do; what has no other place stops, and everybody is told. */
import type { TaskState } from '#model/task.js';
import { homelessOf, leftOn } from './drain-outlook.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { nodeFactsSchema, type Node } from '#model/node.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { stackOf, World } from './spec-kit.js';

type Services = Parameters<typeof stackOf>[1];

function running(nodes: readonly string[], services: Services): World {
  const world = new World(nodes);
  world.up(stackOf('s', services));
  world.settle();
  return world;
}

const node = (world: World, name: string): Node => {
  const found = world.model.nodes.get(world.nodeId(name));
  if (!found) throw new Error(`there is no node ${name}`);
  return found;
};
const drain = (world: World, name: string): void => world.changeNode(name, { availability: 'drain' });
const on = (world: World, name: string): string[] =>
  world.model
    .tasksOfNode(world.nodeId(name))
    .map((t) => t.name)
    .sort();
const reasonOf = (world: World, service: string): string => {
  const record = world.model.stacks.get('s');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};
const say = (world: World, name: string, state: TaskState): void => {
  const task = [...world.model.tasks.values()].find((t) => t.name === name);
  world.report(task?.id ?? '', state);
};
const wanted = (world: World, name: string): string | undefined => [...world.model.tasks.values()].find((t) => t.name === name)?.desired;
const data = (volume: string) => ({ container: { image: 'db', mounts: [{ type: 'volume', source: volume, target: '/d' }] } });

describe('a drained node', () => {
  it('gets empty also where the others are paused and dead: what it ran waits, and says why', () => {
    const world = running(['a', 'b', 'c'], { web: 2 });
    expect([on(world, 'a'), on(world, 'b')]).toEqual([['s-web-1'], ['s-web-2']]);
    world.changeNode('c', { availability: 'pause' });
    world.setNodeState('b', 'down');
    drain(world, 'a');
    world.settle();
    expect(on(world, 'a')).toEqual([]);
    expect(reasonOf(world, 'web')).toContain('no node can take it (3 nodes: 1 down, 1 drained, 1 paused)');
    world.changeNode('a', { availability: 'active' });
    world.settle();
    expect(on(world, 'a')).toEqual(['s-web-1', 's-web-2']);
  });

  it('gets empty also while another task of the service fails again and again', () => {
    const world = running(['a', 'b', 'c'], { web: 2 });
    say(world, 's-web-2', 'restarting');
    drain(world, 'a');
    world.tick();
    expect(wanted(world, 's-web-1')).toBe('stop');
  });

  it('gets empty also where what stopped on another drained node has no other place', () => {
    const world = running(['a', 'b', 'c'], { web: { replicas: 2, placement: { constraints: ['node.hostname != c'] } } });
    for (const name of ['a', 'b']) drain(world, name);
    world.settle();
    expect([on(world, 'a'), on(world, 'b')]).toEqual([[], []]);
    const bound = running(['a'], { db: { replicas: 2, ...data('s_d') } });
    drain(bound, 'a');
    bound.settle();
    expect([...bound.model.tasks.values()].map((t) => bound.model.statuses.get(t.id)?.state)).toEqual(['stopped', 'stopped']);
  });

  it('is not left while another task of the service starts, or is made', () => {
    const world = running(['a', 'b', 'c'], { web: 2 });
    say(world, 's-web-2', 'starting');
    drain(world, 'a');
    world.tick();
    expect(wanted(world, 's-web-1')).toBe('run');
    expect(leftOn(world.model, node(world, 'a'))).toEqual([{ task: 's-web-1', why: 'it stays until s-web-2 is up' }]);
    say(world, 's-web-2', 'running');
    world.tick();
    expect(wanted(world, 's-web-1')).toBe('stop');
  });

  it('is not left in the step in which the task of a dead node gets its successor, nor before that is up', () => {
    const world = running(['a', 'b', 'c'], { web: 2 });
    world.setNodeState('b', 'down');
    drain(world, 'a');
    world.tick();
    expect(on(world, 'c')).toEqual(['s-web-2']);
    expect(wanted(world, 's-web-1')).toBe('run');
    world.tick();
    expect(wanted(world, 's-web-1')).toBe('run');
    world.settle();
    expect([on(world, 'a'), on(world, 'c')]).toEqual([[], ['s-web-1', 's-web-2']]);
  });
});

describe('of a drained node it is told at once', () => {
  it('which tasks no other node can take, and why', () => {
    const world = running(['a', 'b'], {
      db: data('s_d'),
      pinned: { placement: { constraints: ['node.hostname == a'] } },
      agent: { mode: 'global' },
      free: 1,
    });
    const home = [...world.model.tasks.values()].find((t) => t.service === 'db')?.nodeId;
    const name = world.model.nodes.get(home ?? '')?.name ?? '';
    drain(world, 'a');
    const homeless = homelessOf(world.model, node(world, 'a'));
    expect(homeless).toContainEqual({ task: 's-pinned-1', why: 'no node can take it (2 nodes: 1 drained, 1 not node.hostname == a)' });
    expect(homeless.map((h) => h.task)).toEqual(name === 'a' ? ['s-db-1', 's-pinned-1'] : ['s-pinned-1']);
    world.changeNode('a', { availability: 'active' });
    drain(world, name);
    expect(homelessOf(world.model, node(world, name))).toContainEqual({
      task: 's-db-1',
      why: `its data is on node ${name}, which is drained`,
    });
  });

  it('where two would have the room of one, that one of them has none', () => {
    const world = new World(['a', 'b']);
    for (const name of ['a', 'b'])
      world.write({
        put: keys.nodeFacts(world.nodeId(name)),
        value: encode(nodeFactsSchema.parse({ nodeId: world.nodeId(name), hostname: name, at: 0, memoryBytes: 100, cpus: 1 })),
      });
    world.changeNode('b', { availability: 'pause' });
    world.up(stackOf('s', { web: { replicas: 2, reservations: { memoryBytes: 50 } } }));
    world.settle();
    world.changeNode('b', { availability: 'active' });
    world.up(stackOf('t', { x: { replicas: 1, reservations: { memoryBytes: 50 } } }));
    world.settle();
    drain(world, 'a');
    expect(on(world, 'a')).toEqual(['s-web-1', 's-web-2']);
    expect(homelessOf(world.model, node(world, 'a'))).toEqual([
      { task: 's-web-2', why: 'no node can take it (2 nodes: 1 drained, 1 lack memory)' },
    ]);
  });

  it('what is on it yet: what stops, what has stopped and waits, what has done its work', () => {
    const world = running(['a'], { db: data('s_d'), web: 1, once: { mode: 'replicated-job' } });
    const job = [...world.model.tasks.values()].find((t) => t.service === 'once');
    world.report(job?.id ?? '', 'complete');
    expect(leftOn(world.model, node(world, 'a'))).toEqual([]);
    drain(world, 'a');
    expect(leftOn(world.model, node(world, 'a'))).toContainEqual({ task: 's-web-1', why: 'it is about to stop' });
    world.tick();
    expect(leftOn(world.model, node(world, 'a'))).toEqual([
      { task: 's-db-1', why: 'it stops' },
      { task: 's-once-1', why: 'it has done its work, and is kept on record' },
      { task: 's-web-1', why: 'it stops' },
    ]);
    for (const name of ['s-db-1', 's-web-1']) say(world, name, 'stopped');
    world.tick();
    expect(leftOn(world.model, node(world, 'a'))).toEqual([
      { task: 's-db-1', why: 'it has stopped: its data is on node a, which is drained' },
      { task: 's-once-1', why: 'it has done its work, and is kept on record' },
    ]);
    world.setNodeState('a', 'down');
    expect(leftOn(world.model, node(world, 'a'))[0]?.why).toBe('the node is down: nobody knows whether it runs there');
  });
});
