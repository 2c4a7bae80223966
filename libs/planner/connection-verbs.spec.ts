/** `ctl network connect` and `disconnect`: what is written, what is refused, and how long it holds. */
import { WeftError } from '#base/errors.js';
import type { Attachment, Service } from '#model/stack.js';
import { REST_MS } from './allocate.js';
import { planConnect, planDisconnect, type ConnectionTarget } from './connection-verbs.js';
import { connectionsOf } from './connections.js';
import { DEFAULT_DRAIN_MS } from './drain.js';
import { planNetworkRemoval } from './network-verbs.js';
import { planCleanup } from './plan-cleanup.js';
import { planRemoval } from './plan-stack.js';
import { stackOf, World } from './spec-kit.js';

const network = (key: string, more: Record<string, unknown> = {}) => ({ [key]: { key, name: `s_${key}`, driver: 'overlay', ...more } });
const on = (...names: string[]): Service['networks'] => Object.fromEntries(names.map((n) => [n, { aliases: [] }]));
const nets = {
  networks: { ...network('default'), ...network('back', { subnet: '10.7.0.0/24' }), ...network('inner', { internal: true }) },
};
const WEB: ConnectionTarget = { stack: 's', service: 'web' };
const port = { target: 80, published: 8080, protocol: 'tcp' };

/** Two tasks of web and one of db on `default`; host in the node's network. */
function world(web: Record<string, unknown> = {}): World {
  const made = new World(['a']);
  made.up(file(web));
  made.settle();
  return made;
}
const file = (web: Record<string, unknown> = {}) =>
  stackOf(
    's',
    {
      web: { replicas: 2, networks: on('default'), ...web },
      db: { replicas: 1, networks: on('back') },
      host: { replicas: 1, networks: {}, networkMode: { kind: 'host' } },
    },
    nets,
  );
function carryOut(w: World, plan: { compares: Parameters<World['txn']>[0]; writes: Parameters<World['txn']>[1] }): void {
  expect(w.txn(plan.compares, plan.writes)).toBe(true);
  w.settle();
  w.now += DEFAULT_DRAIN_MS;
  w.settle();
}
const connect = (w: World, target: ConnectionTarget, name: string, more: Partial<Attachment> = {}) =>
  carryOut(w, planConnect(w.model, target, name, { aliases: [], ...more }));
const disconnect = (w: World, target: ConnectionTarget, name: string) => carryOut(w, planDisconnect(w.model, target, name));
const networksOf = (w: World, service = 'web') =>
  w.model
    .tasksOfService('s', service)
    .sort((a, b) => a.slot - b.slot)
    .map((t) => t.endpoints.map((e) => w.model.networks.get(e.networkId)?.key).join(' '));
/** As the leader does, until there is nothing left to throw away. */
function cleanup(w: World): void {
  while (w.apply(planCleanup(w.model, w.now)) > 0) w.now += REST_MS;
}
const said = (w: World) => connectionsOf(w.model, 's').length;

