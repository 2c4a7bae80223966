import { networkMtu } from './network-mtu.js';
import { keys } from '#model/keys.js';
import { planCleanup } from './plan-cleanup.js';
import { planRemoval, planStack } from './plan-stack.js';
import { placementTroubles, planServices } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

type Parts = Record<string, unknown>;

const net = (parts: Parts = {}, name = 's_default') => ({ networks: { default: { key: 'default', name, ...parts } } });
const on = (attachment: Parts, parts: Parts = {}) => ({ networks: { default: attachment }, ...parts });
const plan = (world: World, stack: ReturnType<typeof stackOf>) => planStack(world.model, stack, world.newId, world.now);
const network = (world: World, name = 's_default') => world.model.networks.get(world.model.networkNames.get(name) ?? '');
const addresses = (world: World, service: string, stack = 's') =>
  world.model
    .tasksOfService(stack, service)
    .sort((a, b) => a.slot - b.slot)
    .flatMap((t) => t.endpoints.map((e) => e.ipv4));
const down = (world: World, name: string): void => {
  const { compares, writes } = planRemoval(world.model, name, world.now);
  world.txn(compares, writes);
  world.settle();
  for (let i = 0; i < 20 && world.apply(planCleanup(world.model, world.now)) > 0; i++) world.now += 60_000;
};

describe('ipam', () => {
  it('gives addresses from the range, and never the gateway or what is kept', () => {
    const world = new World(['a']);
    const ipam = [{ subnet: '10.9.0.0/24', gateway: '10.9.0.254', ipRange: '10.9.0.64/28', auxAddresses: { nas: '10.9.0.65' } }];
    world.up(stackOf('s', { web: 2 }, net({ ipam })));
    world.settle();
    expect(network(world)).toMatchObject({ subnet: '10.9.0.0/24', gateway: '10.9.0.254', ipRange: '10.9.0.64/28' });
    expect(addresses(world, 'web')).toEqual(['10.9.0.64', '10.9.0.66']);
    const leased = [...(world.model.leases.get(network(world)?.id ?? '')?.keys() ?? [])];
    expect(leased.sort()).toEqual(['10.9.0.64', '10.9.0.66', '10.9.0.78', '10.9.0.79']);
  });

  it('grows by a second subnet in place, and takes from it when the first is full', () => {
    const world = new World(['a', 'b']);
    const [first, second] = [{ subnet: '10.9.0.0/29' }, { subnet: '10.9.1.0/29' }];
    world.up(stackOf('s', { web: 2 }, net({ ipam: [first] })));
    world.settle();
    expect(() => plan(world, stackOf('s', { web: 5 }, net({ ipam: [first] })))).toThrow(
      /10.9.0.0\/29 has 5 addresses to give, needed are 8/,
    );
    const { steps } = world.up(stackOf('s', { web: 5 }, net({ ipam: [first, second] })));
    expect(steps[0]).toEqual({ action: 'change', kind: 'network', name: 's_default', details: ['subnet 10.9.1.0/29 is added'] });
    world.settle();
    expect(addresses(world, 'web')).toEqual(['10.9.0.2', '10.9.0.3', '10.9.1.2', '10.9.1.3', '10.9.1.4']);
  });

  it('keeps subnets of one network and of the cluster apart, and away from routes of both families', () => {
    const world = new World();
    world.addNode('a', { routes: ['192.168.0.0/16', 'fd00:7::/48'] });
    const refused = (ipam: Parts[], message: RegExp, more: Parts = {}) =>
      expect(() => plan(world, stackOf('s', { web: 1 }, net({ ipam, ...more })))).toThrow(message);
    refused([{ subnet: '192.168.9.0/24' }], /overlaps route 192.168.0.0\/16 of node a/);
    refused([{ subnet: '10.9.0.0/24' }, { subnet: '10.9.0.128/25' }], /10.9.0.0\/24 and 10.9.0.128\/25 overlap/);
    refused([{ subnet: 'fd00:7:0:1::/64' }], /overlaps route fd00:7::\/48 of node a/, { ipv6: true });
    refused([{ subnet: '10.9.0.0/24', gateway: '10.8.0.1' }], /gateway 10.8.0.1 is not in the subnet/);
    world.up(stackOf('t', { web: 1 }, net({ ipam: [{ subnet: '10.9.0.0/24' }, { subnet: '10.9.4.0/24' }] }, 't_default')));
    refused([{ subnet: '10.9.4.0/25' }], /overlaps network t_default \(10.9.4.0\/24\)/);
  });

  it('says who holds what when addresses run out', () => {
    const world = new World(['a'], 29);
    world.up(stackOf('s', { web: 1, other: 1 }));
    world.settle();
    world.up(
      stackOf(
        'guest',
        { late: { replicas: 1, networks: { host: {} } } },
        { networks: { host: { key: 'host', name: 's_default', external: true } } },
      ),
    );
    world.settle();
    expect(Object.fromEntries(placementTroubles(world.model, world.now))).toEqual({
      'guest/late': 'network s_default (10.128.0.0/29) has no free address; 2 are held by tasks, 1 by nodes, 2 by services, 0 rest',
    });
  });

  it('a /28 does with many more nodes than it has addresses: nodes without tasks lease none', () => {
    const world = new World(Array.from({ length: 40 }, (_, i) => `n${i}`));
    world.up(stackOf('s', { web: 5 }, net({ ipam: [{ subnet: '10.9.0.0/28' }] })));
    world.settle();
    expect(addresses(world, 'web')).toHaveLength(5);
    expect(world.model.nodeAddresses.get(network(world)?.id ?? '')?.size).toBe(5);
  });

  it('refuses an MTU that the underlay does not leave, and IPv6 below 1280', () => {
    const world = new World();
    world.addNode('a', { underlayMtu: 1300 });
    expect(() => plan(world, stackOf('s', { web: 1 }, net({ options: { mtu: 1400 } })))).toThrow(/1400 is more than the 1250/);
    expect(() => plan(world, stackOf('s', { web: 1 }, net({ ipv6: true })))).toThrow(/would be 1250, and IPv6 needs 1280/);
    world.up(stackOf('s', { web: 1 }, net({ options: { mtu: 1200 } })));
    expect(network(world)?.options).toEqual({ mtu: 1200 });
  });
});

