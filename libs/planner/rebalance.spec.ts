import fc from 'fast-check';
import type { Task } from '#model/task.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import type { RebalancePlan } from './rebalance.js';
import { stackOf, World } from './spec-kit.js';

const GIB = 2 ** 30;
const FAST = { parallelism: 1, delayMs: 0, monitorMs: 0, maxFailureRatio: 0, onFailure: 'pause', order: 'stop-first' };

const live = (world: World): Task[] => [...world.model.tasks.values()].filter((t) => !t.orphan && t.desired === 'run');
const told = ({ moves }: RebalancePlan): string[] => moves.map((m) => `${m.task.name} ${m.from.name}→${m.to.name}`);
const reasonOf = (world: World, service = 'web'): string => {
  const record = world.model.stacks.get('s');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};

/** Node → tasks of a service there; of all when left out. */
function counts(world: World, service?: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name } of world.model.nodes.values()) found[name] = 0;
  for (const t of live(world)) {
    const name = world.model.nodes.get(t.nodeId)?.name ?? '?';
    if (service === undefined || t.service === service) found[name] = (found[name] ?? 0) + 1;
  }
  return found;
}

/** A stack that came up on `before`, and then more nodes came. */
function grown(services: Record<string, number | Record<string, unknown>>, before: readonly string[], after: readonly string[]): World {
  const world = new World();
  const add = (name: string) => world.addNode(name, { cpus: 4, memoryBytes: GIB });
  before.forEach(add);
  world.up(stackOf('s', services));
  world.settle();
  after.forEach(add);
  world.settle();
  // An update watches what is newer than itself.
  world.now += 10_000;
  return world;
}

