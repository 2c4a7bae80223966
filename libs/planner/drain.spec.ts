import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Task } from '#model/task.js';
import { confirmationOf, DEFAULT_DRAIN_MS, drainedAt, isDrained } from './drain.js';
import { viewOf } from './node-view-of.js';
import { planServices } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

/** Two nodes, a served service, and one task of it that was just told to stop. */
function draining(): { world: World; going: Task; since: number } {
  const world = new World(['a', 'b']);
  world.up(stackOf('s', { web: 2 }));
  world.settle();
  world.up(stackOf('s', { web: 1 }));
  world.tick();
  const [id = ''] = world.model.draining;
  const going = world.model.tasks.get(id);
  if (!going) throw new Error('nothing drains');
  return { world, going, since: drainedAt(world.model, going) };
}

const confirm = (world: World, controller: string, nodes: Record<string, number>): void =>
  world.write({ put: keys.confirmation(controller), value: encode({ nodes }) });

const seenBy = (world: World, task: Task): Task | undefined =>
  viewOf(world.model, task.nodeId).flatMap((r) => (r.kind === 'task' && r.value.id === task.id ? [r.value] : []))[0];

describe('a draining task', () => {
  it('is drained once every node that is heard has got as far, whichever controller says so', () => {
    const { world, going, since } = draining();
    expect(isDrained(world.model, going)).toBe(false);
    confirm(world, 'k1', { '1': since, '2': since - 1 });
    expect(isDrained(world.model, going)).toBe(false);
    expect(seenBy(world, going)).not.toHaveProperty('drained');
    confirm(world, 'k2', { '2': since });
    expect(isDrained(world.model, going)).toBe(true);
    expect(seenBy(world, going)).toMatchObject({ id: going.id, drained: true });
  });

  it('with names that are answered with its own address drains for as long as an answer holds, or longer', () => {
    const drainMs = (more: Parameters<typeof stackOf>[1][string]): number | undefined => {
      const world = new World(['a', 'b']);
      world.up(stackOf('s', { web: more }));
      world.settle();
      world.up(stackOf('s', { web: { ...(more as object), replicas: 1 } }));
      world.tick();
      return world.model.tasks.get([...world.model.draining][0] ?? '')?.drainMs;
    };
    expect(drainMs({ replicas: 2, drainMs: 700 })).toBe(700);
    expect(drainMs({ replicas: 2, endpointMode: 'dnsrr' })).toBe(5_000);
    expect(drainMs({ replicas: 2, endpointMode: 'dnsrr', dnsTtlSeconds: 30, drainMs: 700 })).toBe(30_000);
    expect(drainMs({ replicas: 2, endpointMode: 'dnsrr', dnsTtlSeconds: 1, drainMs: 7_000 })).toBe(7_000);
  });

  it('does not wait for a node that is not heard', () => {
    const { world, going, since } = draining();
    confirm(world, 'k1', { '1': since });
    expect(isDrained(world.model, going)).toBe(false);
    world.setNodeState('b', 'down');
    expect(isDrained(world.model, going)).toBe(true);
  });

  it('is forgotten by the index when its record goes', () => {
    const { world, going } = draining();
    expect([...world.model.draining]).toEqual([going.id]);
    world.write({ delete: keys.task(going.id) });
    expect([...world.model.draining]).toEqual([]);
  });
});

describe('an endpoint that leaves', () => {
  it('keeps its wire until every node has taken it out, 10 s at most, and the drain time more', () => {
    const { world, task, networkId } = leaving();
    const hasIt = () => world.model.tasks.get(task)?.endpoints.some((e) => e.networkId === networkId);
    const plan = () => world.apply(planServices(world.model, world.newId, world.now).units);
    world.now += 2 * DEFAULT_DRAIN_MS;
    expect(plan()).toBe(0);
    expect(hasIt()).toBe(true);
    confirm(world, 'k1', { '1': world.revision });
    expect(plan()).toBe(1);
    expect(hasIt()).toBe(true);
    world.now += DEFAULT_DRAIN_MS - 1;
    expect(plan()).toBe(0);
    world.now += 1;
    expect(plan()).toBe(1);
    expect(hasIt()).toBe(false);
    const deaf = leaving();
    deaf.world.now += 10_000 + DEFAULT_DRAIN_MS;
    expect(deaf.world.apply(planServices(deaf.world.model, deaf.world.newId, deaf.world.now).units)).toBe(1);
  });

  /** One node, one task, and a network of it that its service has just been taken from. */
  function leaving(): { world: World; task: string; networkId: string } {
    const world = new World(['a']);
    const on = (...networks: string[]) => ({ web: { replicas: 1, networks: Object.fromEntries(networks.map((n) => [n, {}])) } });
    const networks = Object.fromEntries(['front', 'back'].map((key) => [key, { key, name: `s_${key}` }]));
    world.up(stackOf('s', on('front', 'back'), { networks }));
    world.settle();
    world.up(stackOf('s', on('front'), { networks }));
    world.tick();
    const [task = ''] = world.model.draining;
    const networkId = world.model.tasks.get(task)?.endpoints.find((e) => e.leavingSince !== undefined)?.networkId ?? '';
    return { world, task, networkId };
  }
});

describe('what a controller writes down', () => {
  const [a, b] = ['a', 'b'];

  it('is nothing while nobody drains, or nobody would learn from it', () => {
    const { world, since } = draining();
    const at = (name: string, revision: number): [string, number] => [world.nodeId(name), revision];
    expect(confirmationOf(world.model, [at(a, since - 1), at(b, 0)])).toBeUndefined();
    confirm(world, 'k1', { '1': since });
    expect(confirmationOf(world.model, [at(a, since + 5)])).toBeUndefined();
    expect(confirmationOf(world.model, [['ffffffff', since]])).toBeUndefined();
    const quiet = new World(['a']);
    expect(confirmationOf(quiet.model, [[quiet.nodeId('a'), 9]])).toBeUndefined();
  });

  it('is how far each of its nodes is, all in one', () => {
    const { world, since } = draining();
    const said = confirmationOf(world.model, [
      [world.nodeId(a), since + 2],
      [world.nodeId(b), since - 1],
    ]);
    expect(said).toEqual({ nodes: { '1': since + 2, '2': since - 1 } });
  });
});
