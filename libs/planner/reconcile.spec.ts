import { keys } from '#model/keys.js';
import type { Task } from '#model/task.js';
import { planCleanup } from './plan-cleanup.js';
import { planNodeStates } from './plan-nodes.js';
import { placementTroubles, planServices, waitingReason } from './plan-services.js';
import { containerWishSchema } from '#model/stack.js';
import { taskName } from './task-name.js';
import { stackOf, World } from './spec-kit.js';

const tasks = (world: World): Task[] => [...world.model.tasks.values()].sort((a, b) => a.slot - b.slot);
const nodesOf = (world: World): string[] => tasks(world).map((t) => world.model.nodes.get(t.nodeId)?.name ?? '?');
const image = (n: number) => ({ replicas: 3, container: { image: `a:${n}` } });
const reasonOf = (world: World, stack: string, service: string): string => {
  const record = world.model.stacks.get(stack);
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};

describe('services into tasks', () => {
  it('spreads by service, then by load, then by name; leaves out nodes that are not ready', () => {
    const world = new World(['c', 'a', 'b']);
    world.up(stackOf('s', { web: 4 }));
    world.settle();
    expect(nodesOf(world)).toEqual(['a', 'b', 'c', 'a']);
    world.setNodeState('b', 'down');
    world.up(stackOf('t', { db: 2 }));
    world.settle();
    expect(
      nodesOf(world)
        .filter((_, i) => tasks(world)[i]?.stack === 't')
        .sort(),
    ).toEqual(['a', 'c']);
  });

  it('gives tasks the low end of the subnet, nodes and VIPs the high end', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: 2, db: 1 }));
    world.tick();
    const id = [...world.model.networks.keys()][0] ?? '';
    expect(
      tasks(world)
        .map((t) => t.endpoints[0]?.ipv4)
        .sort(),
    ).toEqual(['10.128.0.2', '10.128.0.3', '10.128.0.4']);
    expect(tasks(world)[0]?.endpoints[0]?.mac).toBe('02:42:0a:80:00:02');
    const high = [...(world.model.nodeAddresses.get(id)?.values() ?? []), ...(world.model.vips.get(id)?.values() ?? [])]
      .map((r) => r.ipv4)
      .sort();
    expect(high).toEqual(['10.128.0.251', '10.128.0.252', '10.128.0.253', '10.128.0.254']);
  });

  it('twenty replicas are one transaction', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: 20 }));
    const before = world.revision;
    expect(world.tick()).toBe(20);
    expect(world.revision - before).toBe(1);
  });

  it('replaces running tasks one at a time, each in its slot with its address; broken ones at once', () => {
    const world = new World(['a', 'b', 'c']);
    world.up(stackOf('s', { web: image(1) }));
    world.settle();
    const addresses = tasks(world).map((t) => t.endpoints[0]?.ipv4);
    const ids = tasks(world).map((t) => t.id);
    world.up(stackOf('s', { web: image(2) }));
    world.tick();
    expect(tasks(world).map((t) => t.desired)).toEqual(['stop', 'run', 'run']);
    expect(world.tick()).toBe(0);
    world.report(ids[0] ?? '', 'stopped');
    world.tick();
    // Gone and made again in one step; the next waits until this one runs.
    expect(tasks(world).map((t) => t.container.image)).toEqual(['a:2', 'a:1', 'a:1']);
    expect(world.model.tombstones.get(world.nodeId('a'))?.get(ids[0] ?? '')?.reason).toBe('the service changed');
    expect(world.tick()).toBe(0);
    world.report(tasks(world)[0]?.id ?? '', 'failed');
    expect(world.tick()).toBe(0);
    // A corrected file: the broken one goes at once, the running ones still one by one.
    world.up(stackOf('s', { web: image(3) }));
    world.tick();
    expect(tasks(world).map((t) => t.desired)).toEqual(['stop', 'run', 'run']);
    world.settle();
    expect(tasks(world).map((t) => t.container.image)).toEqual(['a:3', 'a:3', 'a:3']);
    expect(tasks(world).map((t) => t.endpoints[0]?.ipv4)).toEqual(addresses);
  });

  it('scaling touches only the slots that come and go', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: 4 }));
    world.settle();
    const before = tasks(world).map((t) => t.id);
    world.up(stackOf('s', { web: 2 }));
    world.settle();
    expect(tasks(world).map((t) => t.id)).toEqual(before.slice(0, 2));
    world.up(stackOf('s', { web: 3 }));
    world.settle();
    expect(
      tasks(world)
        .map((t) => t.id)
        .slice(0, 2),
    ).toEqual(before.slice(0, 2));
    // The slot's own address was resting: it has it back.
    expect(tasks(world)[2]?.endpoints[0]?.ipv4).toBe('10.128.0.4');
  });

  it('a released address rests before another owner gets it', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 2, db: 0 }));
    world.settle();
    world.up(stackOf('s', { web: 1, db: 0 }));
    world.settle();
    world.up(stackOf('s', { web: 1, db: 1 }));
    world.settle();
    expect(tasks(world).find((t) => t.service === 'db')?.endpoints[0]?.ipv4).toBe('10.128.0.4');
    world.now += 31_000;
    world.up(stackOf('s', { web: 1, db: 2 }));
    world.settle();
    expect(tasks(world).find((t) => t.service === 'db' && t.slot === 2)?.endpoints[0]?.ipv4).toBe('10.128.0.3');
  });

  it('keeps a service with data on the node where its data is', () => {
    const world = new World(['a', 'b', 'c']);
    const db = (n: number) => ({ db: { container: { image: `db:${n}`, mounts: [{ type: 'volume', source: 's_d', target: '/d' }] } } });
    world.up(stackOf('s', db(1)));
    world.settle();
    expect(nodesOf(world)).toEqual(['a']);
    world.up(stackOf('fill', { x: 3 }));
    world.settle();
    world.up(stackOf('fill', { x: 1 }));
    world.settle();
    world.up(stackOf('s', db(2)));
    world.settle();
    expect(world.model.nodes.get(world.model.tasksOfService('s', 'db')[0]?.nodeId ?? '')?.name).toBe('a');
  });

  it('says what it waits for, and goes on when it can', () => {
    const world = new World(['a', 'b']);
    world.setNodeState('a', 'down');
    world.up(stackOf('s', { web: 1 }));
    world.setNodeState('b', 'down');
    expect(world.tick()).toBe(0);
    expect(reasonOf(world, 's', 'web')).toBe('no node can take it (2 nodes: 2 down)');
    world.setNodeState('a', 'ready');
    world.tick();
    expect(reasonOf(world, 's', 'web')).toBe('waiting for its node');
    world.settle();
    expect(reasonOf(world, 's', 'web')).toBe('');
  });

  it('an exhausted network is an error that names it, and only its own services wait', () => {
    const world = new World(['a'], 29);
    // Fits by count (5 addresses), but two addresses are still resting for others.
    world.up(stackOf('s', { web: 2 }));
    world.settle();
    world.up(stackOf('s', { db: 3 }));
    world.up(stackOf('t', { x: 1 }));
    world.settle();
    expect(reasonOf(world, 's', 'db')).toContain('network s_default (10.128.0.0/29) has no free address');
    expect(reasonOf(world, 't', 'x')).toBe('');
    world.now += 31_000;
    for (let i = 0; i < 5; i++) world.apply(planCleanup(world.model, world.now));
    world.now += 31_000;
    world.settle();
    expect(reasonOf(world, 's', 'db')).toBe('');
  });

  it('names stay host names, however long stack and service are called', () => {
    const container = containerWishSchema.parse({ image: 'busybox' });
    const nameOf = (stack: string, name: string, slot: number) => taskName(stack, { name, container }, slot);
    expect(nameOf('shop', 'web', 3)).toBe('shop-web-3');
    const long = nameOf('s'.repeat(60), 'w'.repeat(60), 12);
    expect(long).toHaveLength(63);
    expect(long).not.toBe(nameOf('s'.repeat(60), 'w'.repeat(59), 12));
  });

  it('what cannot be read is left alone: a task holds its slot and address, a stack its tasks', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 2 }));
    world.settle();
    const [first] = tasks(world) as [Task];
    world.write({ put: keys.task(first.id), value: 'nonsense' });
    world.write({ put: keys.lease(first.endpoints[0]?.networkId ?? '', '10.128.0.2'), value: '{"kind":7}' });
    world.up(stackOf('s', { web: 3 }));
    world.settle();
    expect(tasks(world).map((t) => [t.slot, t.endpoints[0]?.ipv4])).toEqual([
      [2, '10.128.0.3'],
      [3, '10.128.0.4'],
    ]);
    world.write({ put: keys.stack('s'), value: '[]' });
    expect(planServices(world.model, world.newId, world.now).units).toEqual([]);
    expect(planCleanup(world.model, world.now + 100_000)).toEqual([]);
    expect([...world.model.corrupt.keys()].length).toBe(3);
  });
});

describe('node states', () => {
  it('buries nobody in doubt, and nobody who never came', () => {
    const world = new World(['a']);
    const b = world.addNode('b');
    world.write({ delete: keys.nodeSession(world.nodeId('a')) }, { delete: keys.nodeSession(b) }, { delete: keys.nodeState(b) });
    const [none, all] = [new Set<string>(), new Set(world.model.nodes.keys())];
    expect(planNodeStates(world.model, none, 1)).toEqual([]);
    world.apply(planNodeStates(world.model, all, 1));
    expect([...world.model.nodeStates.values()]).toEqual([{ nodeId: world.nodeId('a'), state: 'down', since: 1 }]);
    world.write({ put: keys.nodeSession(b), value: 'k' });
    world.apply(planNodeStates(world.model, none, 2));
    expect(world.model.nodeStates.get(b)).toMatchObject({ state: 'ready', since: 2 });
    expect(planNodeStates(world.model, all, 3)).toEqual([]);
  });
});
