/** Networks and modes of tasks that run: what is edited in place, what shares a namespace, which nodes fit. */
import type { Service } from '#model/stack.js';
import { keys } from '#model/keys.js';
import { encode } from '#model/codec.js';
import { DEFAULT_DRAIN_MS } from './drain.js';
import { nameInterfaces } from './interface-names.js';
import { stackOf, World } from './spec-kit.js';

const network = (key: string, more: Record<string, unknown> = {}) => ({ [key]: { key, name: `s_${key}`, driver: 'overlay', ...more } });
const two = { networks: { ...network('default'), ...network('back') } };
const on = (...names: string[]): Service['networks'] => Object.fromEntries(names.map((n) => [n, { aliases: [] }]));
const tasks = (world: World, service: string) => world.model.tasksOfService('s', service).sort((a, b) => a.slot - b.slot);
const interfaces = (world: World, service: string) =>
  tasks(world, service).map((t) => t.endpoints.map((e) => `${e.interfaceName} ${world.model.networks.get(e.networkId)?.key}`).sort());

describe('networks of a running task', () => {
  it('come and go in its record, with their leases, and no task is made anew', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: { replicas: 2, networks: on('default') } }, two));
    world.settle();
    const before = tasks(world, 'web').map((t) => t.id);
    const plan = world.up(stackOf('s', { web: { replicas: 2, networks: on('default', 'back') } }, two));
    expect(plan.steps.find((s) => s.kind === 'service')?.action).toBe('change');
    world.settle();
    expect(interfaces(world, 'web')).toEqual([
      ['eth0 default', 'eth1 back'],
      ['eth0 default', 'eth1 back'],
    ]);
    world.up(stackOf('s', { web: { replicas: 2, networks: on('back') } }, two));
    world.tick();
    expect(tasks(world, 'web').map((t) => t.endpoints.map((e) => e.leavingSince !== undefined))).toEqual([
      [false, true],
      [false, true],
    ]);
    // The nodes take them out; the drain begins with that.
    world.tick();
    world.now += DEFAULT_DRAIN_MS;
    world.tick();
    expect(interfaces(world, 'web')).toEqual([['eth1 back'], ['eth1 back']]);
    expect(tasks(world, 'web').map((t) => t.id)).toEqual(before);
    const front = world.model.networkNames.get('s_default') ?? '';
    const held = [...(world.model.leases.get(front)?.values() ?? [])].filter((l) => l.kind === 'task' && l.restsUntil === undefined);
    expect(held).toEqual([]);
  });

  it('keeps an endpoint that is wanted again before it has left', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: { replicas: 1, networks: on('default', 'back') } }, two));
    world.settle();
    const before = tasks(world, 'web')[0]?.endpoints;
    world.up(stackOf('s', { web: { replicas: 1, networks: on('default') } }, two));
    world.tick();
    world.up(stackOf('s', { web: { replicas: 1, networks: on('default', 'back') } }, two));
    world.settle();
    expect(tasks(world, 'web')[0]?.endpoints).toEqual(expect.arrayContaining(before ?? []));
  });

  it('changes address live when another is declared', () => {
    const world = new World(['a']);
    const nets = { networks: network('default', { subnet: '10.7.0.0/24' }) };
    world.up(stackOf('s', { web: { replicas: 1, networks: { default: { aliases: [], ipv4: '10.7.0.9' } } } }, nets));
    world.settle();
    const id = tasks(world, 'web')[0]?.id;
    world.up(stackOf('s', { web: { replicas: 1, networks: { default: { aliases: [], ipv4: '10.7.0.44' } } } }, nets));
    world.settle();
    expect(tasks(world, 'web').map((t) => [t.id, t.endpoints[0]?.ipv4])).toEqual([[id, '10.7.0.44']]);
  });

  it('gives names to interfaces by priority, keeps them, and gives them anew when the priority changes', () => {
    const world = new World(['a']);
    const with_ = (back: Record<string, unknown>) =>
      world.up(stackOf('s', { web: { replicas: 1, networks: { default: { aliases: [] }, back: { aliases: [], ...back } } } }, two));
    with_({ priority: 10, gwPriority: 1 });
    world.settle();
    expect(interfaces(world, 'web')).toEqual([['eth0 back', 'eth1 default']]);
    with_({ priority: -1 });
    world.settle();
    expect(interfaces(world, 'web')).toEqual([['eth0 default', 'eth1 back']]);
    with_({ interfaceName: 'lan0' });
    world.settle();
    expect(interfaces(world, 'web')).toEqual([['eth0 default', 'lan0 back']]);
  });

  it('obeys what a command said of a service, and of one task', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: { replicas: 2, networks: on('default') } }, two));
    world.settle();
    const networkId = world.model.networkNames.get('s_back') ?? '';
    const connection = { networkId, stack: 's', service: 'web', slot: 2, attachment: { aliases: ['extra'] } };
    world.write({ put: keys.connection('s', 'web', 2, networkId), value: encode(connection) });
    world.settle();
    expect(interfaces(world, 'web')).toEqual([['eth0 default'], ['eth0 default', 'eth1 back']]);
    world.write({ delete: keys.connection('s', 'web', 2, networkId) });
    world.settle();
    expect(interfaces(world, 'web')).toEqual([['eth0 default'], ['eth0 default']]);
  });
});

