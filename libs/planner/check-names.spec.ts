import { viewOf } from './node-view-of.js';
import { planStack } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

const named = (containerName: string, more: object = {}) => ({ replicas: 1, container: { image: 'busybox', containerName }, ...more });
const plan = (world: World, stack: ReturnType<typeof stackOf>) => planStack(world.model, stack, world.newId, world.now);

describe('names of containers', () => {
  it('are the tasks’ names, of the first slot', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: named('shop-front'), other: 1 }));
    world.settle();
    expect([...world.model.tasks.values()].map((t) => t.name).sort()).toEqual(['s-other-1', 'shop-front']);
    expect(plan(world, stackOf('s', { web: named('front'), other: 1 })).steps).toContainEqual(
      expect.objectContaining({ action: 'recreate', name: 'web', details: ['container_name: shop-front → front'] }),
    );
    expect(plan(world, stackOf('s', { web: named('shop-front'), other: 1 })).writes).toEqual([]);
  });

  it.each([
    ['two services of a stack', {}, { web: named('one'), api: named('ONE') }, 'service web of the stack s'],
    ['a stack and another', { web: named('one') }, { api: named('one') }, 'service web of the stack t'],
    ['one and what Weft names another', { web: 1 }, { api: named('t-web-1') }, 'service web of the stack t'],
    ['what Weft names one and another', { web: named('s-api-1') }, { api: 1 }, 'service web of the stack t'],
    ['two services of a stack, one of which Weft names', {}, { web: 1, api: named('s-web-2') }, 'service web of the stack s'],
  ])('cannot be those of %s', (_what, before, services, why) => {
    const world = new World(['a']);
    if (Object.keys(before).length > 0) world.up(stackOf('t', before));
    expect(() => plan(world, stackOf('s', services))).toThrow(
      expect.objectContaining({ code: 'CONFLICT', why: expect.stringContaining(why) }),
    );
  });

  it('may be a service’s own: the name stands for the service then', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: named('web') }));
    world.settle();
    const [task] = world.model.tasks.values();
    const vip = [...(world.model.vips.get(task?.endpoints[0]?.networkId ?? '')?.values() ?? [])][0]?.ipv4;
    const names = viewOf(world.model, world.nodeId('a')).flatMap((r) => (r.kind === 'name' && r.value.name === 'web' ? [r.value] : []));
    expect(names.map((n) => n.addresses)).toEqual([[vip]]);
  });
});
