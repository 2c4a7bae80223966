/** Every text that tells a person why a service waits, or why it is refused. */
import { keys } from '#model/keys.js';
import { encode } from '#model/codec.js';
import { placementTroubles, waitingReason } from './plan-services.js';
import { stackOf, World } from './spec-kit.js';

const GIB = 2 ** 30;

function worldOf(...names: string[]): World {
  const world = new World();
  for (const name of names) world.addNode(name, { cpus: 4, memoryBytes: GIB, platform: 'linux/amd64' });
  return world;
}

const reasonOf = (world: World, service = 'web'): string => {
  const record = world.model.stacks.get('s');
  return record ? waitingReason(world.model, record, service, placementTroubles(world.model, world.now)) : 'no stack';
};

/** What `web` waits for once all is done that can be done. */
function waits(world: World, web: Record<string, unknown>, others: Record<string, Record<string, unknown>> = {}): string {
  world.up(stackOf('s', { ...others, web }));
  world.settle();
  return reasonOf(world);
}

const data = { container: { image: 'x', mounts: [{ type: 'volume', source: 's_data', target: '/data' }] } };
const volumeOn = (world: World, name: string, nodeId: string): void =>
  world.write({ put: keys.volume(name), value: encode({ name, stack: 's', labels: {}, createdAt: 0, nodeId }) });
const hostPort = { ports: [{ target: 80, published: 8080, protocol: 'tcp', mode: 'host' }] };

describe('a service that no node can take says of each node why', () => {
  it.each([
    ['drained', (w: World) => w.changeNode('b', { availability: 'drain' })],
    ['paused', (w: World) => w.changeNode('b', { availability: 'pause' })],
    ['down', (w: World) => w.setNodeState('b', 'down')],
    ['quarantined', (w: World) => w.setFacts('b', { quarantine: 'another cluster' })],
    ['joining', (w: World) => w.write({ delete: keys.nodeState(w.nodeId('b')) })],
  ])('%s', (word, change) => {
    const world = worldOf('a', 'b');
    change(world);
    expect(waits(world, { replicas: 2, placement: { maxReplicasPerNode: 1 } })).toBe(
      `no node can take it (2 nodes: 1 at max_replicas_per_node, 1 ${word})`,
    );
  });

  it('constraints, platform, and what others leave of memory and CPUs', () => {
    const world = worldOf('a', 'b', 'c', 'd');
    world.changeNode('a', { labels: { disk: 'ssd' } });
    world.changeNode('b', { labels: { disk: 'ssd' } });
    world.setFacts('c', { cpus: 4, memoryBytes: GIB, platform: 'linux/arm64' });
    world.changeNode('c', { labels: { disk: 'ssd' } });
    const web = (reservations: Record<string, number>) => ({
      replicas: 3,
      container: { image: 'x', platform: 'linux/amd64' },
      placement: { constraints: ['node.labels.disk == ssd'] },
      reservations,
    });
    const rest = '1 not linux/amd64, 1 not node.labels.disk == ssd)';
    expect(waits(world, web({ memoryBytes: GIB }))).toBe(`no node can take it (4 nodes: 2 lack memory, ${rest}`);
    world.up(stackOf('s', {}));
    world.settle();
    expect(waits(world, web({ nanoCpus: 3e9 }))).toBe(`no node can take it (4 nodes: 2 lack CPU, ${rest}`);
  });

  it('host ports', () => {
    const world = worldOf('a', 'b', 'c');
    world.changeNode('c', { availability: 'drain' });
    expect(waits(world, { replicas: 3, ...hostPort })).toBe(
      'no node can take it (3 nodes: 1 drained, 2 with another task on host port 8080/tcp)',
    );
  });

  it('a node that comes back, until what was replaced has ended there', () => {
    const world = worldOf('a', 'b');
    world.up(stackOf('s', { web: 2 }));
    world.settle();
    world.setNodeState('b', 'down');
    world.settle();
    world.setNodeState('b', 'ready');
    world.up(stackOf('s', { web: { replicas: 3, placement: { constraints: ['node.hostname == b'] } } }));
    world.tick();
    expect(reasonOf(world)).toContain('no node can take it (2 nodes: 1 coming back, 1 not node.hostname == b)');
  });
});

