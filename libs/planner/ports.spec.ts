/** Published ports: who is told what, what changes in place, which are refused and which are chosen. */
import { byKind, applySnapshot, type ViewByKind } from '#model/view-state.js';
import type { Stack } from '#model/stack.js';
import { viewOf } from './node-view-of.js';
import { planStack } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

const kinds = (world: World, node: string): ViewByKind =>
  byKind(applySnapshot({ clusterId: 'c', revision: 1, resources: viewOf(world.model, world.nodeId(node)), tombstones: [] }));
const web = (ports: object[], more: object = {}): Stack => stackOf('s', { web: { replicas: 2, ports, ...more } });
const made = (nodes: string[], stack: Stack): World => {
  const world = new World(nodes);
  world.up(stack);
  world.settle();
  return world;
};
const behind = (view: ViewByKind) => view.publications.map((p) => [p.published, p.backends.map((b) => b.ipv4)]);

describe('what a node is told of published ports', () => {
  it('every ingress port, with the healthy running tasks behind it, whether it runs one or not', () => {
    const world = made(
      ['a', 'b', 'c'],
      web([
        { target: 80, published: 8080 },
        { target: 81, published: 8081, mode: 'host' },
      ]),
    );
    for (const node of ['a', 'b', 'c']) expect(behind(kinds(world, node))).toEqual([[8080, ['10.128.0.2', '10.128.0.3']]]);
    const [task] = world.model.tasksOfService('s', 'web');
    world.report(task?.id ?? '', 'restarting');
    expect(behind(kinds(world, 'c'))).toEqual([[8080, ['10.128.0.3']]]);
    world.report(task?.id ?? '', 'running');
    world.setNodeState('a', 'down');
    expect(behind(kinds(world, 'c'))).toEqual([[8080, ['10.128.0.3']]]);
  });

  it('of a network that it only brings connections to: published tasks and their nodes, no address, no names', () => {
    const stack = stackOf('s', { web: { ports: [{ target: 80, published: 80 }] }, inner: 1 });
    const world = made(['a', 'b', 'c'], stack);
    const c = kinds(world, 'c');
    expect(c.networks.map((n) => [n.name, n.nodeAddress])).toEqual([['s_default', undefined]]);
    expect(c.endpoints.map((e) => [e.taskId !== undefined, e.published, e.vtep])).toEqual([
      [true, true, '192.0.2.1'],
      [false, undefined, '192.0.2.1'],
    ]);
    expect([c.names, c.vips, c.tasks]).toEqual([[], [], []]);
    expect(world.model.nodeAddresses.get(c.networks[0]?.id ?? '')?.size).toBe(2);
    expect(c.members.map((m) => m.index)).toEqual([1, 2, 3]);
  });

  it('nothing of a network without ingress ports', () => {
    const world = made(['a', 'b'], stackOf('s', { web: { ports: [{ target: 80, published: 80, mode: 'host' }] } }));
    expect(kinds(world, 'b').networks).toEqual([]);
    expect(kinds(world, 'b').publications).toEqual([]);
  });

  it('enters by the network with the highest gw_priority that is not internal', () => {
    const networks = {
      a: { key: 'a', name: 's_a' },
      b: { key: 'b', name: 's_b' },
      c: { key: 'c', name: 's_c', internal: true },
    };
    const on = (b: object) =>
      stackOf('s', { web: { ports: [{ target: 80, published: 80 }], networks: { a: {}, b, c: {} } } }, { networks });
    const door = (stack: Stack) => {
      const view = kinds(made(['n'], stack), 'n');
      return view.networks.find((n) => n.id === view.publications[0]?.backends[0]?.networkId)?.name;
    };
    expect(door(on({}))).toBe('s_a');
  });

  it('a bridge network is entered on its own node only', () => {
    const networks = { default: { key: 'default', name: 's_default', driver: 'bridge' } };
    const world = made(['a', 'b'], stackOf('s', { web: { ports: [{ target: 80, published: 80 }] } }, { networks }));
    expect(behind(kinds(world, 'a'))).toEqual([[80, ['10.128.0.2']]]);
    expect(behind(kinds(world, 'b'))).toEqual([[80, []]]);
    expect(kinds(world, 'b').networks).toEqual([]);
  });
});