describe('encrypted networks', () => {
  it('are refused while a node in use cannot encrypt, naming it, and leave room for WireGuard', () => {
    const world = new World();
    world.addNode('able', { features: ['wireguard'] });
    world.addNode('plain');
    const secret = stackOf('s', { web: 1 }, net({ options: { encrypted: true } }));
    expect(() => plan(world, secret)).toThrow(
      expect.objectContaining({ code: 'CONFLICT', why: expect.stringContaining('node plain cannot') }),
    );
    world.setFacts('plain', { features: ['wireguard'] });
    world.up(secret);
    const made = network(world);
    expect(made && networkMtu(world.model, made)).toBe(1500 - 50 - 60);
    expect(() => plan(world, stackOf('s', { web: 1 }, net({ options: { encrypted: true, mtu: 1391 } })))).toThrow(
      /1391 is more than the 1390/,
    );
  });
});

describe('static addresses', () => {
  const ipam = [{ subnet: '10.9.0.0/24', auxAddresses: { nas: '10.9.0.9' } }];
  const db = (attachment: Parts, parts: Parts = {}) => stackOf('s', { db: on(attachment, parts), web: 3 }, net({ ipam }));

  it('are given, with the MAC asked for; nobody else gets them by chance', () => {
    const world = new World(['a', 'b']);
    world.up(db({ ipv4: '10.9.0.3', mac: '02:42:ac:11:00:09' }));
    world.settle();
    expect(world.model.tasksOfService('s', 'db')[0]?.endpoints[0]).toMatchObject({ ipv4: '10.9.0.3', mac: '02:42:ac:11:00:09' });
    expect(addresses(world, 'web').sort()).toEqual(['10.9.0.2', '10.9.0.4', '10.9.0.5']);
  });

  it.each([
    [{ ipv4: '10.8.0.3' }, {}, /service db cannot have 10.8.0.3: network s_default is 10.9.0.0\/24/],
    [{ ipv4: '10.9.0.1' }, {}, /it is the gateway/],
    [{ ipv4: '10.9.0.9' }, {}, /it is kept for nas/],
    [{ ipv4: '10.9.0.255' }, {}, /network or broadcast address/],
    [{ ipv6: 'fd00::9' }, {}, /network s_default has no IPv6/],
    [{ ipv4: '10.9.0.3' }, { replicas: 2 }, /it has 2 replicas/],
    [{ ipv4: '10.9.0.3' }, { mode: 'global' }, /it is global/],
    [{ mac: '02:42:ac:11:00:09' }, { update: { order: 'start-first' } }, /start-first/],
  ])('%j with %j is refused', (attachment, parts, message) => {
    expect(() => plan(new World(['a']), db(attachment, parts))).toThrow(message);
  });

  it('twice in a stack, or in two stacks on one network, are refused', () => {
    const world = new World(['a']);
    const twice = stackOf('s', { db: on({ ipv4: '10.9.0.3' }), other: on({ ipv4: '10.9.0.3' }) }, net({ ipam }));
    expect(() => plan(world, twice)).toThrow(/service other cannot have 10.9.0.3: service s\/db declares it on network s_default too/);
    world.up(db({ ipv4: '10.9.0.3' }, { replicas: 0 }));
    const guest = stackOf(
      'g',
      { x: { networks: { h: { ipv4: '10.9.0.3' } } } },
      { networks: { h: { key: 'h', name: 's_default', external: true } } },
    );
    expect(() => plan(world, guest)).toThrow(/service s\/db declares it/);
  });
});