describe('names of interfaces', () => {
  const endpoint = (n: number) => ({ networkId: `aaaaaaa${n}`, ipv4: `10.0.0.${n}`, mac: '02:42:0a:00:00:01', aliases: [] });

  it('are the first that nobody has, wishes first', () => {
    const named = nameInterfaces(
      [{ endpoint: endpoint(1) }, { endpoint: endpoint(2), wanted: 'eth0' }, { endpoint: endpoint(3) }],
      ['eth2'],
    );
    expect(named.map((e) => e.interfaceName)).toEqual(['eth1', 'eth0', 'eth3']);
  });
});

describe('a shared namespace', () => {
  const stack = (image = 'busybox') =>
    stackOf('s', {
      vpn: { replicas: 2, container: { image } },
      app: { replicas: 2, networks: {}, networkMode: { kind: 'service', service: 'vpn' } },
    });

  it('puts each task on the node of its owner in the same slot, and follows it when that is replaced', () => {
    const world = new World(['a', 'b', 'c']);
    world.up(stack());
    world.settle();
    const pairs = () => tasks(world, 'app').map((t) => [t.shares, t.nodeId, t.endpoints]);
    const owners = () => tasks(world, 'vpn').map((t) => [t.id, t.nodeId, []]);
    expect(pairs()).toEqual(owners());
    const before = tasks(world, 'app').map((t) => t.id);
    world.up(stack('busybox:2'));
    world.settle();
    expect(pairs()).toEqual(owners());
    expect(tasks(world, 'app').some((t) => before.includes(t.id))).toBe(false);
  });

  it('waits for its owner, and says so', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { app: { replicas: 1, networks: {}, networkMode: { kind: 'container', container: 'other-vpn-1' } } }));
    world.settle();
    expect(tasks(world, 'app')).toEqual([]);
    world.up(stackOf('other', { vpn: 1 }));
    world.settle();
    expect(tasks(world, 'app').map((t) => t.shares)).toEqual(world.model.tasksOfService('other', 'vpn').map((t) => t.id));
  });
});