describe('a service whose data is on one node says why that node does not take it', () => {
  const bound = (change: (world: World) => void, web: Record<string, unknown> = {}): string => {
    const world = worldOf('a', 'b');
    volumeOn(world, 's_data', world.nodeId('a'));
    change(world);
    return waits(world, { replicas: 1, ...data, ...web });
  };

  it('drained, paused or down', () => {
    expect(bound((w) => w.changeNode('a', { availability: 'drain' }))).toBe('its data is on node a, which is drained');
    expect(bound((w) => w.changeNode('a', { availability: 'pause' }))).toBe('its data is on node a, which is paused');
    expect(bound((w) => w.setNodeState('a', 'down'))).toBe('its data is on node a, which is down');
  });

  it('full, or another than constraints ask for', () => {
    const reserved = { reservations: { memoryBytes: GIB } };
    expect(bound(() => undefined, { ...reserved, replicas: 2 })).toBe('its data is on node a, which cannot take it (lack memory)');
    expect(bound(() => undefined, { placement: { constraints: ['node.hostname != a'] } })).toBe(
      'its data is on node a, which cannot take it (not node.hostname != a)',
    );
    expect(bound(() => undefined, { ...hostPort, replicas: 2 })).toBe(
      'no node can take it (1 node: 1 with another task on host port 8080/tcp)',
    );
  });

  it('a node that was removed, or two nodes', () => {
    expect(bound((w) => volumeOn(w, 's_data', 'ffffffffffffffff'))).toContain(
      'volume s_data was on a node that is not in the cluster any more; `ctl volume rm --force s_data` gives it up for lost',
    );
    const mounts = ['s_data', 's_more'].map((source) => ({ type: 'volume', source, target: `/${source}` }));
    expect(bound((w) => volumeOn(w, 's_more', w.nodeId('b')), { container: { image: 'x', mounts } })).toBe(
      'volume s_data is on node a, volume s_more on node b',
    );
  });

  it('the node died with the task on it', () => {
    const world = worldOf('a', 'b');
    expect(waits(world, { replicas: 1, ...data })).toBe('');
    world.setNodeState('a', 'down');
    world.settle();
    expect(reasonOf(world)).toBe('node a is down, and volume s_data of s-web-1 is there');
    const other = worldOf('a', 'b');
    const mounts = [{ type: 'bind', source: '/srv', target: '/srv' }];
    expect(waits(other, { replicas: 1, container: { image: 'x', mounts } })).toBe('');
    other.setNodeState('a', 'down');
    other.settle();
    expect(reasonOf(other)).toBe('node a is down, and the data of s-web-1 is there');
  });
});

