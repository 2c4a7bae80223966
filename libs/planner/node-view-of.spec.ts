import { byKind, applySnapshot, type ViewByKind } from '#model/view-state.js';
import { keys } from '#model/keys.js';
import type { Resource } from '#model/node-view.js';
import { diffViews, EMPTY_VIEW } from './diff-views.js';
import { viewOf } from './node-view-of.js';
import { stackOf, World } from './spec-kit.js';
import { ViewIndex } from './view-index.js';

const kinds = (world: World, node: string): ViewByKind =>
  byKind(applySnapshot({ clusterId: 'c', revision: 1, resources: viewOf(world.model, world.nodeId(node)), tombstones: [] }));
const names = (view: ViewByKind): Record<string, string[]> => Object.fromEntries(view.names.map((n) => [n.name, n.addresses]));

describe('the view of a node', () => {
  const world = new World(['a', 'b', 'c']);
  world.setFacts('b', { underlayMtu: 9000 });
  world.setFacts('c', { underlayMtu: 1400 });
  const stack = stackOf(
    's',
    {
      Web: { replicas: 2, networks: { default: { aliases: ['www', 'Site'] } }, container: { image: 'i', hostname: 'front' } },
      db: { replicas: 1, networks: { back: {} } },
    },
    { networks: { default: { key: 'default', name: 's_default' }, back: { key: 'back', name: 's_back', internal: true } } },
  );
  world.up(stack);
  world.settle();
  const [a, c] = [kinds(world, 'a'), kinds(world, 'c')];

  it('has its own tasks, and only networks it has tasks on', () => {
    expect(a.tasks.map((t) => t.name)).toEqual(['s-Web-1']);
    expect(a.networks.map((n) => n.name)).toEqual(['s_default']);
    expect(c.networks.map((n) => [n.name, n.internal])).toEqual([['s_back', true]]);
    expect(new Set([...a.endpoints, ...a.names, ...a.vips].map((r) => r.networkId))).toEqual(new Set([a.networks[0]?.id]));
  });

  it('has the endpoints of all nodes there, with addresses that can be recomputed', () => {
    expect(a.endpoints.filter((e) => e.taskId).map((e) => [e.ipv4, e.mac, e.vtep])).toEqual([
      ['10.128.0.2', '02:42:0a:80:00:02', '192.0.2.1'],
      ['10.128.0.3', '02:42:0a:80:00:03', '192.0.2.2'],
    ]);
    expect(a.endpoints.filter((e) => !e.taskId)).toHaveLength(2);
    expect(a.endpoints.find((e) => !e.taskId && e.vtep === '192.0.2.1')?.ipv4).toBe(a.networks[0]?.nodeAddress);
  });

  it('has the smallest MTU of the cluster less the encapsulation, all members, and the guarded ports', () => {
    expect([a.networks[0]?.mtu, c.networks[0]?.mtu]).toEqual([1350, 1350]);
    world.write({
      put: keys.controller('c0ffee01'),
      value: JSON.stringify({ id: 'c0ffee01', name: 'k', address: '192.0.2.9', port: 7700, guardedPorts: [7704, 7701] }),
    });
    const view = kinds(world, 'a');
    expect(view.members.map((m) => m.name)).toEqual(['a', 'b', 'c', 'k']);
    expect(view.settings).toEqual({ vxlanPort: 4789, wireguardPort: 7706, guardedTcpPorts: [7700, 7701, 7702, 7704] });
  });

  it('knows the IPv6 addresses of members, without their prefixes and what is only on a link', () => {
    world.setFacts('b', { underlayMtu: 9000, addresses: ['192.0.2.2/24', 'fd99::2/64', '2001:db8::2/64'] });
    expect(kinds(world, 'a').members.map((m) => m.addresses6)).toEqual([undefined, ['2001:db8::2', 'fd99::2'], undefined, undefined]);
    world.setFacts('b', { underlayMtu: 9000 });
  });

  it('names: service, alias and service.stack are the VIP, tasks.service the running tasks, a task by its names itself', () => {
    const vip = a.vips[0]?.ipv4 ?? '';
    const id = a.tasks[0]?.id.slice(0, 12) ?? '';
    expect(names(a)).toMatchObject({
      web: [vip],
      'web.s': [vip],
      www: [vip],
      site: [vip],
      'tasks.web': ['10.128.0.2', '10.128.0.3'],
      's-web-1': ['10.128.0.2'],
      's-web-2': ['10.128.0.3'],
      front: ['10.128.0.2', '10.128.0.3'],
      [id]: ['10.128.0.2'],
    });
    expect(names(a)).not.toHaveProperty('db');
    expect(a.vips).toEqual([{ networkId: a.networks[0]?.id, service: 'Web', ipv4: vip, backends: ['10.128.0.2', '10.128.0.3'] }]);
  });

  it('a task that does not run is no backend and not in tasks.service, but keeps its endpoint and own name', () => {
    const task = world.model.tasksOfService('s', 'Web').find((t) => t.slot === 2);
    const index = new ViewIndex(world.model);
    world.onChange = (changed) => index.note(changed);
    const before = index.viewOf(world.nodeId('a'));
    expect(diffViews(EMPTY_VIEW, before)).toMatchObject({
      upserts: { length: viewOf(world.model, world.nodeId('a')).length },
      removals: [],
    });
    world.report(task?.id ?? '', 'restarting');
    const delta = diffViews(before, index.viewOf(world.nodeId('a')));
    expect(delta.upserts.map(({ json }) => (JSON.parse(json) as Resource).kind).sort()).toEqual(['name', 'name', 'vip']);
    expect(delta.removals).toEqual([]);
    const view = kinds(world, 'a');
    expect(view.vips[0]?.backends).toEqual(['10.128.0.2']);
    expect(names(view)['tasks.web']).toEqual(['10.128.0.2']);
    expect(names(view)['s-web-2']).toEqual(['10.128.0.3']);
    expect(view.endpoints).toHaveLength(4);
    world.report(task?.id ?? '', 'running');
    expect(diffViews(before, index.viewOf(world.nodeId('a')))).toEqual({ upserts: [], removals: [] });
    expect(diffViews(index.viewOf(world.nodeId('a')), index.viewOf(world.nodeId('a')))).toEqual({ upserts: [], removals: [] });
  });

  it('a bridge network knows only what is on the node itself; the default one knows no names', () => {
    const local = new World(['a', 'b']);
    local.up(stackOf('s', { web: { replicas: 2, networkMode: { kind: 'bridge' }, networks: {} } }));
    local.settle();
    const view = kinds(local, 'b');
    expect(view.endpoints.map((e) => e.vtep)).toEqual(['192.0.2.2', '192.0.2.2']);
    expect(view.networks.map(({ name, mtu, stack }) => ({ name, mtu, stack }))).toEqual([{ name: 'bridge', mtu: 1500, stack: '' }]);
    expect([view.names, view.vips]).toEqual([[], []]);
  });

  it('has names for tasks in the network of their node: its address', () => {
    const world = new World(['a', 'b']);
    world.up(stackOf('s', { web: { replicas: 2 }, agent: { replicas: 1, networkMode: { kind: 'host' }, networks: {} } }));
    world.settle();
    const task = world.model.tasksOfService('s', 'agent')[0];
    expect(task?.endpoints).toEqual([]);
    const address = world.model.nodes.get(task?.nodeId ?? '')?.address;
    for (const node of ['a', 'b'])
      expect(names(kinds(world, node))).toMatchObject({ agent: [address], 's-agent-1': [address], 'tasks.agent': [address] });
  });
});