describe('connect and disconnect', () => {
  it('a service: all its tasks, the same tasks, and back', () => {
    const w = world();
    const ids = w.model.tasksOfService('s', 'web').map((t) => t.id);
    connect(w, WEB, 's_back', { aliases: ['extra'], gwPriority: 3 });
    expect(networksOf(w)).toEqual(['default back', 'default back']);
    expect(w.model.tasksOfService('s', 'web')[0]?.endpoints[1]).toMatchObject({ aliases: ['extra'], gwPriority: 3 });
    disconnect(w, WEB, 's_back');
    expect(networksOf(w)).toEqual(['default', 'default']);
    expect(w.model.tasksOfService('s', 'web').map((t) => t.id)).toEqual(ids);
    expect(said(w)).toBe(0);
  });

  it('one task; word of the service replaces it', () => {
    const w = world();
    connect(w, { ...WEB, slot: 2 }, 's_back');
    expect(networksOf(w)).toEqual(['default', 'default back']);
    connect(w, WEB, 's_back');
    expect([networksOf(w), said(w)]).toEqual([['default back', 'default back'], 1]);
    disconnect(w, { ...WEB, slot: 1 }, 's_back');
    expect(networksOf(w)).toEqual(['default', 'default back']);
    disconnect(w, WEB, 's_back');
    expect([networksOf(w), said(w)]).toEqual([['default', 'default'], 0]);
  });

  it('against the file, until the next up', () => {
    const w = world({ networks: on('default', 'back') });
    disconnect(w, WEB, 's_back');
    expect(networksOf(w)).toEqual(['default', 'default']);
    const plan = w.up(file({ networks: on('default', 'back') }));
    expect(plan.steps.find((s) => s.name === 'web')).toMatchObject({ action: 'change' });
    w.settle();
    expect([networksOf(w), said(w)]).toEqual([['default back', 'default back'], 0]);
  });

  it('what the file does not forbid outlives an up, and a change of the network', () => {
    const w = world();
    connect(w, WEB, 's_back');
    expect(w.up(file()).writes).toEqual([]);
    const other = file();
    other.networks['back'] = { ...(other.networks['back'] as (typeof other.networks)[string]), subnet: '10.8.0.0/24' };
    w.up(other);
    w.settle();
    w.now += DEFAULT_DRAIN_MS;
    w.settle();
    expect(w.model.tasksOfService('s', 'web').map((t) => t.endpoints.some((e) => e.ipv4.startsWith('10.8.0.')))).toEqual([true, true]);
  });

  it('has a static address, and nobody else gets it', () => {
    const w = world();
    connect(w, { ...WEB, slot: 1 }, 's_back', { ipv4: '10.7.0.9' });
    expect(w.model.tasksOfService('s', 'web').flatMap((t) => t.endpoints.map((e) => e.ipv4))).toContain('10.7.0.9');
    expect(() => connect(w, { ...WEB, slot: 2 }, 's_back', { ipv4: '10.7.0.9' })).toThrow(
      /task s-web-1 \(service s\/web, node .\) holds it/,
    );
  });

  it('goes with its service and its stack; the VIP goes with the last task', () => {
    const w = world();
    connect(w, WEB, 's_back');
    const vips = () => [...(w.model.vips.get(w.model.networkNames.get('s_back') ?? '')?.keys() ?? [])].sort();
    cleanup(w);
    expect(vips()).toEqual(['s/db', 's/web']);
    disconnect(w, WEB, 's_back');
    cleanup(w);
    expect(vips()).toEqual(['s/db']);
    connect(w, { ...WEB, slot: 2 }, 's_back');
    w.up(file({ replicas: 1 }));
    w.settle();
    cleanup(w);
    expect(said(w)).toBe(0);
    connect(w, WEB, 's_back');
    const { compares, writes } = planRemoval(w.model, 's', w.now);
    w.txn(compares, writes);
    expect(said(w)).toBe(0);
  });

  it("another's network: if it is attachable, and it stays while somebody is on it", () => {
    const w = world();
    w.up(
      stackOf(
        't',
        { x: { replicas: 1, networks: on('open') } },
        { networks: { open: { key: 'open', name: 't_open', driver: 'overlay', attachable: true } } },
      ),
    );
    w.up(
      stackOf(
        'u',
        { x: { replicas: 1, networks: on('shut') } },
        { networks: { shut: { key: 'shut', name: 'u_shut', driver: 'overlay' } } },
      ),
    );
    w.settle();
    expect(() => connect(w, WEB, 'u_shut')).toThrow(/not attachable/);
    connect(w, WEB, 't_open');
    const { compares, writes } = planRemoval(w.model, 't', w.now);
    w.txn(compares, writes);
    expect(() => planNetworkRemoval(w.model, 't_open')).toThrow(/uses it|declares it/);
    w.settle();
    cleanup(w);
    expect(w.model.networkNames.has('t_open')).toBe(true);
    disconnect(w, WEB, 't_open');
    cleanup(w);
    expect(w.model.networkNames.has('t_open')).toBe(false);
  });

  const refused: [string, string, (w: World) => void, RegExp][] = [
    ['NOT_FOUND', 'an unknown network', (w) => connect(w, WEB, 'nothing'), /there is no network "nothing"/],
    ['NOT_FOUND', 'an unknown service', (w) => connect(w, { ...WEB, service: 'x' }, 's_back'), /there is no service s\/x/],
    ['CONFLICT', 'a network it is on', (w) => connect(w, WEB, 's_default'), /on network s_default already/],
    ['CONFLICT', 'a network it is not on', (w) => disconnect(w, WEB, 's_back'), /is not on network s_back/],
    ['CONFLICT', 'a task in the network of its node', (w) => connect(w, { ...WEB, service: 'host' }, 's_back'), /cannot be changed/],
    ['BAD_VALUE', 'one address for two tasks', (w) => connect(w, WEB, 's_back', { ipv4: '10.7.0.9' }), /cannot have 10.7.0.9/],
    [
      'BAD_VALUE',
      'an address of elsewhere',
      (w) => connect(w, { ...WEB, slot: 1 }, 's_back', { ipv4: '10.9.0.9' }),
      /10\.7\.0\.0\/24|cannot/,
    ],
    ['BAD_VALUE', 'IPv6 where there is none', (w) => connect(w, { ...WEB, slot: 1 }, 's_back', { ipv6: 'fd00::9' }), /cannot have fd00::9/],
    ['BAD_VALUE', 'an interface that is there', (w) => connect(w, WEB, 's_back', { interfaceName: 'lo' }), /cannot be called lo/],
    ['CONFLICT', 'the last way in', (w) => disconnect(w, WEB, 's_default'), /cannot leave network s_default/],
  ];
  it.each(refused)('refuses with %s: %s', (code, _, attempt, message) => {
    const w = world({ ports: [port] });
    let error: unknown;
    try {
      attempt(w);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(WeftError);
    expect((error as WeftError).code).toBe(code);
    expect(String((error as WeftError).message)).toMatch(message);
  });
});