describe('a global service', () => {
  const global = (more: Record<string, unknown> = {}) => ({ mode: 'global', ...more });
  const labelled = global({ placement: { constraints: ['node.labels.disk == ssd'] } });

  it('that no node fits says so, in the plan and while it is so', () => {
    const world = worldOf('a', 'b', 'c');
    world.changeNode('c', { availability: 'drain' });
    const why = 'on no node (3 nodes: 1 drained, 2 not node.labels.disk == ssd)';
    const plan = world.up(stackOf('s', { web: labelled }));
    expect(plan.steps.find((s) => s.name === 'web')?.details).toContain(why);
    world.settle();
    expect(reasonOf(world)).toBe(why);
    world.changeNode('b', { labels: { disk: 'ssd' } });
    world.settle();
    expect(reasonOf(world)).toBe('');
    world.changeNode('b', { availability: 'drain' });
    world.settle();
    expect(reasonOf(world)).toBe('on no node (3 nodes: 2 drained, 1 not node.labels.disk == ssd)');
  });

  it.each(['global', 'global-job'])('of mode %s for which no node is large enough, or there at all', (mode) => {
    const world = worldOf('a');
    expect(waits(world, { mode, reservations: { memoryBytes: 2 * GIB } })).toBe('on no node (1 node: 1 too little memory)');
    expect(waits(world, { mode, reservations: { nanoCpus: 5e9 } })).toBe('on no node (1 node: 1 too few CPUs)');
    expect(waits(new World(), { mode })).toBe('on no node (no node has joined yet)');
  });

  it('that has no room on one of its nodes names node and reason', () => {
    const world = worldOf('a', 'b');
    world.up(
      stackOf('big', { db: { replicas: 1, reservations: { memoryBytes: GIB }, placement: { constraints: ['node.hostname == b'] } } }),
    );
    world.settle();
    expect(waits(world, global({ reservations: { memoryBytes: GIB } }))).toBe('it has to be on node b, which takes none now (lack memory)');
  });

  it('holds back who depends on it, with its own reason', () => {
    const world = worldOf('a');
    const dependsOn = { agent: { condition: 'service_healthy', required: true, restart: false } };
    expect(waits(world, { replicas: 1, dependsOn }, { agent: labelled })).toBe(
      'waits for agent to be healthy: it is on no node (1 node: 1 not node.labels.disk == ssd)',
    );
    expect(waits(world, { replicas: 1, dependsOn }, { agent: { replicas: 0 } })).toBe('waits for agent to be healthy: it has no replicas');
  });
});

it('a network that is not there', () => {
  const world = worldOf('a');
  world.up(stackOf('s', { web: 0 }));
  world.settle();
  world.write({ delete: keys.networkName('s_default') });
  world.write({ put: keys.stack('s'), value: encode({ ...world.model.stacks.get('s'), spec: stackOf('s', { web: 1 }) }) });
  world.settle();
  expect(reasonOf(world)).toBe('waits: network default is not there');
});

describe('what no node can ever meet is refused at once, with the reason of each node', () => {
  it.each([
    ['a constraint', { placement: { constraints: ['node.labels.disk == ssd'] } }, '2 nodes: 2 not node.labels.disk == ssd'],
    ['a node that is unknown', { placement: { constraints: ['node.hostname == c'] } }, '2 nodes: 2 not node.hostname == c'],
    ['a reservation of memory', { reservations: { memoryBytes: 2 * GIB } }, '2 nodes: 2 too little memory'],
    ['a reservation of CPUs', { reservations: { nanoCpus: 5e9 } }, '2 nodes: 2 too few CPUs'],
    ['a platform', { container: { image: 'x', platform: 'linux/riscv64' } }, '2 nodes: 2 not linux/riscv64'],
  ])('%s', (_what, service, why) => {
    const world = worldOf('a', 'b');
    expect(() => world.up(stackOf('s', { web: { replicas: 1, ...service } }))).toThrow(expect.objectContaining({ code: 'NO_NODES', why }));
    expect(world.model.stacks.size).toBe(0);
  });

  it('no node that takes tasks', () => {
    const world = worldOf('a', 'b');
    world.changeNode('a', { availability: 'drain' });
    world.setNodeState('b', 'down');
    expect(() => world.up(stackOf('s', { web: 1 }))).toThrow(
      expect.objectContaining({ code: 'NO_NODES', why: '2 nodes: 1 down, 1 drained' }),
    );
    expect(() => new World().up(stackOf('s', { web: 1 }))).toThrow(
      expect.objectContaining({ code: 'NO_NODES', why: 'no node has joined yet' }),
    );
  });

  it('services that wait for one another, or for one that is not there', () => {
    const on = (name: string) => ({ replicas: 1, dependsOn: { [name]: { condition: 'service_started', required: true, restart: false } } });
    const world = worldOf('a');
    expect(() => world.up(stackOf('s', { a: on('b'), b: on('a') }))).toThrow('services wait for one another: a → b → a');
    expect(() => world.up(stackOf('s', { a: on('c') }))).toThrow('service a depends on c, which the stack does not have');
  });

  it('fewer tasks than none', () => expect(() => stackOf('s', { web: -1 })).toThrow());
});
