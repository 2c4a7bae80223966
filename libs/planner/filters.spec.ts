import type { Task } from '#model/task.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

const GIB = 2 ** 30;
const nodeOf = (world: World, t: Task): string => world.model.nodes.get(t.nodeId)?.name ?? '?';
const live = (world: World): Task[] => [...world.model.tasks.values()].filter((t) => !t.orphan).sort((a, b) => a.slot - b.slot);
const places = (world: World): string[] => live(world).map((t) => nodeOf(world, t));
const reasonOf = (world: World, service: string): string => {
  const record = world.model.stacks.get('s');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};

function worldOf(nodes: Record<string, Record<string, string>>): World {
  const world = new World();
  for (const [name, labels] of Object.entries(nodes)) {
    world.addNode(name, { cpus: 4, memoryBytes: GIB });
    world.changeNode(name, { labels });
  }
  return world;
}

function run(world: World, service: Record<string, unknown>): void {
  world.up(stackOf('s', { web: service }));
  world.settle();
}

describe('constraints', () => {
  it('leave out nodes, and say which and why', () => {
    const world = worldOf({ a: { disk: 'ssd' }, b: {}, c: {} });
    run(world, { replicas: 2, placement: { constraints: ['node.labels.disk == ssd'] } });
    expect(places(world)).toEqual(['a', 'a']);
    world.changeNode('a', { availability: 'drain' });
    world.settle();
    expect(places(world)).toEqual([]);
    expect(reasonOf(world, 'web')).toBe('no node can take it (3 nodes: 1 drained, 2 not node.labels.disk == ssd)');
    world.changeNode('b', { labels: { disk: 'ssd' } });
    world.settle();
    expect(places(world)).toEqual(['b', 'b']);
  });

  it('that no node can meet are refused at once', () => {
    const world = worldOf({ a: {}, b: {} });
    const wish = { replicas: 1, placement: { constraints: ['node.labels.disk == ssd'] } };
    expect(() => run(world, wish)).toThrow(expect.objectContaining({ code: 'NO_NODES', why: '2 nodes: 2 not node.labels.disk == ssd' }));
  });

  it('a platform is one of them', () => {
    const world = worldOf({ a: {}, b: {} });
    world.setFacts('b', { platform: 'linux/arm64' });
    run(world, { replicas: 2, container: { image: 'x', platform: 'linux/arm64' } });
    expect(places(world)).toEqual(['b', 'b']);
  });
});

describe('reservations', () => {
  const reserving = (replicas: number) => ({ replicas, reservations: { memoryBytes: GIB / 2 } });

  it('count against what a node has, and are given back', () => {
    const world = worldOf({ a: {}, b: {} });
    run(world, reserving(5));
    expect(places(world).sort()).toEqual(['a', 'a', 'b', 'b']);
    expect(reasonOf(world, 'web')).toBe('no node can take it (2 nodes: 2 lack memory)');
    run(world, reserving(3));
    run(world, reserving(4));
    expect(live(world)).toHaveLength(4);
    expect(reasonOf(world, 'web')).toBe('');
  });

  it('above every node are refused at once', () => {
    const world = worldOf({ a: {} });
    expect(() => run(world, { replicas: 1, reservations: { nanoCpus: 5e9 } })).toThrow(
      expect.objectContaining({ why: '1 node: 1 too few CPUs' }),
    );
  });
});

describe('spreading', () => {
  it('goes by preferences, one after another, then by load', () => {
    const world = worldOf({ a: { zone: '1', rack: 'x' }, b: { zone: '1', rack: 'y' }, c: { zone: '1', rack: 'y' }, d: { zone: '2' } });
    run(world, { replicas: 6, placement: { spread: ['node.labels.zone', 'node.labels.rack'] } });
    expect(places(world)).toEqual(['a', 'd', 'b', 'd', 'a', 'd']);
  });

  it('stops at max_replicas_per_node', () => {
    const world = worldOf({ a: {}, b: {} });
    run(world, { replicas: 3, placement: { maxReplicasPerNode: 1 } });
    expect(places(world)).toEqual(['a', 'b']);
    expect(reasonOf(world, 'web')).toContain('2 nodes: 2 at max_replicas_per_node');
  });
});

