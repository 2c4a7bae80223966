import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { cutOffAfterMs, deadAfterOf, goesOnForMs } from '#model/node-death.js';
import type { Task } from '#model/task.js';
import { DeathWatch } from './death-watch.js';
import { placementTroubles, planServices, waitingReason } from './plan-services.js';
import { ServicesPlanner } from './services-planner.js';
import { stackOf, World } from './spec-kit.js';
import { graceOf, Suspicion } from './suspicion.js';

const nodeOf = (world: World, t: Task): string => world.model.nodes.get(t.nodeId)?.name ?? '?';
const live = (world: World): Task[] => [...world.model.tasks.values()].filter((t) => !t.orphan).sort((a, b) => a.slot - b.slot);
const orphans = (world: World): Task[] => [...world.model.tasks.values()].filter((t) => t.orphan);
const places = (world: World): string[] => live(world).map((t) => nodeOf(world, t));
const addresses = (tasks: readonly Task[]): string[] => tasks.map((t) => t.endpoints[0]?.ipv4 ?? '');
const reasonOf = (world: World, stack: string, service: string): string => {
  const record = world.model.stacks.get(stack);
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};
const volume = (name: string) => ({ container: { image: 'db', mounts: [{ type: 'volume', source: name, target: '/d' }] } });

function settled(nodes: string[], services: Parameters<typeof stackOf>[1]): World {
  const world = new World(nodes);
  world.up(stackOf('s', services));
  world.settle();
  return world;
}

describe('a node that dies', () => {
  it('its tasks run elsewhere with other addresses; it holds theirs until it comes back and confirms', () => {
    const world = settled(['a', 'b'], { web: 2 });
    const old = addresses(live(world).filter((t) => nodeOf(world, t) === 'b'));
    world.setNodeState('b', 'down');
    world.settle();
    expect(places(world)).toEqual(['a', 'a']);
    expect(addresses(live(world))).not.toContain(old[0]);
    expect(addresses(orphans(world))).toEqual(old);
    expect(reasonOf(world, 's', 'web')).toBe('');
    expect(planServices(world.model, world.newId, world.now).units).toEqual([]);
    world.now += 600_000;
    world.up(stackOf('s', { web: 5 }));
    world.settle();
    expect(addresses(live(world))).not.toContain(old[0]);
    // Back again: first what was replaced ends; until then nothing new is placed there.
    world.setNodeState('b', 'ready');
    world.up(stackOf('s', { web: 6 }));
    world.tick();
    expect(places(world)).toEqual(Array.from({ length: 6 }, () => 'a'));
    const [orphan] = orphans(world) as [Task];
    world.settle();
    expect(orphans(world)).toEqual([]);
    expect(world.model.tombstones.get(world.nodeId('b'))?.get(orphan.id)?.reason).toContain('declared dead');
    world.up(stackOf('s', { web: 7 }));
    world.settle();
    expect(places(world)[6]).toBe('b');
  });

  it('is removed: its addresses rest, and are free then', () => {
    const world = settled(['a', 'b'], { web: 2 });
    world.setNodeState('b', 'down');
    world.settle();
    const [orphan] = orphans(world) as [Task];
    world.write({ delete: keys.node(world.nodeId('b')) });
    world.settle();
    expect(orphans(world)).toEqual([]);
    const { networkId = '', ipv4 = '' } = orphan.endpoints[0] ?? {};
    expect(world.model.leases.get(networkId)?.get(ipv4)?.restsUntil).toBeGreaterThan(world.now);
  });

  it('keeps what has its data there, and says so; a volume is never made anew elsewhere', () => {
    const world = settled(['a', 'b'], { db: volume('s_d') });
    expect(places(world)).toEqual(['a']);
    world.setNodeState('a', 'down');
    world.settle();
    expect(places(world)).toEqual(['a']);
    expect(reasonOf(world, 's', 'db')).toBe('node a is down, and volume s_d of s-db-1 is there');
    world.setNodeState('a', 'ready');
    world.settle();
    expect(reasonOf(world, 's', 'db')).toBe('');
    // Given up with its node, it is no more said to run; that its data is lost is said on.
    world.setNodeState('a', 'down');
    world.write({ delete: keys.node(world.nodeId('a')) });
    world.settle();
    expect(world.model.tasks.size).toBe(0);
    expect(reasonOf(world, 's', 'db')).toContain('volume s_d was on a node that is not in the cluster any more');
  });

  it('dies at the moment it comes back: what is decided on the old state is refused', () => {
    const world = settled(['a', 'b'], { web: 2 });
    world.setNodeState('b', 'down');
    const { units } = planServices(world.model, world.newId, world.now);
    world.setNodeState('b', 'ready');
    expect(world.apply(units)).toBe(0);
    expect(orphans(world)).toEqual([]);
  });

  it('with a static address on it: the service waits until the address is free, and names who holds it', () => {
    const world = new World(['a', 'b']);
    const ipam = { networks: { default: { key: 'default', name: 's_default', ipam: [{ subnet: '10.9.0.0/24' }] } } };
    world.up(stackOf('s', { db: { networks: { default: { ipv4: '10.9.0.9' } } } }, ipam));
    world.settle();
    world.setNodeState('a', 'down');
    world.settle();
    expect(places(world)).toEqual(['a']);
    expect(reasonOf(world, 's', 'db')).toMatch(/task s-db-1 \(service s\/db, node ., which is down\) holds it/);
    world.setNodeState('a', 'ready');
    world.settle();
    expect(reasonOf(world, 's', 'db')).toBe('');
  });
});

