/** One-off tasks (`ctl run`) beside the services of a stack. */
import type { Stack } from '#model/stack.js';
import { namesAndVips } from './names-of.js';
import { SEEN_MS } from './one-offs.js';
import { planRemoveOneOffs, planStop } from './plan-operations.js';
import { planStack } from './plan-stack.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

const KEY = 'web-run-abc';
const oneOff = (more: object = {}, service: object = {}) => ({
  oneOff: { of: 'web', ...more },
  mode: 'replicated-job',
  endpointMode: 'dnsrr',
  restart: { condition: 'none' },
  ...service,
});

/** web and db run; then what `ctl run` asks for is stored beside them. */
function worldWith(more: object = {}, service: object = {}): World {
  const world = new World(['n1', 'n2']);
  world.up(stackOf('shop', { web: 2, db: 1 }));
  world.settle();
  run(world, stackOf('shop', { [KEY]: oneOff(more, service) } as Parameters<typeof stackOf>[1]));
  return world;
}

function run(world: World, stack: Stack): void {
  const planned = planStack(world.model, stack, world.newId, world.now, { keepOrphans: true });
  const { compares, writes } = planStack(world.model, planned.stack, world.newId, world.now, { kept: planned.kept });
  expect(world.txn(compares, writes)).toBe(true);
}

const services = (world: World) => Object.keys(world.model.stacks.get('shop')?.spec.services ?? {}).sort();
const taskOf = (world: World) => world.model.tasksOfService('shop', KEY)[0];

it('gets one task, which waits for its caller where it has one; the services stay as they are', () => {
  const world = worldWith({ attach: true });
  const before = world.model.tasksOfService('shop', 'web').map((t) => t.id);
  world.settle();
  expect(taskOf(world)).toMatchObject({ service: KEY, slot: 1, awaitsCaller: true, desired: 'run' });
  expect(world.model.tasksOfService('shop', 'web').map((t) => t.id)).toEqual(before);
});

it('is in no virtual address and no name of its service, but with its aliases', () => {
  const world = worldWith({}, { networks: { default: { aliases: ['web'] } } });
  world.settle();
  const network = [...world.model.networks.keys()][0] ?? '';
  const own = taskOf(world)?.endpoints[0]?.ipv4 ?? '';
  const { names, vips } = namesAndVips(world.model, network, [...world.model.tasks.values()]);
  expect(vips.flatMap((vip) => vip.backends)).not.toContain(own);
  const answers = (name: string) => names.find((row) => row.name === name)?.addresses;
  expect(answers('web')).toContain(own);
  expect(answers('tasks.web')).not.toContain(own);
});

it('is left alone by an up, also one that removes orphans, and is none itself', () => {
  const world = worldWith();
  world.settle();
  const { orphans, stack, steps } = planStack(world.model, stackOf('shop', { web: 2 }), world.newId, world.now);
  expect(orphans).toEqual(['db']);
  expect(Object.keys(stack.services).sort()).toEqual(['web', KEY]);
  expect(steps.find((s) => s.name === KEY)).toMatchObject({ action: 'keep', details: ['a one-off task of web'] });
});

it('starts nothing that a command stopped', () => {
  const world = new World(['n1']);
  world.up(stackOf('shop', { web: 1, db: 1 }));
  world.settle();
  const { compares, writes } = planStop(world.model, 'shop', ['web'], undefined, world.now);
  world.txn(compares, writes);
  run(world, stackOf('shop', { [KEY]: oneOff(), db: 1 } as Parameters<typeof stackOf>[1]));
  expect(Object.keys(world.model.stacks.get('shop')?.stopped ?? {})).toEqual(['web']);
});

it('runs once: what becomes of its task, it gets no other', () => {
  const world = worldWith();
  world.settle();
  const { id = '', nodeId = '' } = taskOf(world) ?? {};
  world.setNodeState(world.model.nodes.get(nodeId)?.name ?? '', 'down');
  world.settle();
  expect(world.model.tasksOfService('shop', KEY).map((t) => t.id)).toEqual([id]);
  expect(taskOf(world)).not.toHaveProperty('orphan');
});

it('with --rm goes when it was seen to have ended; without, it stays, and waits for nothing', () => {
  for (const state of ['complete', 'failed'] as const) {
    const [going, staying] = [worldWith({ remove: true }), worldWith()];
    for (const world of [going, staying]) {
      world.settle();
      world.report(taskOf(world)?.id ?? '', state);
      expect(world.tick()).toBe(0);
      expect(services(world)).toContain(KEY);
      world.now += SEEN_MS + 1;
      world.tick();
    }
    going.settle();
    expect(services(going)).toEqual(['db', 'web']);
    expect(going.model.tasksOfService('shop', KEY)).toEqual([]);
    expect(services(staying)).toContain(KEY);
    const record = staying.model.stacks.get('shop');
    expect(record && waitingReason(staying.model, record, KEY, placementTroubles(staying.model, staying.now))).toBe('');
  }
});

it('is ended by name; services are not', () => {
  const world = worldWith();
  world.settle();
  expect(() => planRemoveOneOffs(world.model, 'shop', ['web'], world.now)).toThrow(/web is no one-off task/);
  expect(() => planRemoveOneOffs(world.model, 'shop', ['nothing'], world.now)).toThrow(/has no service nothing/);
  const { compares, writes } = planRemoveOneOffs(world.model, 'shop', [KEY], world.now);
  world.txn(compares, writes);
  world.settle();
  expect(services(world)).toEqual(['db', 'web']);
  expect(taskOf(world)).toBeUndefined();
});

it('is not meant by what is said of all services', () => {
  const world = worldWith();
  const { steps } = planStop(world.model, 'shop', [], undefined, world.now);
  expect(steps.map((s) => s.name).sort()).toEqual(['db', 'web']);
});
