import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Stack } from '#model/stack.js';
import { planServices } from './plan-services.js';
import { World, stackOf } from './spec-kit.js';
import { volumeRows } from './volumes.js';

const mount = (source: string) => ({ type: 'volume', source, target: `/${source}` });
const service = (volumes: string[], parts: object = {}) => ({ container: { image: 'db', mounts: volumes.map(mount) }, ...parts });
const wishes = (...names: string[]) => ({ volumes: Object.fromEntries(names.map((name) => [name, { key: name, name }])) });
const stack = (services: Record<string, Record<string, unknown>>, ...names: string[]): Stack => stackOf('s', services, wishes(...names));

const nodesOf = (world: World): string[] => [...new Set([...world.model.tasks.values()].map((t) => t.nodeId))];
const waiting = (world: World): Map<string, string> => planServices(world.model, world.newId, world.now).waiting;

function world3(): World {
  return new World(['n1', 'n2', 'n3']);
}

function down(world: World, name = 's'): void {
  const record = world.model.stacks.get(name);
  world.write({ put: keys.stack(name), value: encode({ ...record, removing: true }) });
  world.settle();
}

describe('named volumes', () => {
  it('are on one node, with every task that mounts them', () => {
    const world = world3();
    world.up(stack({ db: service(['v'], { replicas: 3 }), tool: service(['v']) }, 'v'));
    world.settle();
    expect(world.model.tasks.size).toBe(4);
    const [node, ...more] = nodesOf(world);
    expect(more).toEqual([]);
    expect(world.model.volumes.get('v')).toMatchObject({ name: 'v', stack: 's', nodeId: node });
    expect(volumeRows(world.model)).toMatchObject([{ name: 'v', stack: 's', nodeState: 'ready', users: ['s/db', 's/tool'] }]);
  });

  it('are found again by a stack that was down, wherever else there is room', () => {
    const world = world3();
    world.up(stack({ db: service(['v']) }, 'v'));
    world.settle();
    const [node] = nodesOf(world);
    down(world);
    // The node with the data has the most to do now.
    world.up(stackOf('other', { a: { replicas: 3 } }));
    world.settle();
    world.up(stack({ db: service(['v']) }, 'v'));
    world.settle();
    expect(world.model.tasksOfService('s', 'db').map((t) => t.nodeId)).toEqual([node]);
  });

  it('keep a service waiting, with the reason, while their node is away; and when it is gone for good', () => {
    const world = world3();
    world.up(stack({ db: service(['v']) }, 'v'));
    world.settle();
    const node = [...world.model.nodes.values()].find((n) => n.id === nodesOf(world)[0])?.name ?? '';
    down(world);
    world.setNodeState(node, 'down');
    world.up(stack({ db: service(['v']) }, 'v'));
    world.settle();
    expect(waiting(world).get('s/db')).toBe(`its data is on node ${node}, which is down`);
    expect(world.model.tasks.size).toBe(0);
    world.write({ delete: keys.node(world.nodeId(node)) });
    world.settle();
    expect(waiting(world).get('s/db')).toContain('volume v was on a node that is not in the cluster any more');
    expect(volumeRows(world.model)).toMatchObject([{ nodeState: 'removed' }]);
    // Somebody gave it up.
    world.write({ delete: keys.volume('v') });
    world.settle();
    expect(world.model.tasks.size).toBe(1);
  });

  it('bring a service to where they are when it begins to mount them; two on two nodes bring it nowhere', () => {
    const world = world3();
    world.up(stack({ a: service(['v']), b: service(['w']), c: { container: { image: 'x' } } }, 'v', 'w'));
    world.settle();
    const home = world.model.volumes.get('v')?.nodeId;
    expect(world.model.volumes.get('w')?.nodeId).not.toBe(home);
    world.up(stack({ a: service(['v']), b: service(['w']), c: service(['v']) }, 'v', 'w'));
    world.settle();
    expect(world.model.tasksOfService('s', 'c').map((t) => t.nodeId)).toEqual([home]);
    world.up(stack({ a: service(['v']), b: service(['w']), c: service(['v']), d: service(['v', 'w']) }, 'v', 'w'));
    world.settle();
    expect(waiting(world).get('s/d')).toMatch(/^volume v is on node n\d, volume w on node n\d$/);
  });

  it('of global services are on every node', () => {
    const world = world3();
    world.up(stack({ all: service(['v'], { mode: 'global' }) }, 'v'));
    world.settle();
    expect(nodesOf(world)).toHaveLength(3);
    expect(world.model.volumes.size).toBe(0);
  });

  it('that are external have to be there, and are placed with the first that mounts them', () => {
    const world = world3();
    const wanted = stackOf('s', { db: service(['kept']) }, { volumes: { v: { key: 'v', name: 'kept', external: true } } });
    expect(() => world.up(wanted)).toThrow('there is no volume kept, which stack s calls external');
    world.write({ put: keys.volume('kept'), value: encode({ name: 'kept', stack: '', labels: { a: 'b' }, createdAt: 1 }) });
    world.up(wanted);
    world.settle();
    expect(world.model.volumes.get('kept')).toMatchObject({ stack: '', labels: { a: 'b' }, createdAt: 1, nodeId: nodesOf(world)[0] });
  });

  it('bring nobody together who mounts paths of the node; a service that mounts those of another is put beside it, slot by slot', () => {
    const world = world3();
    const bind = { container: { image: 'x', mounts: [{ type: 'bind', source: '/srv', target: '/srv' }] } };
    const both = stackOf('s', { a: { ...bind, replicas: 3 }, b: { ...bind, replicas: 2, placedWith: 'a' } });
    world.up(both);
    world.settle();
    const nodes = (name: string) =>
      world.model
        .tasksOfService('s', name)
        .sort((x, y) => x.slot - y.slot)
        .map((t) => t.nodeId);
    expect(new Set(nodes('a')).size).toBe(3);
    expect(nodes('b')).toEqual(nodes('a').slice(0, 2));
    world.up(stackOf('t', { a: { ...bind, replicas: 0 }, c: { ...bind, placedWith: 'a' } }));
    world.settle();
    expect(waiting(world).get('t/c')).toBe('it waits for slot 1 of a, whose paths of the node it mounts');
  });

  describe('with options', () => {
    const NFS = { type: 'nfs', device: ':/export', options: ['addr=10.0.0.1'] };
    const BIND = { type: 'none', device: '/srv', options: ['bind'] };
    const withOptions = (options: object | undefined, parts: object = {}): Stack =>
      stackOf('s', { db: service(['v'], parts) }, { volumes: { v: { key: 'v', name: 'v', options } } });

    it('reach the tasks, and are on record; what is the same on every node is on none', () => {
      const world = world3();
      world.up(withOptions(NFS, { replicas: 3 }));
      world.settle();
      expect(nodesOf(world)).toHaveLength(3);
      expect([...world.model.tasks.values()].map((t) => t.container.mounts[0]?.volumeOptions)).toEqual([NFS, NFS, NFS]);
      expect(world.model.volumes.get('v')).toMatchObject({ options: NFS });
      expect(world.model.volumes.get('v')).not.toHaveProperty('nodeId');
      expect(world.up(withOptions(NFS, { replicas: 3 })).writes).toEqual([]);
    });

    it('keep a service on its node where they mean what only that has', () => {
      const world = world3();
      world.up(withOptions(BIND, { replicas: 3 }));
      world.settle();
      expect(nodesOf(world)).toHaveLength(1);
      expect(world.model.volumes.get('v')).toMatchObject({ options: BIND, nodeId: nodesOf(world)[0] });
    });

    it('let go of a dead node where the data is elsewhere', () => {
      const world = world3();
      world.up(withOptions(NFS));
      world.settle();
      const dead = nodesOf(world)[0];
      world.setNodeState([...world.model.nodes.values()].find((n) => n.id === dead)?.name ?? '', 'down');
      world.settle();
      expect([...world.model.tasks.values()].filter((t) => !t.orphan).map((t) => t.nodeId === dead)).toEqual([false]);
    });

    it('of an external volume are those that it was made with', () => {
      const world = world3();
      world.write({ put: keys.volume('v'), value: encode({ name: 'v', stack: '', createdAt: 1, options: NFS }) });
      world.up(stackOf('s', { db: service(['v']) }, { volumes: { v: { key: 'v', name: 'v', external: true } } }));
      world.settle();
      expect([...world.model.tasks.values()].map((t) => t.container.mounts[0]?.volumeOptions)).toEqual([NFS]);
    });

    it('that are others than those of the volume that is there are refused', () => {
      const world = world3();
      world.up(withOptions(NFS));
      world.settle();
      expect(() => world.up(withOptions(undefined))).toThrow('there is a volume v already, and it is another one than stack s says');
      expect(() => world.up(withOptions({ ...NFS, options: ['addr=10.0.0.2'] }))).toThrow('another one');
    });
  });
});
