/** A static address, or a MAC, that somebody has already: who is in its way is told at once, and who goes anyway is not. */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { planCleanup } from './plan-cleanup.js';
import { planStop } from './plan-operations.js';
import { planRollback } from './plan-rollback.js';
import { placementTroubles } from './plan-services.js';
import { planRemoval, planStack } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

type Parts = Record<string, unknown>;
type Services = Record<string, number | Parts>;

const NET = { networks: { default: { key: 'default', name: 's_default', ipv6: true, ipam: [{ subnet: '10.9.0.0/24' }] } } };
const OUTER = { networks: { h: { key: 'h', name: 's_default', external: true } } };
const s = (services: Services) => stackOf('s', services, NET);
const at = (ipv4: string, more: Parts = {}) => ({ networks: { default: { ipv4 } }, ...more });
const guest = (attachment: Parts) => stackOf('g', { x: { networks: { h: attachment } } }, OUTER);
const image = (name: string, more: Parts = {}) => ({ container: { image: name }, ...more });

const network = (world: World) => world.model.networks.get(world.model.networkNames.get('s_default') ?? '');
const tasks = (world: World, service: string, stack = 's') =>
  [...world.model.tasks.values()].filter((t) => t.stack === stack && t.service === service).sort((a, b) => a.slot - b.slot);
const addresses = (world: World, service: string, stack = 's') => tasks(world, service, stack).map((t) => t.endpoints[0]?.ipv4);
const trouble = (world: World, service: string) => placementTroubles(world.model, world.now).get(service);