describe('after nodes came', () => {
  it('nothing moves without the command, and with it the least that makes it even', () => {
    const world = grown({ web: 6, db: 1 }, ['a', 'b'], ['c']);
    expect(counts(world, 'web')).toEqual({ a: 3, b: 3, c: 0 });
    const plan = world.rebalance();
    expect(told(plan)).toEqual(['s-web-5 a→c', 's-web-6 b→c']);
    expect(plan.moves.map((m) => m.why)).toEqual(['a has 3 of web, c has 0', 'b has 3 of web, c has 1']);
    const stayed = live(world).filter((t) => !world.model.moves.has(t.id));
    world.settle();
    expect(counts(world, 'web')).toEqual({ a: 2, b: 2, c: 2 });
    expect(live(world).filter((t) => stayed.some((s) => s.id === t.id))).toHaveLength(stayed.length);
    expect(world.rebalance()).toEqual({ moves: [], unmoved: [], units: [] });
  });

  it('one stack, or some of its services, and no others', () => {
    const world = grown({ web: 4, api: 4 }, ['a'], ['b']);
    world.up(stackOf('t', { web: 1 }));
    world.settle();
    expect(told(world.rebalance('t'))).toEqual([]);
    expect(told(world.rebalance('s', ['api']))).toEqual(['s-api-4 a→b', 's-api-3 a→b']);
    world.settle();
    expect([counts(world, 'api'), live(world).filter((t) => t.stack === 's' && t.service === 'web').length]).toEqual([{ a: 2, b: 2 }, 4]);
    expect(() => world.rebalance('nosuch')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => world.rebalance('s', ['nosuch'])).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  it('tasks that do not run go first', () => {
    const world = grown({ web: 4 }, ['a'], ['b']);
    world.report(live(world).find((t) => t.slot === 2)?.id ?? '', 'failed');
    expect(told(world.rebalance())).toEqual(['s-web-2 a→b', 's-web-4 a→b']);
  });

  it('preferences first: groups, then the nodes within them', () => {
    const world = new World();
    for (const [name, zone] of [
      ['a', '1'],
      ['b', '1'],
      ['c', '2'],
      ['d', '2'],
    ] as const) {
      world.addNode(name);
      world.changeNode(name, { labels: { zone }, ...(zone === '2' ? { availability: 'pause' as const } : {}) });
    }
    world.up(stackOf('s', { web: { replicas: 6, placement: { spread: ['node.labels.zone'] } } }));
    world.settle();
    for (const name of ['c', 'd']) world.changeNode(name, { availability: 'active' });
    const plan = world.rebalance();
    expect(plan.moves.map((m) => m.why)).toEqual([
      'node.labels.zone 1 has 6 of web, 2 has 0',
      'node.labels.zone 1 has 5 of web, 2 has 1',
      'node.labels.zone 1 has 4 of web, 2 has 2',
    ]);
    world.settle();
    expect(Object.values(counts(world)).sort()).toEqual([1, 1, 2, 2]);
    expect(told(world.rebalance())).toEqual([]);
  });
});

describe('filters hold', () => {
  it('nodes that take nothing, do not fit or are full get nothing', () => {
    const world = grown({ web: { replicas: 4, placement: { constraints: ['node.labels.no != yes'] } } }, ['a'], ['b', 'c', 'd', 'e']);
    world.changeNode('b', { availability: 'drain' });
    world.changeNode('c', { availability: 'pause' });
    world.changeNode('d', { labels: { no: 'yes' } });
    world.setNodeState('e', 'down');
    expect(told(world.rebalance())).toEqual([]);
  });

  it('reservations and max_replicas_per_node; what stays uneven says why', () => {
    const web = { replicas: 4, reservations: { memoryBytes: GIB / 4 } };
    const world = grown({ web }, ['a'], []);
    world.addNode('b', { cpus: 4, memoryBytes: GIB / 4 });
    const plan = world.rebalance();
    expect(told(plan)).toEqual(['s-web-4 a→b']);
    expect(plan.unmoved).toEqual([{ stack: 's', service: 'web', why: 'a has 3, b has 1 and can have no more (lack memory)' }]);
    world.settle();
    expect(counts(world)).toEqual({ a: 3, b: 1 });
  });

  it('room that one service gives up is taken by another, one after the other', () => {
    const half = { replicas: 2, reservations: { memoryBytes: GIB / 2 } };
    const world = new World();
    world.addNode('a', { memoryBytes: GIB });
    world.up(stackOf('s', { x: half }));
    world.settle();
    world.addNode('b', { memoryBytes: GIB });
    world.up(stackOf('s', { x: half, y: half }));
    world.settle();
    expect([counts(world, 'x'), counts(world, 'y')]).toEqual([
      { a: 2, b: 0 },
      { a: 0, b: 2 },
    ]);
    // Both nodes are full: nobody can begin.
    expect(told(world.rebalance())).toEqual([]);
    world.addNode('c', { memoryBytes: GIB / 2 });
    expect(told(world.rebalance())).toEqual(['s-x-2 a→c', 's-y-2 b→a']);
    world.tick();
    expect(reasonOf(world, 'y')).toBe('moves to node a when there is room (lack memory)');
    world.settle();
    expect([counts(world, 'x'), counts(world, 'y')]).toEqual([
      { a: 1, b: 0, c: 1 },
      { a: 1, b: 1, c: 0 },
    ]);
    expect(reasonOf(world, 'y')).toBe('');
  });

  it.each([
    ['it is global', { mode: 'global' }],
    ['it is a job', { mode: 'replicated-job', replicas: 4 }],
    ['its data is on the nodes', { replicas: 4, container: { image: 'x', mounts: [{ type: 'volume', source: 's_v', target: '/v' }] } }],
    ['its data is on the nodes', { replicas: 4, container: { image: 'x', mounts: [{ type: 'bind', source: '/srv', target: '/v' }] } }],
  ])('%s, and stays', (why, service) => {
    const world = grown({ web: service }, ['a'], ['b']);
    expect(world.rebalance().moves).toEqual([]);
    expect(world.rebalance('s', ['web'])).toMatchObject({ moves: [], unmoved: [{ why: expect.stringContaining(why) }], units: [] });
  });

  it('services in one namespace stay together', () => {
    const side = { replicas: 4, networks: {}, networkMode: { kind: 'service', service: 'web' } };
    const world = grown({ web: 4, side }, ['a'], ['b']);
    expect(world.rebalance('s', ['web', 'side']).unmoved.map((u) => u.why)).toEqual([
      'side is joined to it, and would have to go along',
      'it is on the node of what it is joined to',
    ]);
  });

  it('one thing after another: what changes, is updated or stopped is left alone', () => {
    const world = grown({ web: { replicas: 4, update: FAST } }, ['a'], ['b']);
    world.up(stackOf('s', { web: { replicas: 4, update: FAST, container: { image: 'other' } } }));
    expect(world.rebalance().unmoved[0]?.why).toMatch(/it is changing/);
    world.tick();
    expect(world.rebalance()).toMatchObject({ moves: [], unmoved: [{ why: 'its update is updating' }] });
  });
});

describe('the tasks move as in an update', () => {
  /** The most and the fewest that ran, and the most that were there, while it went on. */
  function watch(world: World): { fewest: number; most: number } {
    const seen = { fewest: Infinity, most: 0 };
    for (let i = 0; i < 100; i++) {
      const changed = world.tick() > 0;
      const running = live(world).filter((t) => world.model.statuses.get(t.id)?.state === 'running').length;
      seen.fewest = Math.min(seen.fewest, running);
      seen.most = Math.max(seen.most, live(world).length);
      for (const t of world.model.tasks.values()) world.report(t.id, t.desired === 'stop' ? 'stopped' : 'running');
      world.now += 1_000;
      if (!changed && world.model.moves.size === 0) break;
    }
    return seen;
  }

  it('stop-first: one at a time; start-first: beside, so that none is missing', () => {
    const alone = grown({ web: 4 }, ['a'], ['b']);
    alone.rebalance();
    expect(watch(alone)).toEqual({ fewest: 3, most: 4 });
    const wide = grown({ web: { replicas: 4, update: { ...FAST, parallelism: 2 } } }, ['a'], ['b']);
    wide.rebalance();
    expect(watch(wide)).toEqual({ fewest: 2, most: 4 });
    const beside = grown({ web: { replicas: 4, update: { ...FAST, order: 'start-first' } } }, ['a'], ['b']);
    beside.rebalance();
    expect(watch(beside)).toEqual({ fewest: 4, most: 5 });
    for (const world of [alone, wide, beside]) {
      expect(counts(world)).toEqual({ a: 2, b: 2 });
      expect(world.model.updates.size).toBe(0);
    }
  });

  it('a move that fails pauses the rest; nothing is rolled back, and nothing moves until the next command', () => {
    const update = { ...FAST, onFailure: 'rollback', monitorMs: 5_000 };
    const world = grown({ web: { replicas: 4, update } }, ['a'], ['b']);
    const before = world.model.stacks.get('s');
    world.rebalance();
    world.tick();
    const gone = [...world.model.tasks.values()].find((t) => t.desired === 'stop');
    expect(gone?.stopReason).toBe('rebalanced by command');
    world.report(gone?.id ?? '', 'stopped');
    for (let i = 0; i < 3; i++) world.tick();
    const next = live(world).find((t) => t.slot === gone?.slot);
    expect(next?.nodeId).toBe(world.nodeId('b'));
    world.report(next?.id ?? '', 'failed');
    for (let i = 0; i < 3; i++) world.tick();
    expect(world.model.updates.get('s/web')).toMatchObject({ state: 'paused', moves: true });
    expect(world.model.stacks.get('s')).toEqual(before);
    expect(world.model.moves.size).toBe(0);
    world.report(next?.id ?? '', 'running');
    world.up(stackOf('s', { web: { replicas: 4, update } }));
    world.settle();
    expect(counts(world)).toEqual({ a: 3, b: 1 });
    world.now += 10_000;
    expect(told(world.rebalance())).toHaveLength(1);
    world.settle();
    expect(counts(world)).toEqual({ a: 2, b: 2 });
  });

  it('a mark goes where the move cannot be made any more, and does not come to life later', () => {
    const world = grown({ web: { replicas: 4, update: { ...FAST, delayMs: 60_000 } } }, ['a'], ['b']);
    world.rebalance();
    world.tick();
    expect(live(world).filter((t) => world.model.moves.has(t.id))).toHaveLength(1);
    world.changeNode('b', { availability: 'pause' });
    world.settle();
    world.changeNode('b', { availability: 'active' });
    world.settle();
    expect(world.model.moves.size).toBe(0);
    expect(counts(world)).toEqual({ a: 4, b: 0 });
  });

  it('a task whose node dies on the way is replaced as ever', () => {
    const world = grown({ web: 4 }, ['a'], ['b', 'c']);
    world.rebalance();
    world.tick();
    world.setNodeState('a', 'down');
    world.settle();
    expect(live(world)).toHaveLength(4);
    expect(counts(world)).toMatchObject({ a: 0, b: 2, c: 2 });
  });
});

describe('whatever the cluster', () => {
  const service = fc.record({
    replicas: fc.nat(7),
    memory: fc.constantFrom(0, 0, 1, 2),
    most: fc.constantFrom(undefined, undefined, 2, 3),
    zones: fc.boolean(),
    port: fc.constantFrom(false, false, false, true),
    order: fc.constantFrom('stop-first', 'start-first'),
    constrained: fc.constantFrom(false, false, true),
  });
  const node = fc.record({ memory: fc.integer({ min: 2, max: 8 }), zone: fc.nat(1), ssd: fc.boolean(), late: fc.boolean() });

  const wishOf = (s: typeof service extends fc.Arbitrary<infer T> ? T : never, i: number): Record<string, unknown> => ({
    replicas: s.replicas,
    ...(s.memory > 0 ? { reservations: { memoryBytes: s.memory * GIB } } : {}),
    placement: {
      ...(s.most === undefined ? {} : { maxReplicasPerNode: s.most }),
      ...(s.zones ? { spread: ['node.labels.zone'] } : {}),
      ...(s.constrained ? { constraints: ['node.labels.disk == ssd'] } : {}),
    },
    ...(s.port ? { ports: [{ target: 80, published: 9000 + (i % 2), protocol: 'tcp', mode: 'host' }] } : {}),
    update: { ...FAST, order: s.order },
  });

  /** Of tasks on nodes that are all alike: what is above an even share has to go. */
  function fewestMoves(tasks: readonly number[]): number {
    const all = tasks.reduce((sum, n) => sum + n, 0);
    const [share, more] = [Math.floor(all / tasks.length), all % tasks.length];
    return [...tasks].sort((a, b) => b - a).reduce((sum, n, i) => sum + Math.max(0, n - share - (i < more ? 1 : 0)), 0);
  }

  /** What every node has is what it can have. */
  function expectFeasible(world: World): void {
    for (const { id, name, labels } of world.model.nodes.values()) {
      const here = live(world).filter((t) => t.nodeId === id);
      const used = here.reduce((sum, t) => sum + (t.reservations?.memoryBytes ?? 0), 0);
      expect({ name, fits: used <= (world.model.facts.get(id)?.memoryBytes ?? 0) }).toEqual({ name, fits: true });
      const ports = here.flatMap((t) => t.ports.map((p) => p.published));
      expect(new Set(ports).size).toBe(ports.length);
      for (const t of here) {
        const { placement } = world.model.stacks.get('s')?.spec.services[t.service] ?? {};
        if (placement?.constraints?.length) expect(labels['disk']).toBe('ssd');
        expect(here.filter((other) => other.service === t.service).length).toBeLessThanOrEqual(placement?.maxReplicasPerNode ?? Infinity);
      }
    }
  }

  it('a second rebalance plans nothing, no node gets what it cannot have, nothing is lost, and no more moves than needed', () => {
    fc.assert(
      fc.property(fc.array(service, { minLength: 1, maxLength: 4 }), fc.array(node, { minLength: 2, maxLength: 5 }), (services, nodes) => {
        const world = new World();
        const add = (n: (typeof nodes)[number], i: number): void => {
          world.addNode(`n${i}`, { cpus: 64, memoryBytes: n.memory * GIB });
          world.changeNode(`n${i}`, { labels: { zone: String(n.zone), ...(n.ssd ? { disk: 'ssd' } : {}) } });
        };
        nodes.forEach((n, i) => (n.late ? undefined : add(n, i)));
        if (world.model.nodes.size === 0) return;
        try {
          world.up(stackOf('s', Object.fromEntries(services.map((s, i) => [`w${i}`, wishOf(s, i)]))));
        } catch (error) {
          if ((error as { code?: string }).code === 'NO_NODES') return;
          throw error;
        }
        world.settle();
        const whole = (name: string): boolean =>
          live(world).filter((t) => t.service === name).length === (world.model.stacks.get('s')?.spec.services[name]?.replicas ?? 0);
        // What waits for room may find some when others have moved, and that is no move.
        if (!services.every((_, i) => whole(`w${i}`))) return;
        nodes.forEach((n, i) => (n.late ? add(n, i) : undefined));
        const before = live(world).length;
        const plan = world.rebalance();
        for (const [i, s] of services.entries()) {
          if (s.memory > 0 || s.most !== undefined || s.zones || s.port || s.constrained) continue;
          expect(plan.moves.filter((m) => m.task.service === `w${i}`)).toHaveLength(fewestMoves(Object.values(counts(world, `w${i}`))));
        }
        for (const { task, to } of plan.moves) expect(task.nodeId).not.toBe(to.id);
        world.settle();
        expectFeasible(world);
        expect(live(world).length).toBe(before);
        for (const { task, to } of plan.moves) expect(live(world).find((t) => t.name === task.name)).toMatchObject({ nodeId: to.id });
        expect(told(world.rebalance())).toEqual([]);
        expect(world.model.moves.size).toBe(0);
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});
