import { keys } from '#model/keys.js';
import { byKind, applySnapshot, type ViewByKind } from '#model/view-state.js';
import type { NameRecord } from '#model/node-view.js';
import type { Task } from '#model/task.js';
import { drainOf, DEFAULT_DRAIN_MS } from './drain.js';
import { viewOf } from './node-view-of.js';
import { stackOf, World } from './spec-kit.js';

const kinds = (world: World, node = 'a'): ViewByKind =>
  byKind(applySnapshot({ clusterId: 'c', revision: 1, resources: viewOf(world.model, world.nodeId(node)), tombstones: [] }));
const nameOf = (view: ViewByKind, name: string): NameRecord | undefined => view.names.find((n) => n.name === name);
const addresses = (view: ViewByKind, name: string): string[] | undefined => nameOf(view, name)?.addresses;
const taskOf = (world: World, service: string, slot = 1): Task => {
  const task = world.model.tasksOfService('s', service).find((t) => t.slot === slot);
  if (!task) throw new Error(`no task ${service}.${slot}`);
  return task;
};
const health = (world: World, task: Task, health: string): void =>
  world.write({
    put: keys.taskStatus(task.id),
    value: JSON.stringify({ taskId: task.id, nodeId: task.nodeId, state: 'running', health, restarts: 0, message: '', at: 1 }),
  });

function shop(web: Record<string, unknown> = {}): World {
  const world = new World(['a', 'b']);
  world.up(stackOf('s', { web: { replicas: 2, ...web }, client: 1 }));
  world.settle();
  return world;
}

describe('names and virtual addresses', () => {
  it('have healthy tasks only; tasks.<service> has all that run', () => {
    const world = shop();
    const [one, two] = [taskOf(world, 'web', 1), taskOf(world, 'web', 2)];
    const all = [one, two].map((t) => t.endpoints[0]?.ipv4);
    for (const [state, backends] of [
      ['starting', [all[1]]],
      ['unhealthy', [all[1]]],
      ['healthy', all],
    ] as const) {
      health(world, one, state);
      const view = kinds(world);
      expect(view.vips.find((v) => v.service === 'web')?.backends).toEqual(backends);
      expect(addresses(view, 'tasks.web')).toEqual(all);
      expect(addresses(view, 'tasks.web.s')).toEqual(all);
      expect(addresses(view, 's-web-1')).toEqual([all[0]]);
    }
  });

  it('dnsrr: the name is the tasks that serve, no address is spent, and the mode changes without new tasks', () => {
    const world = shop({ endpointMode: 'dnsrr' });
    const before = world.model.tasksOfService('s', 'web').map((t) => t.id);
    const all = [taskOf(world, 'web', 1), taskOf(world, 'web', 2)].map((t) => t.endpoints[0]?.ipv4);
    let view = kinds(world);
    expect(view.vips.map((v) => v.service)).toEqual(['client']);
    expect([addresses(view, 'web'), addresses(view, 'web.s')]).toEqual([all, all]);
    world.report(taskOf(world, 'web', 1).id, 'restarting');
    expect(addresses(kinds(world), 'web')).toEqual([all[1]]);
    world.report(taskOf(world, 'web', 2).id, 'restarting');
    expect(addresses(kinds(world), 'web')).toEqual([]);

    world.up(stackOf('s', { web: { replicas: 2, endpointMode: 'vip' }, client: 1 }));
    world.settle();
    view = kinds(world);
    const vip = view.vips.find((v) => v.service === 'web');
    expect(vip?.backends).toEqual(all);
    expect(addresses(view, 'web')).toEqual([vip?.ipv4]);

    world.up(stackOf('s', { web: { replicas: 2, endpointMode: 'dnsrr' }, client: 1 }));
    world.settle();
    expect(addresses(kinds(world), 'web')).toEqual(all);
    expect(world.model.tasksOfService('s', 'web').map((t) => t.id)).toEqual(before);
  });

  it('a node that is declared dead serves nothing, and its endpoints are lost', () => {
    const world = shop();
    const dead = taskOf(world, 'web', 1).nodeId;
    const [deadName, liveName] = dead === world.nodeId('a') ? ['a', 'b'] : ['b', 'a'];
    world.setNodeState(deadName, 'down');
    const view = kinds(world, liveName);
    const alive = taskOf(world, 'web', 2).endpoints[0]?.ipv4;
    expect(view.vips.find((v) => v.service === 'web')?.backends).toEqual([alive]);
    expect(addresses(view, 'tasks.web')).toEqual([alive]);
    expect(view.endpoints.filter((e) => e.lost).map((e) => e.nodeId)).toEqual(
      view.endpoints.filter((e) => e.taskId !== undefined && e.nodeId === dead).map((e) => e.nodeId),
    );
    expect(view.endpoints.some((e) => e.lost)).toBe(true);
  });

  it('carry ports for SRV, the time to live and affinity', () => {
    const world = shop({
      ports: [{ published: 8080, target: 80, name: 'HTTP' }],
      expose: [{ port: 9090, protocol: 'tcp' }],
      dnsTtlSeconds: 30,
      affinity: 'client',
    });
    const view = kinds(world);
    const ports = [
      { port: 80, protocol: 'tcp', name: 'http' },
      { port: 9090, protocol: 'tcp' },
    ];
    expect(nameOf(view, 'web')).toMatchObject({ ports, ttlSeconds: 30 });
    expect(nameOf(view, 'web')).not.toHaveProperty('targets');
    expect(nameOf(view, 'tasks.web')).toMatchObject({ ports, targets: ['s-web-1', 's-web-2'], ttlSeconds: 30 });
    expect(nameOf(view, 'client')).not.toHaveProperty('ports');
    expect(view.vips.find((v) => v.service === 'web')?.affinity).toBe('client');
  });
});

describe('a task that is told to stop', () => {
  it('leaves names and virtual addresses at once, keeps its endpoint, and gets time to drain', () => {
    const world = shop({ drainMs: 900 });
    world.up(stackOf('s', { web: { replicas: 1, drainMs: 900 }, client: 1 }));
    world.tick();
    const going = taskOf(world, 'web', 2);
    expect(going).toMatchObject({ desired: 'stop', drainMs: 900 });
    const view = kinds(world);
    const address = going.endpoints[0]?.ipv4 ?? '';
    expect(view.vips.find((v) => v.service === 'web')?.backends).not.toContain(address);
    expect(view.names.filter((n) => n.addresses.includes(address))).toEqual([]);
    expect(view.endpoints.map((e) => e.ipv4)).toContain(address);
  });

  it('does not drain when nobody was sent to it, or all of its stack goes', () => {
    const world = shop();
    const task = taskOf(world, 'web', 1);
    expect(drainOf(world.model, task)).toBe(DEFAULT_DRAIN_MS);
    world.report(task.id, 'restarting');
    expect(drainOf(world.model, task)).toBe(0);
    world.report(task.id, 'running');
    const record = world.model.stacks.get('s');
    world.write({ put: keys.stack('s'), value: JSON.stringify({ ...record, removing: true }) });
    expect(drainOf(world.model, task)).toBe(0);
  });
});