describe('global services', () => {
  it('have one task on every node that fits; nodes that join get one, drained ones lose theirs', () => {
    const world = worldOf({ a: {}, b: { gpu: 'no' }, c: {} });
    run(world, { mode: 'global', placement: { constraints: ['node.labels.gpu != no'] } });
    expect(live(world).map((t) => [nodeOf(world, t), t.slot])).toEqual([
      ['a', 1],
      ['c', 3],
    ]);
    expect(reasonOf(world, 'web')).toBe('');
    world.addNode('d');
    world.settle();
    expect(places(world)).toEqual(['a', 'c', 'd']);
    world.changeNode('c', { availability: 'drain' });
    world.settle();
    expect(places(world)).toEqual(['a', 'd']);
    world.changeNode('c', { availability: 'active' });
    world.changeNode('a', { availability: 'pause' });
    world.settle();
    expect(places(world)).toEqual(['a', 'c', 'd']);
    world.setNodeState('d', 'down');
    world.settle();
    expect(places(world)).toEqual(['a', 'c', 'd']);
    expect(reasonOf(world, 'web')).toBe('node d is down');
  });
});

describe('the image', () => {
  const DIGEST = `sha256:${'ab'.repeat(32)}`;
  const MARK = 'abababababab';
  const pinned = { container: { image: 'x', imageDigest: DIGEST } };
  const has = (world: World, ...names: string[]): void => names.forEach((name) => world.setFacts(name, { images: ['0123456789ab', MARK] }));

  it('decides between nodes with as many tasks, and never against spread or load', () => {
    const world = worldOf({ a: {}, b: {}, c: {} });
    has(world, 'c');
    run(world, { replicas: 4, ...pinned });
    // One each first, from the node that has it on; then again.
    expect(places(world)).toEqual(['c', 'a', 'b', 'c']);
    world.up(stackOf('t', { other: { replicas: 1, ...pinned } }));
    world.settle();
    // c has most tasks by now.
    expect(world.model.tasksOfService('t', 'other').map((t) => nodeOf(world, t))).toEqual(['a']);
  });

  it('also among preferred groups, with filters, and where a task needs a closer look', () => {
    const world = worldOf({ a: { zone: '1' }, b: { zone: '1' }, c: { zone: '2' }, d: { zone: '2' } });
    has(world, 'b', 'd');
    run(world, { replicas: 2, ...pinned, placement: { spread: ['node.labels.zone'] } });
    expect(places(world)).toEqual(['b', 'd']);
    const port = { ports: [{ target: 80, published: 8080, protocol: 'tcp', mode: 'host' }] };
    run(world, { replicas: 1, ...pinned, ...port, placement: { constraints: ['node.labels.zone == 2'] } });
    expect(places(world)).toEqual(['d']);
  });

  it('is as good as none where all have it, or nobody; and what a node forgets counts no more', () => {
    const world = worldOf({ a: {}, b: {} });
    has(world, 'a', 'b');
    expect(world.model.holdersOf(MARK).size).toBe(2);
    run(world, { replicas: 1, ...pinned });
    expect(places(world)).toEqual(['a']);
    world.setFacts('a', {});
    expect([...world.model.holdersOf(MARK)]).toEqual([world.nodeId('b')]);
    run(world, { replicas: 0, ...pinned });
    run(world, { replicas: 1, ...pinned });
    expect(places(world)).toEqual(['b']);
    run(world, { replicas: 0, ...pinned });
    run(world, { replicas: 1, container: { image: 'y' } });
    expect(places(world)).toEqual(['a']);
  });

  it('an image that comes makes nothing move', () => {
    const world = worldOf({ a: {}, b: {} });
    run(world, { replicas: 1, ...pinned });
    has(world, 'b');
    expect(world.tick()).toBe(0);
    expect(places(world)).toEqual(['a']);
  });
});