describe('drivers', () => {
  const lan = (driver: string, parent = 'eth0') => ({
    networks: network('lan', { driver, subnet: '192.168.9.0/24', options: { parent } }),
  });
  const web = (replicas = 2) => ({ web: { replicas, networks: on('lan') } });

  it('macvlan: on nodes that have the parent, with addresses for tasks only', () => {
    const world = new World();
    const able = { features: ['macvlan'], devices: ['eth0'], addresses: ['192.168.9.2/24'], routes: ['192.168.9.0/24'] };
    world.addNode('a', able);
    world.addNode('b', { ...able, devices: ['eth7'] });
    world.addNode('c', { devices: ['eth0'], features: [] });
    world.up(stackOf('s', web(), lan('macvlan')));
    world.settle();
    expect(tasks(world, 'web').map((t) => world.model.nodes.get(t.nodeId)?.name)).toEqual(['a', 'a']);
    const id = world.model.networkNames.get('s_lan') ?? '';
    expect([...(world.model.leases.get(id)?.values() ?? [])].map((l) => l.kind)).toEqual(['task', 'task']);
    expect(tasks(world, 'web').map((t) => t.endpoints[0]?.ipv4)).toEqual(['192.168.9.3', '192.168.9.4']);
  });

  it('is refused where no node can, naming the node and what it lacks', () => {
    const world = new World();
    world.addNode('a', { features: ['macvlan'], devices: ['eth0'] });
    expect(() => world.up(stackOf('s', web(), lan('ipvlan')))).toThrow(/node a has no ipvlan/);
    expect(() => world.up(stackOf('s', web(), lan('macvlan', 'eth0.50')))).toThrow(/node a has no VLANs/);
    expect(() => world.up(stackOf('s', web(), lan('macvlan', 'eth9')))).toThrow(/node a has no device eth9/);
  });

  it('refuses what a device cannot be the parent of at once, also where both networks are new', () => {
    const world = new World();
    world.addNode('a', { features: ['macvlan', 'ipvlan', 'vlan'], devices: ['eth0'] });
    const lans = (one: Record<string, unknown>, other: Record<string, unknown>, otherParent = 'eth0') => ({
      networks: {
        ...network('lan', { subnet: '10.7.0.0/24', ...one, options: { parent: 'eth0', ...(one['options'] as object) } }),
        ...network('lan2', { subnet: '10.8.0.0/24', ...other, options: { parent: otherParent, ...(other['options'] as object) } }),
      },
    });
    const up = (nets: ReturnType<typeof lans>) => world.up(stackOf('s', { web: { replicas: 1, networks: on('lan') } }, nets));
    const l3 = { driver: 'ipvlan', options: { ipvlanMode: 'l3' } };
    expect(() => up(lans({ driver: 'ipvlan' }, { driver: 'macvlan' }))).toThrow(/macvlan or of ipvlan interfaces, not of both/);
    expect(() => up(lans({ driver: 'ipvlan' }, l3))).toThrow(/in mode l3, and all ipvlan interfaces of a device are in one mode/);
    up(lans({ driver: 'ipvlan' }, l3, 'eth0.50'));
    const later = (name: string, subnet: string, options: object) =>
      world.up(
        stackOf(
          name,
          { web: { replicas: 1, networks: on('lan') } },
          { networks: { lan: { key: 'lan', name: `${name}_lan`, driver: 'ipvlan', subnet, options: { parent: 'eth0', ...options } } } },
        ),
      );
    expect(() => later('t', '10.9.0.0/24', l3.options)).toThrow(/network s_lan has it for ipvlan in mode l2/);
    later('u', '10.10.0.0/24', {});
  });

  it('bridge: refused where tasks could not meet, and not where they are bound to one node', () => {
    const world = new World(['a', 'b']);
    const nets = { networks: network('lan', { driver: 'bridge' }) };
    expect(() => world.up(stackOf('s', web(), nets))).toThrow(/ends at the node/);
    expect(() => world.up(stackOf('s', { ...web(1), db: { replicas: 1, networks: on('lan') } }, nets))).toThrow(/cannot join web, db/);
    world.up(stackOf('s', web(1), nets));
    const placement = { constraints: ['node.hostname == a'] };
    world.up(stackOf('s', { web: { replicas: 2, networks: on('lan'), placement } }, nets));
  });
});