describe('a change of ports and aliases', () => {
  it('edits the tasks in place and makes none anew', () => {
    const world = made(['a', 'b'], web([{ target: 80, published: 8080 }]));
    const before = [...world.model.tasks.keys()].sort();
    const plan = world.up(web([{ target: 80, published: 9090, mode: 'host' }], { networks: { default: { aliases: ['www'] } } }));
    expect(plan.steps.find((s) => s.kind === 'service')).toEqual({
      action: 'change',
      kind: 'service',
      name: 'web',
      details: ['ports: 8080:80/tcp → 9090:80/tcp (host)', 'networks: default → default (www)'],
    });
    world.settle();
    expect([...world.model.tasks.keys()].sort()).toEqual(before);
    for (const task of world.model.tasks.values()) {
      expect(task.ports).toEqual([{ target: 80, published: 9090, protocol: 'tcp', mode: 'host' }]);
      expect(task.endpoints[0]?.aliases).toEqual(['www']);
    }
    expect(world.tick()).toBe(0);
  });
});

describe('ports of mode host', () => {
  it('go to one task a node; the next waits and says why', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: { replicas: 3, ports: [{ target: 80, published: 80, mode: 'host' }] } }));
    world.settle();
    expect([...world.model.tasks.values()].map((t) => t.nodeId).sort()).toEqual([world.nodeId('a'), world.nodeId('b')].sort());
    const other = stackOf('t', { web: { ports: [{ target: 80, published: 80, mode: 'host' }] } });
    expect(() => world.up(other)).not.toThrow();
    expect(() => world.up(stackOf('u', { web: { ports: [{ target: 80, published: 80 }] } }))).toThrow(
      /service web of stack s publishes it/,
    );
  });

  it('are taken only where every node has somebody else on them', () => {
    const world = new World(['a', 'b']);
    const listening = [{ protocol: 'tcp' as const, address: '0.0.0.0', port: 80, process: 'nginx' }];
    world.setFacts('a', { listening });
    const stack = stackOf('s', { web: { ports: [{ target: 80, published: 80, mode: 'host' }] } });
    expect(() => planStack(world.model, stack, world.newId, 0)).not.toThrow();
    world.setFacts('b', { listening });
    expect(() => planStack(world.model, stack, world.newId, 0)).toThrow(/nginx listens on it on node a/);
  });
});

describe('ports that the file leaves open', () => {
  const chosenFrom = { first: 30_000, last: 30_002 };
  const open = { target: 80, published: 30_000, chosenFrom };
  const numbers = (world: World) => world.model.stacks.get('s')?.spec.services['web']?.ports.map((p) => p.published);

  it('are the lowest that nobody has, and stay', () => {
    const world = new World(['a']);
    world.up(stackOf('other', { x: { ports: [{ target: 1, published: 30_000 }] } }));
    world.up(web([open, { target: 90, published: 30_001 }]));
    expect(numbers(world)).toEqual([30_002, 30_001]);
    world.up(web([open]));
    expect(numbers(world)).toEqual([30_002]);
    expect(world.up(web([open])).writes).toEqual([]);
  });

  it('are refused when all are in use', () => {
    const world = new World(['a']);
    expect(() => world.up(web([open, open, open, open]))).toThrow(/every port from 30000 to 30002 is in use/);
  });
});

it('a service on internal networks only may not publish', () => {
  const world = new World(['a']);
  const networks = { default: { key: 'default', name: 's_default', internal: true } };
  expect(() => world.up(stackOf('s', { web: { ports: [{ target: 80, published: 80 }] } }, { networks }))).toThrow(
    /internal networks only \(default\)/,
  );
});

it('one port on all IPv4 addresses and on all IPv6 addresses are two', () => {
  const world = new World(['a']);
  const port = (hostIp?: string) => ({ target: 80, published: 80, hostIp });
  expect(() => world.up(stackOf('s', { a: { ports: [port('0.0.0.0')] }, b: { ports: [port('::')] } }))).not.toThrow();
  expect(() => world.up(stackOf('t', { a: { ports: [port('192.0.2.1')] } }))).toThrow(/stack s publishes it/);
});

describe('SCTP', () => {
  const up = (features: (string[] | undefined)[]) => {
    const world = new World(['a', 'b']);
    features.forEach((list, i) => world.setFacts(['a', 'b'][i] ?? '', list === undefined ? {} : { features: list }));
    return () => planStack(world.model, web([{ target: 38412, published: 38412, protocol: 'sctp' }]), world.newId, world.now);
  };

  it('is refused where the kernel of no node has it, and taken where one has, or may have', () => {
    expect(up([[], ['ipvlan']])).toThrow(expect.objectContaining({ code: 'BAD_VALUE', why: 'the kernel of no node has SCTP (a, b)' }));
    expect(up([[], ['sctp']])).not.toThrow();
    expect(up([[], undefined])).not.toThrow();
  });
});