describe('dual stack', () => {
  it('takes a /64 of the one /48 of the cluster for each network, and gives everybody both', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 2 }, net({ ipv6: true })));
    world.up(stackOf('t', { web: 1 }, net({ ipv6: true }, 't_default')));
    world.settle();
    const ula = world.model.pool.ula ?? '';
    expect(ula).toMatch(/^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::\/48$/);
    const prefix = ula.replace('::/48', '');
    expect([network(world)?.ipv6, network(world, 't_default')?.ipv6]).toEqual([
      { subnet: `${prefix}:1::/64`, gateway: `${prefix}:1::1` },
      { subnet: `${prefix}:2::/64`, gateway: `${prefix}:2::1` },
    ]);
    expect(
      world.model
        .tasksOfService('s', 'web')
        .map((t) => t.endpoints[0]?.ipv6)
        .sort(),
    ).toEqual([`${prefix}:1::a80:2`, `${prefix}:1::a80:3`]);
    const id = network(world)?.id ?? '';
    expect([...(world.model.nodeAddresses.get(id)?.values() ?? [])].map((n) => n.ipv6)).toEqual([expect.stringContaining(`${prefix}:1:`)]);
    expect([...(world.model.vips.get(id)?.values() ?? [])].map((v) => v.ipv6)).toEqual([expect.stringContaining(`${prefix}:1:`)]);
  });

  it('is not given to a task whose node has none, were it by an old plan', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 2 }, net({ ipv6: true })));
    const { units } = planServices(world.model, world.newId, world.now);
    const id = network(world)?.id ?? '';
    const nodeId = world.nodeId('a');
    // What another plan, made before the network had IPv6, would have written meanwhile.
    world.write(
      { put: keys.nodeAddress(id, nodeId), value: JSON.stringify({ networkId: id, nodeId, ipv4: '10.128.0.99' }) },
      { put: keys.vip(id, 's', 'web'), value: JSON.stringify({ networkId: id, stack: 's', service: 'web', ipv4: '10.128.0.98' }) },
    );
    expect(units.length).toBe(2);
    expect(world.apply(units)).toBe(0);
    world.settle();
    const [first, second] = world.model.tasksOfService('s', 'web');
    expect([first, second].map((t) => t?.endpoints[0]?.ipv6)).toEqual([expect.any(String), expect.any(String)]);
    expect(world.model.nodeAddresses.get(id)?.get(nodeId)?.ipv6).toEqual(expect.any(String));
  });

  it('can be switched on later: new tasks with both, node and service completed', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 2 }));
    world.settle();
    const before = addresses(world, 'web');
    const { steps } = world.up(stackOf('s', { web: 2 }, net({ ipv6: true })));
    expect(steps[0]?.details).toEqual(['IPv6 is added']);
    world.settle();
    expect(addresses(world, 'web')).toEqual(before);
    const id = network(world)?.id ?? '';
    const everybody = [
      ...world.model.tasksOfService('s', 'web').flatMap((t) => t.endpoints),
      ...(world.model.nodeAddresses.get(id)?.values() ?? []),
      ...(world.model.vips.get(id)?.values() ?? []),
    ];
    expect(everybody.every((e) => e.ipv6 !== undefined)).toBe(true);
  });
});

describe('external networks', () => {
  const guest = (attachment: Parts = {}) =>
    stackOf('g', { x: { replicas: 1, networks: { h: attachment } } }, { networks: { h: { key: 'h', name: 's_default', external: true } } });

  it('must be there', () => {
    expect(() => plan(new World(['a']), guest())).toThrow(/there is no network s_default: networks.h is external/);
  });

  it('join two stacks, outlive the one that declared them, and go with the last', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 1 }));
    world.up(guest());
    world.settle();
    expect(new Set(world.model.tasksOfNetwork(network(world)?.id ?? '').map((t) => t.stack))).toEqual(new Set(['s', 'g']));
    expect(planRemoval(world.model, 's', 0).steps).toContainEqual({
      action: 'keep',
      kind: 'network',
      name: 's_default',
      details: ['stack g uses it'],
    });
    down(world, 's');
    expect(world.model.stacks.has('s')).toBe(false);
    expect(world.model.tasksOfNetwork(network(world)?.id ?? '')).toHaveLength(1);
    down(world, 'g');
    expect([network(world), world.model.stacks.size, world.model.leases.size]).toEqual([undefined, 0, 0]);
  });

  it('are not removed between the plan of a stack that uses them and its writing', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 0 }));
    const late = plan(world, guest());
    const cleanup = (() => {
      const stale = planRemoval(world.model, 's', world.now);
      world.txn(stale.compares, stale.writes);
      return planCleanup(world.model, world.now);
    })();
    expect(world.txn(late.compares, late.writes)).toBe(true);
    expect(world.apply(cleanup)).toBe(0);
    expect(world.entries.has(keys.networkName('s_default'))).toBe(true);
  });
});