/** The error of an `up` that is refused. */
function refusal(world: World, stack: ReturnType<typeof stackOf>): WeftError {
  try {
    planStack(world.model, stack, world.newId, world.now);
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

/** As time goes by: what rests is free, what nobody needs is taken away. */
function pass(world: World): void {
  for (let i = 0; i < 4; i++) {
    world.apply(planCleanup(world.model, world.now));
    world.settle();
    world.now += 31_000;
  }
  world.settle();
}

/** Stack s with tasks of `web` on 10.9.0.2 and the following ones. */
function running(web: number | Parts = 3, others: Services = {}): World {
  const world = new World(['a', 'b']);
  world.up(s({ web, ...others }));
  world.settle();
  return world;
}

describe('an address that a task has by chance', () => {
  it('is refused to a service of another stack, with the place in the file, the holder and a hint', () => {
    const world = running();
    const holder = tasks(world, 'web')[1];
    const node = world.model.nodes.get(holder?.nodeId ?? '')?.name;
    expect(refusal(world, guest({ ipv4: '10.9.0.3' }))).toMatchObject({
      code: 'BAD_VALUE',
      what: 'service x cannot have 10.9.0.3',
      why: `task s-web-2 (service s/web, node ${node ?? ''}) holds it on network s_default`,
      hint: expect.stringMatching(/Choose an address that is free.*ip_range/),
      path: ['services', 'x', 'networks', 'h', 'ipv4_address'],
    });
  });

  it('is refused to another service of the same stack, when nothing takes it from its holder', () => {
    const world = running();
    expect(refusal(world, s({ web: 3, db: at('10.9.0.3') })).why).toMatch(/^task s-web-2 \(service s\/web, node .\) holds it/);
    expect(refusal(world, s({ web: 5, db: at('10.9.0.3') })).why).toContain('task s-web-2');
  });

  it('in IPv6 is refused as well', () => {
    const world = running();
    const ipv6 = tasks(world, 'web')[0]?.endpoints[0]?.ipv6 ?? '';
    expect(refusal(world, guest({ ipv6 }))).toMatchObject({
      what: `service x cannot have ${ipv6}`,
      why: expect.stringContaining('task s-web-1 (service s/web'),
      path: ['services', 'x', 'networks', 'h', 'ipv6_address'],
    });
  });

  it('is refused for a node and for a virtual address, each called what it is', () => {
    const world = running(1);
    const id = network(world)?.id ?? '';
    const vip = world.model.vips.get(id)?.get('s/web')?.ipv4 ?? '';
    const [node] = [...(world.model.nodeAddresses.get(id)?.values() ?? [])];
    expect(refusal(world, guest({ ipv4: vip })).why).toBe('service s/web (as its virtual address) holds it on network s_default');
    const name = world.model.nodes.get(node?.nodeId ?? '')?.name ?? '';
    expect(refusal(world, guest({ ipv4: node?.ipv4 ?? '' })).why).toBe(`node ${name} (as its own address) holds it on network s_default`);
  });

  it('and whose node is dead is refused, with what can be done about the node', () => {
    const world = running();
    const node = world.model.nodes.get(tasks(world, 'web')[1]?.nodeId ?? '')?.name ?? '';
    world.setNodeState(node, 'down');
    world.settle();
    expect(refusal(world, guest({ ipv4: '10.9.0.3' }))).toMatchObject({
      why: `task s-web-2 (service s/web, node ${node}, which is down) holds it on network s_default`,
      hint: expect.stringContaining(`ctl node rm --force ${node}`),
    });
  });

  it('and whose service a command stopped is refused: it comes back with it', () => {
    const world = running();
    const { compares, writes } = planStop(world.model, 's', ['web'], undefined, world.now);
    world.txn(compares, writes);
    world.settle();
    expect(refusal(world, guest({ ipv4: '10.9.0.3' })).why).toMatch(/task s-web-2 \(service s\/web, stopped on node .\)/);
    world.up(s({ web: 3, db: at('10.9.0.3') }));
    pass(world);
    expect(addresses(world, 'db')).toEqual(['10.9.0.3']);
    expect(tasks(world, 'web')).toHaveLength(3);
  });

  it('is not given back by a rollback', () => {
    const world = running(1, { db: at('10.9.0.9', image('old')) });
    world.up(s({ web: 1, db: image('new', { replicas: 0 }) }));
    pass(world);
    world.up(s({ web: 12, db: image('new', { replicas: 0 }) }));
    world.settle();
    expect(addresses(world, 'web')).toContain('10.9.0.9');
    expect(() => planRollback(world.model, 's', ['db'], world.now)).toThrow(/service db cannot have 10.9.0.9: task s-web-\d+ /);
  });
});

describe('an address whose holder goes with the same plan is given, once it is free', () => {
  it.each<[string, Services]>([
    ['its service is taken out of the file', {}],
    ['its service has fewer tasks', { web: 1 }],
    ['its service is made anew', { web: { replicas: 3, ...image('other') } }],
    ['its service leaves the network', { web: { replicas: 3, networks: {} } }],
    ['it is of the service itself', { db: 1 }],
  ])('%s', (_why, services) => {
    const isOwn = 'db' in services;
    const world = running(isOwn ? 1 : 3, isOwn ? { db: 1 } : {});
    const [address = ''] = isOwn ? addresses(world, 'db') : addresses(world, 'web').slice(1);
    world.up(s({ ...services, db: at(address) }));
    pass(world);
    expect(addresses(world, 'db')).toEqual([address]);
    expect(trouble(world, 's/db')).toBeUndefined();
    expect(tasks(world, 'web')).toHaveLength(
      isOwn ? 0 : Number((services['web'] as Parts | undefined)?.['replicas'] ?? services['web'] ?? 0),
    );
  });

  it('it is given another address: two services exchange theirs', () => {
    const world = new World(['a']);
    world.up(s({ web: at('10.9.0.7'), db: at('10.9.0.8') }));
    world.settle();
    const before = [tasks(world, 'web')[0]?.id, tasks(world, 'db')[0]?.id];
    world.up(s({ web: at('10.9.0.8'), db: at('10.9.0.7') }));
    pass(world);
    expect([addresses(world, 'web'), addresses(world, 'db')]).toEqual([['10.9.0.8'], ['10.9.0.7']]);
    expect([tasks(world, 'web')[0]?.id, tasks(world, 'db')[0]?.id]).toEqual(before);
  });

  it('it is another slot of the service', () => {
    const world = running(3);
    world.up(s({ web: at('10.9.0.4') }));
    pass(world);
    expect(addresses(world, 'web')).toEqual(['10.9.0.4']);
  });

  it("it is the service's own virtual address, in place of which it gets another", () => {
    const world = running(1);
    const id = network(world)?.id ?? '';
    const vip = world.model.vips.get(id)?.get('s/web')?.ipv4 ?? '';
    world.up(s({ web: at(vip) }));
    pass(world);
    expect(addresses(world, 'web')).toEqual([vip]);
    const next = world.model.vips.get(id)?.get('s/web');
    expect(next?.ipv4).toEqual(expect.stringMatching(/^10\.9\.0\.\d+$/));
    expect(next?.ipv4).not.toBe(vip);
  });

  it('its stack is on its way out', () => {
    const world = running(1);
    world.up(stackOf('t', { y: { replicas: 1, networks: { h: {} } } }, OUTER));
    world.settle();
    const [address = ''] = addresses(world, 'y', 't');
    const { compares, writes } = planRemoval(world.model, 't', world.now);
    world.txn(compares, writes);
    world.up(guest({ ipv4: address }));
    pass(world);
    expect(addresses(world, 'x', 'g')).toEqual([address]);
  });

  it('also where its service, made anew, waits for the one that is to have the address', () => {
    const dependsOn = { db: { condition: 'service_healthy', required: true, restart: false } };
    const world = running(3);
    world.up(s({ web: { replicas: 3, ...image('other'), dependsOn }, db: at('10.9.0.3') }));
    world.settle();
    // Not before the service that it depends on, which is never healthy here.
    expect(tasks(world, 'web').map((t) => t.slot)).toEqual([1, 3]);
    pass(world);
    expect(addresses(world, 'db')).toEqual(['10.9.0.3']);
    expect(tasks(world, 'web').every((t) => t.container.image === 'busybox')).toBe(true);
  });

  it('also where the update of its service was paused before its turn', () => {
    const update = { order: 'stop-first', parallelism: 1, monitorMs: 0, onFailure: 'pause', delayMs: 0, maxFailureRatio: 0 };
    const world = running({ replicas: 3, update });
    world.up(s({ web: { replicas: 3, update, ...image('broken') }, db: at('10.9.0.4') }));
    const target = tasks(world, 'web')[0]?.specHash ?? '';
    world.tick();
    const record = world.model.updates.get('s/web');
    expect(record?.target).not.toBe(target);
    world.write({ put: keys.update('s', 'web'), value: encode({ ...record, state: 'paused', message: 'it failed' }) });
    pass(world);
    expect(addresses(world, 'db')).toEqual(['10.9.0.4']);
  });
});

describe('an address that was taken between plan and writing', () => {
  it('is waited for, and its holder named: nobody of another stack is moved', () => {
    const world = running(1);
    const late = planStack(world.model, guest({ ipv4: '10.9.0.3' }), world.newId, world.now);
    world.up(s({ web: 3 }));
    world.settle();
    const before = tasks(world, 'web').map((t) => t.id);
    expect(world.txn(late.compares, late.writes)).toBe(true);
    pass(world);
    expect(trouble(world, 'g/x')).toMatch(
      /^network s_default: 10.9.0.3 cannot be given, task s-web-2 \(service s\/web, node .\) holds it$/,
    );
    expect(tasks(world, 'web').map((t) => t.id)).toEqual(before);
    world.up(s({ web: 1 }));
    pass(world);
    expect(addresses(world, 'x', 'g')).toEqual(['10.9.0.3']);
  });

  it('is given up by a task of the same stack', () => {
    const world = running(1);
    const late = planStack(world.model, s({ web: 1, db: at('10.9.0.3') }), world.newId, world.now);
    // What a leader that has not heard of it yet gives to a new task.
    world.up(stackOf('t', { y: { replicas: 1, networks: { h: {} } } }, OUTER));
    world.settle();
    expect(addresses(world, 'y', 't')).toEqual(['10.9.0.3']);
    const [task] = tasks(world, 'y', 't');
    const moved = { ...task, stack: 's', service: 'web', name: 's-web-2', slot: 2 };
    world.txn(late.compares, late.writes);
    world.write(
      { put: keys.stack('s'), value: encode({ ...world.model.stacks.get('s'), spec: s({ web: 2, db: at('10.9.0.3') }) }) },
      { put: keys.task(task?.id ?? ''), value: encode({ ...moved, specHash: tasks(world, 'web')[0]?.specHash }) },
      { put: keys.slot('s', 'web', 2), value: task?.id ?? '' },
      { delete: keys.slot('t', 'y', 1) },
      { delete: keys.stack('t') },
    );
    pass(world);
    expect(addresses(world, 'db')).toEqual(['10.9.0.3']);
    expect(tasks(world, 'web')).toHaveLength(2);
  });
});

describe('a MAC', () => {
  const mac = '02:42:0a:09:00:04';

  it('that a task of another service has, also as that of its address, is refused', () => {
    const world = running(3);
    expect(refusal(world, guest({ mac }))).toMatchObject({
      what: `service x cannot have ${mac}`,
      why: expect.stringMatching(/^task s-web-3 \(service s\/web, node .\) holds it on network s_default$/),
      path: ['services', 'x', 'networks', 'h', 'mac_address'],
    });
    expect(refusal(world, s({ web: 3, db: { networks: { default: { mac } } } })).why).toContain('task s-web-3');
    world.up(s({ web: 2, db: { networks: { default: { mac } } } }));
    pass(world);
    expect(tasks(world, 'db')[0]?.endpoints[0]).toMatchObject({ mac });
  });

  it('that is declared goes to nobody with an address', () => {
    const world = running(1);
    world.up(guest({ mac }));
    world.up(s({ web: 4 }));
    world.settle();
    expect(tasks(world, 'x', 'g')[0]?.endpoints[0]?.mac).toBe(mac);
    expect(addresses(world, 'web')).not.toContain('10.9.0.4');
    expect(refusal(world, s({ web: 4, db: at('10.9.0.4') })).why).toMatch(
      /^service g\/x declares the MAC 02:42:0a:09:00:04, which belongs to it, on network s_default too$/,
    );
  });

  it('that was taken meanwhile is waited for, and its holder named', () => {
    const world = running(1);
    const late = planStack(world.model, guest({ mac }), world.newId, world.now);
    world.up(s({ web: 3 }));
    world.settle();
    world.txn(late.compares, late.writes);
    world.settle();
    expect(trouble(world, 'g/x')).toMatch(/^network s_default: the MAC 02:42:0a:09:00:04 cannot be given, task s-web-3 \(.+\) has it$/);
  });
});
