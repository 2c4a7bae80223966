import { keys } from '#model/keys.js';
import { planRemoval, planStack, type LeftBehind } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

const plan = (world: World, stack: ReturnType<typeof stackOf>) => planStack(world.model, stack, world.newId, world.now);
const subnet = (cidr: string) => ({ networks: { default: { key: 'default', name: 's_default', subnet: cidr } } });

describe('planning a stack', () => {
  it('creates what is not there, with a subnet away from everything in use and a VNI of its own', () => {
    const world = new World();
    world.addNode('a', { routes: ['default', '0.0.0.0/0', '10.128.0.0/24', '10.128.1.0/24'], addresses: ['10.128.2.9/24', 'fe80::1/64'] });
    const first = world.up(stackOf('s', { web: 2 }, { volumes: { data: { key: 'data', name: 's_data' } } }));
    expect(first.steps).toEqual([
      { action: 'create', kind: 'network', name: 's_default', details: ['overlay, subnet 10.128.3.0/24'] },
      { action: 'create', kind: 'service', name: 'web', details: ['2 × busybox'] },
      { action: 'create', kind: 'volume', name: 's_data', details: [] },
    ]);
    world.up(stackOf('t', { web: 1 }));
    const [s, t] = [...world.model.networks.values()];
    expect([s?.subnet, s?.gateway, t?.subnet]).toEqual(['10.128.3.0/24', '10.128.3.1', '10.128.4.0/24']);
    expect(t?.vni).toBe((s?.vni ?? 0) + 1);
  });

  it('keeps everything when nothing changed, and writes nothing', () => {
    const world = new World(['a']);
    const stack = stackOf(
      's',
      { web: { replicas: 2, ports: [{ target: 80, published: 80 }] } },
      { volumes: { d: { key: 'd', name: 's_d' } } },
    );
    world.up(stack);
    const again = plan(world, stack);
    expect(again.steps.map((s) => s.action)).toEqual(['keep', 'keep', 'keep']);
    expect([again.writes, again.baseGeneration, again.generation]).toEqual([[], 1, 1]);
  });

  it('says which key changes from what to what, and never shows the values of the environment', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: { replicas: 1, container: { image: 'a:1', environment: { KEY: 'old-secret', SAME: '1' } } }, gone: 1 }));
    const next = stackOf('s', {
      web: {
        replicas: 3,
        container: { image: 'a:2', environment: { KEY: 'new-secret', SAME: '1' } },
        ports: [{ target: 80, published: 8080 }],
      },
    });
    const { steps } = plan(world, next);
    expect(steps.find((s) => s.name === 'web')).toEqual({
      action: 'recreate',
      kind: 'service',
      name: 'web',
      details: ['image: a:1 → a:2', 'environment changed (KEY)', 'ports: none → 8080:80/tcp', 'replicas: 1 → 3'],
    });
    expect(steps.find((s) => s.name === 'gone')?.action).toBe('remove');
    expect(JSON.stringify(steps)).not.toContain('secret');
    expect(
      plan(
        world,
        stackOf('s', { web: { replicas: 2, container: { image: 'a:1', environment: { KEY: 'old-secret', SAME: '1' } } }, gone: 1 }),
      ).steps[1],
    ).toMatchObject({
      action: 'change',
      details: ['replicas: 1 → 2'],
    });
  });

  describe('of which services run that the file no longer has', () => {
    const old = () => {
      const world = new World(['a']);
      const networks = {
        default: { key: 'default', name: 's_default' },
        back: { key: 'back', name: 's_back' },
      };
      const volumes = { data: { key: 'data', name: 's_data' } };
      const mounts = [{ type: 'volume' as const, source: 's_data', target: '/d' }];
      world.up(stackOf('s', { web: 1, gone: { networks: { back: {} }, container: { image: 'b', mounts } } }, { networks, volumes }));
      world.tick();
      return world;
    };
    const next = stackOf('s', { web: 1 });
    const planned = (world: World, left: LeftBehind) => planStack(world.model, next, world.newId, world.now, left);

    it('keeps them with their networks and volumes, and names them, each time anew', () => {
      const world = old();
      const kept = planned(world, { keepOrphans: true });
      expect(kept.orphans).toEqual(['gone']);
      expect(kept.steps).toContainEqual({
        action: 'keep',
        kind: 'service',
        name: 'gone',
        details: ['no longer in the file; --remove-orphans removes it'],
      });
      expect([kept.steps.map((s) => s.action), kept.writes]).toEqual([['keep', 'keep', 'keep', 'keep', 'keep'], []]);
      expect([Object.keys(kept.stack.networks).sort(), Object.keys(kept.stack.volumes)]).toEqual([['back', 'default'], ['data']]);
    });

    it('removes them when asked to, with their networks', () => {
      const world = old();
      const removed = planned(world, { keepOrphans: false });
      expect(removed.orphans).toEqual(['gone']);
      expect(removed.steps.filter((s) => s.action === 'remove').map((s) => s.name)).toEqual(['s_back', 'gone']);
      expect(removed.stack.services['gone']).toBeUndefined();
    });

    it('keeps those of profiles that are not active, and calls them no orphans', () => {
      const world = old();
      const dormant = planned(world, { keepOrphans: false, dormant: ['gone', 'never-ran'] });
      expect([dormant.orphans, dormant.writes]).toEqual([[], []]);
      expect(dormant.steps.find((s) => s.name === 'gone')).toMatchObject({
        action: 'keep',
        details: [expect.stringContaining('profiles')],
      });
    });

    it('finds their network again under another key', () => {
      const world = old();
      const renamed = stackOf(
        's',
        { web: 1 },
        { networks: { default: { key: 'default', name: 's_default' }, rear: { key: 'rear', name: 's_back' } } },
      );
      const { stack, steps } = planStack(world.model, renamed, world.newId, world.now, { keepOrphans: true });
      expect(Object.keys(stack.services['gone']?.networks ?? {})).toEqual(['rear']);
      expect(steps.find((s) => s.name === 's_back')).toMatchObject({ action: 'change', details: ['key: back → rear'] });
    });
  });

  it('keeps the digest that a tag meant, unless it is asked anew', () => {
    const world = new World(['a']);
    const digest = `sha256:${'a'.repeat(64)}`;
    world.up(stackOf('s', { web: { container: { image: 'a:1', imageDigest: digest } } }));
    const same = plan(world, stackOf('s', { web: { container: { image: 'a:1' } } }));
    expect(same.writes).toEqual([]);
    expect(same.stack.services['web']?.container.imageDigest).toBe(digest);
    expect(
      plan(world, stackOf('s', { web: { container: { image: 'a:2' } } })).stack.services['web']?.container.imageDigest,
    ).toBeUndefined();
  });

  it('edits a network in place where no address depends on it, and makes it anew where one does', () => {
    const world = new World(['a']);
    const net = (parts: object) => ({ networks: { default: { key: 'default', name: 's_default', ...parts } } });
    world.up(stackOf('s', { web: 1 }));
    const before = [...world.model.networks.values()][0];
    expect(world.up(stackOf('s', { web: 1 }, net({ internal: true }))).steps).toMatchObject([
      { action: 'change', details: ['internal: false → true'] },
      { action: 'keep' },
    ]);
    expect([...world.model.networks.values()]).toEqual([{ ...before, internal: true }]);
    const anew = world.up(stackOf('s', { web: 1 }, net({ driver: 'bridge' })));
    expect(anew.steps).toMatchObject([
      { action: 'recreate', details: ['driver: overlay → bridge'] },
      { action: 'change', details: ['moves to network default made anew'] },
    ]);
    expect(world.model.networkNames.get('s_default')).not.toBe(before?.id);
    expect(world.model.networks.size).toBe(2);
  });

  describe('refuses, and names what is in the way:', () => {
    const world = new World(['a', 'b']);
    world.setFacts('b', {
      routes: ['172.30.0.0/16'],
      addresses: ['198.51.100.7/24'],
      listening: [
        { protocol: 'tcp', address: '127.0.0.1', port: 631, process: 'cupsd' },
        { protocol: 'udp', address: '0.0.0.0', port: 53, process: 'named' },
      ],
    });
    world.up(
      stackOf(
        'other',
        {
          web: {
            ports: [
              { target: 80, published: 8080 },
              { target: 53, published: 5353, protocol: 'udp' },
            ],
          },
        },
        { networks: { default: { key: 'default', name: 'taken', subnet: '10.9.0.0/24' } } },
      ),
    );
    const port = (published: number, more: object = {}) => stackOf('s', { web: { ports: [{ target: 80, published, ...more }] } });

    it.each([
      ['a port of another stack', port(8080), 'PORT_TAKEN', /service web of stack other/],
      ['a port that a process has', port(631), 'PORT_TAKEN', /cupsd listens on it on node b \(127\.0\.0\.1:631\)/],
      ['a UDP port that a process has', port(53, { protocol: 'udp' }), 'PORT_TAKEN', /named/],
      ['ssh', port(22), 'PORT_TAKEN', /ssh/],
      ['the agent', port(7702), 'PORT_TAKEN', /the agent/],
      ['VXLAN', port(4789, { protocol: 'udp' }), 'PORT_TAKEN', /VXLAN/],
      [
        'a subnet of another network',
        stackOf('s', { web: 1 }, subnet('10.9.0.128/25')),
        'SUBNET_CLASH',
        /network taken \(10\.9\.0\.0\/24\)/,
      ],
      ['a subnet with a route', stackOf('s', { web: 1 }, subnet('172.30.4.0/24')), 'SUBNET_CLASH', /route 172\.30\.0\.0\/16 of node b/],
      [
        'a subnet with an address',
        stackOf('s', { web: 1 }, subnet('198.51.100.0/25')),
        'SUBNET_CLASH',
        /address 198\.51\.100\.7\/24 of node b/,
      ],
      ['the underlay', stackOf('s', { web: 1 }, subnet('192.0.2.0/24')), 'SUBNET_CLASH', /192\.0\.2\.1 of node a/],
      [
        'a small subnet',
        stackOf('s', { web: 10 }, subnet('10.8.0.0/28')),
        'ADDRESSES_EXHAUSTED',
        /13 addresses to give, needed are 13: 10 for tasks|needed/,
      ],
      [
        'a name of another stack',
        stackOf('s', { web: 1 }, { networks: { default: { key: 'default', name: 'taken' } } }),
        'CONFLICT',
        /stack other/,
      ],
    ])('%s', (_what, stack, code, why) => {
      if (code === 'ADDRESSES_EXHAUSTED') stack.services['web']!.replicas = 11;
      expect(() => plan(world, stack)).toThrow(expect.objectContaining({ code, why: expect.stringMatching(why) }));
    });

    const each = ['node.hostname == a', 'node.hostname == b'];
    const elsewhere = { networks: { default: { key: 'default', name: 'taken' } } };
    it.each<[string, Record<string, unknown>]>([
      ['services web ports 1 published', { ports: [8081, 8080].map((published) => ({ target: 80, published })) }],
      ['services web ports 0 published', { ports: [{ target: 80, published: 8080, chosenFrom: { first: 8080, last: 8080 } }] }],
      ['services web deploy placement constraints 1', { placement: { constraints: ['node.hostname != a', 'node.hostname == z'] } }],
      ['services web deploy placement', { placement: { constraints: each } }],
      ['services web platform', { container: { image: 'x', platform: 'linux/riscv64' } }],
      ['networks default', {}],
    ])('where in the file it is: %s', (path, service) => {
      const stack = stackOf('s', { web: { replicas: 1, ...service } }, path === 'networks default' ? elsewhere : {});
      expect(() => plan(world, stack)).toThrow(expect.objectContaining({ path: path.split(' ') }));
    });

    it('but not the other protocol, another address, or what this stack publishes already', () => {
      expect(plan(world, port(8080, { protocol: 'udp' })).writes).not.toEqual([]);
      expect(plan(world, port(631, { hostIp: '198.51.100.7' })).writes).not.toEqual([]);
      const own = stackOf(
        'other',
        { web: { replicas: 2, ports: [{ target: 80, published: 8080 }] } },
        { networks: { default: { key: 'default', name: 'taken', subnet: '10.9.0.0/24' } } },
      );
      world.setFacts('a', { listening: [{ protocol: 'tcp', address: '127.0.0.1', port: 8080, process: 'weft' }] });
      expect(plan(world, own).steps.find((s) => s.name === 'web')?.action).toBe('change');
    });

    it('one port twice in the same stack, a network that is not declared, no node at all', () => {
      const twice = { ports: [{ target: 80, published: 9000 }] };
      expect(() => plan(world, stackOf('s', { a: twice, b: twice }))).toThrow(expect.objectContaining({ code: 'PORT_TAKEN' }));
      expect(() => plan(world, stackOf('s', { a: { networks: { nowhere: {} } } }))).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
      expect(() => plan(new World(), stackOf('s', { a: 1 }))).toThrow(
        expect.objectContaining({ code: 'NO_NODES', why: 'no node has joined yet' }),
      );
      const down = new World(['a', 'b', 'c']);
      down.setNodeState('a', 'down');
      down.setFacts('b', { quarantine: 'other cluster' });
      down.setNodeState('c', 'down');
      expect(() => plan(down, stackOf('s', { a: 1 }))).toThrow(expect.objectContaining({ why: '3 nodes: 2 down, 1 quarantined' }));
      expect(plan(down, stackOf('s', { a: 0 })).writes).not.toEqual([]);
    });
  });

  it('two plans made at the same time cannot both be stored', () => {
    const world = new World(['a']);
    const plans = ['s', 't'].map((name) => plan(world, stackOf(name, { web: 1 })));
    expect(plans.map((p) => world.txn(p.compares, p.writes))).toEqual([true, false]);
    expect([...world.model.stacks.keys()]).toEqual(['s']);
  });

  it('removal marks the stack; an up in between takes it back', () => {
    const world = new World(['a']);
    world.up(stackOf('s', { web: 1 }));
    world.settle();
    const removal = planRemoval(world.model, 's', world.now);
    expect(removal.steps.map((s) => `${s.action} ${s.kind}`)).toEqual(['remove service', 'remove network']);
    expect(world.txn(removal.compares, removal.writes)).toBe(true);
    expect(planRemoval(world.model, 's', world.now).writes).toEqual([]);
    world.tick();
    expect([...world.model.tasks.values()].map((t) => t.desired)).toEqual(['stop']);
    world.up(stackOf('s', { web: 1 }));
    world.settle();
    expect([...world.model.tasks.values()].map((t) => t.desired)).toEqual(['run']);
    expect(() => planRemoval(world.model, 'nothing', 0)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    world.write({ put: keys.stack('bad'), value: '{' });
    expect(() => plan(world, stackOf('bad', { web: 1 }))).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
  });
});