describe('a service that stops on partition', () => {
  const stopping = { replicas: 2, onPartition: 'stop', container: { image: 'a', stopGraceMs: 5_000 } };

  it('is placed elsewhere once what may be left of it on a dead node has had the time to stop', () => {
    const world = settled(['a', 'b'], { web: stopping, api: 2 });
    const [first] = world.model.tasksOfService('s', 'web').filter((t) => t.nodeId === world.nodeId('a'));
    expect(first?.onPartition).toBe('stop');
    world.setNodeState('a', 'down');
    world.tick();
    const placesOf = (service: string) =>
      world.model.tasksOfService('s', service).flatMap((t) => (t.orphan ? [] : [world.model.nodes.get(t.nodeId)?.name]));
    expect([placesOf('api'), placesOf('web').sort()]).toEqual([
      ['b', 'b'],
      ['a', 'b'],
    ]);
    expect(reasonOf(world, 's', 'web')).toMatch(/node a is down: s-web-\d has its time to stop there before it starts elsewhere/);
    const { wakeAt = 0 } = planServices(world.model, world.newId, world.now);
    expect(wakeAt - world.now).toBe(goesOnForMs(first as Task));
    world.now = wakeAt - 1;
    expect(world.tick()).toBe(0);
    world.now = wakeAt;
    world.tick();
    expect(placesOf('web')).toEqual(['b', 'b']);
  });

  it('waits by the own clock of whoever leads, whatever the record of the death says; others wait for nothing', () => {
    for (const skewMs of [-3_600_000, 3_600_000]) {
      const world = settled(['a', 'b'], { web: { ...stopping, replicas: 1 }, api: 2 });
      const [task] = world.model.tasksOfService('s', 'web') as [Task];
      const nodeId = world.nodeId('a');
      expect(task.nodeId).toBe(nodeId);
      world.write(
        { delete: keys.nodeSession(nodeId) },
        { put: keys.nodeState(nodeId), value: encode({ nodeId, state: 'down', since: world.now + skewMs }) },
      );
      const leader = new ServicesPlanner(world.model);
      const whatAt = (monotonic: number) => leader.plan(world.newId, world.now, monotonic).units.map((u) => u.what);
      world.onChange = (changed) => leader.note(changed);
      world.apply(leader.plan(world.newId, world.now, 1_000).units);
      expect(world.model.tasksOfService('s', 'api').filter((t) => !t.orphan && t.nodeId === nodeId)).toEqual([]);
      leader.forget();
      expect(whatAt(1_000 + goesOnForMs(task) - 1)).toEqual([]);
      leader.forget();
      expect(whatAt(1_000 + goesOnForMs(task))).toEqual(['create s-web-1 on b']);
    }
  });

  it('is counted anew when its node was back in between', () => {
    const world = settled(['a', 'b'], { web: { ...stopping, replicas: 1 } });
    const watch = new DeathWatch();
    const nodeId = world.nodeId('a');
    watch.observe(world.model, 1_000);
    expect(watch.deadForMs(nodeId, 9_000)).toBe(0);
    world.setNodeState('a', 'down');
    watch.observe(world.model, 2_000);
    watch.observe(world.model, 5_000);
    expect(watch.deadForMs(nodeId, 9_000)).toBe(7_000);
    world.setNodeState('a', 'ready');
    world.setNodeState('a', 'down');
    watch.observe(world.model, 8_000);
    expect(watch.deadForMs(nodeId, 9_000)).toBe(1_000);
  });

  it('stays where it is when its node is back before that', () => {
    const world = settled(['a', 'b'], { web: stopping });
    const before = live(world).map((t) => t.id);
    world.setNodeState('a', 'down');
    world.tick();
    world.now += 2_000;
    world.setNodeState('a', 'ready');
    world.now += 60_000;
    world.settle();
    expect(live(world).map((t) => t.id)).toEqual(before);
  });

  it('has the time of its stop: hooks, grace period, and that of a command', () => {
    const of = (container: object, more: object = {}) =>
      goesOnForMs({ container: { stopGraceMs: 5_000, ...container }, ...more } as Pick<Task, 'container' | 'stopGraceMs'>);
    expect(of({ preStop: [] }) - of({})).toBe(5_000);
    expect(of({}, { stopGraceMs: 60_000 }) - of({})).toBe(55_000);
    expect(of({}, { stopGraceMs: 0 })).toBe(of({}));
    expect(of({})).toBeGreaterThan(5_000 + cutOffAfterMs(undefined) - deadAfterOf(undefined));
  });
});

describe('availability', () => {
  it('drain: tasks go elsewhere one at a time, while the others serve; the node ends up empty', () => {
    const world = settled(['a', 'b', 'c'], { web: 6 });
    world.changeNode('a', { availability: 'drain' });
    for (let i = 0; i < 20; i++) {
      world.tick();
      const up = live(world).filter((t) => t.desired === 'run' && world.model.statuses.get(t.id)?.state === 'running');
      expect(up.length).toBeGreaterThanOrEqual(5);
      for (const t of live(world)) world.report(t.id, t.desired === 'stop' ? 'stopped' : 'running');
    }
    expect(places(world).sort()).toEqual(['b', 'b', 'b', 'c', 'c', 'c']);
    world.changeNode('a', { availability: 'active' });
    world.settle();
    expect(places(world)).not.toContain('a');
    world.up(stackOf('s', { web: 7 }));
    world.settle();
    expect(places(world)[6]).toBe('a');
  });

  it('drain of what has its data there: it stops, waits, and says why', () => {
    const world = settled(['a', 'b'], { db: volume('s_d') });
    world.changeNode('a', { availability: 'drain' });
    world.settle();
    expect(world.model.statuses.get(live(world)[0]?.id ?? '')?.state).toBe('stopped');
    expect(reasonOf(world, 's', 'db')).toContain('its data is on node a, which is drained');
    world.changeNode('a', { availability: 'active' });
    world.settle();
    expect([places(world), reasonOf(world, 's', 'db')]).toEqual([['a'], '']);
  });

  it('pause: keeps what it has, takes nothing new', () => {
    const world = settled(['a', 'b'], { web: 2 });
    world.changeNode('b', { availability: 'pause' });
    world.up(stackOf('s', { web: 4 }));
    world.settle();
    expect(places(world)).toEqual(['a', 'b', 'a', 'a']);
    world.changeNode('a', { availability: 'pause' });
    world.up(stackOf('t', { x: 0 }));
    expect(() => world.up(stackOf('u', { x: 1 }))).toThrow(expect.objectContaining({ why: '2 nodes: 2 paused' }));
  });
});

describe('suspicion', () => {
  it('takes as long as the cluster says', () => {
    expect(graceOf(undefined, 5_000)).toEqual({ silentMs: 1_000, abandonedMs: 5_000 });
    expect(graceOf({ deadAfterMs: 30_000 }, 5_000)).toEqual({ silentMs: 27_000, abandonedMs: 31_000 });
    expect(deadAfterOf({ deadAfterMs: 30_000 })).toBe(30_000);
  });

  it('grows while a node is missed without a break, and is forgotten when it is heard', () => {
    const world = new World(['a']);
    const id = world.nodeId('a');
    const suspicion = new Suspicion();
    const look = (now: number) => suspicion.observe(world.model, now, { silentMs: 1_000, abandonedMs: 5_000 });
    expect(look(0)).toEqual({ missed: new Set(), nextMs: undefined });
    world.write({ delete: keys.nodeSession(id) });
    expect(look(100)).toEqual({ missed: new Set(), nextMs: 1_000 });
    world.write({ put: keys.nodeSession(id), value: 'k' });
    expect(look(900).missed.size).toBe(0);
    world.write({ delete: keys.nodeSession(id) });
    expect(look(1_000).nextMs).toBe(1_000);
    expect(look(1_999).nextMs).toBe(1);
    suspicion.reset();
    expect(look(2_000).missed.size).toBe(0);
    expect([...look(3_000).missed]).toEqual([id]);
  });

  it('is slower where the controller went away with the session, but for the node on its own host', () => {
    const world = new World(['a', 'b', 'c']);
    const [a, b, c] = [world.nodeId('a'), world.nodeId('b'), world.nodeId('c')];
    const address = world.model.nodes.get(b)?.address ?? '';
    const holder = 'c0c0c0c0c0c0c0c0';
    world.write({ put: keys.controller(holder), value: encode({ id: holder, name: 'k1', address, port: 7700, guardedPorts: [] }) });
    for (const id of [a, b, c]) world.write({ put: keys.nodeSession(id), value: holder });
    world.write({ put: keys.controllerSession(holder), value: holder });
    const suspicion = new Suspicion();
    const look = (now: number) => [...suspicion.observe(world.model, now, { silentMs: 1_000, abandonedMs: 5_000 }).missed];
    expect(look(0)).toEqual([]);
    // Given up by a controller that is there.
    world.write({ delete: keys.nodeSession(c) });
    expect(look(100)).toEqual([]);
    world.write({ delete: keys.nodeSession(a) }, { delete: keys.nodeSession(b) }, { delete: keys.controllerSession(holder) });
    expect(look(1_000)).toEqual([]);
    expect(look(1_100)).toEqual([c]);
    expect(look(2_000)).toEqual([b, c]);
    // Its controller comes back: that says nothing of the node.
    world.write({ put: keys.controllerSession(holder), value: holder });
    expect(look(5_999)).toEqual([b, c]);
    expect(look(6_000).sort()).toEqual([a, b, c].sort());
  });
});
