/** The kernel as a port: one suite on the real one and on its fake; then what only the real one can show. */
import { jest } from '@jest/globals';
import { silentLog } from '#base/log.js';
import { FakeKernel } from '#linux/fake-kernel.js';
import type { Kernel } from '#linux/kernel.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { NftSessions } from '#linux/nft-sessions.js';
import { StandbyCommands } from '#linux/standby.js';
import { KernelReconciler } from '#linux/reconciler.js';
import type { Run } from '#linux/runner.js';
import { run } from '#linux/runner.js';
import { diff } from '#overlay/diff.js';
import type { KernelState } from '#overlay/kernel-state.js';
import { FIREWALL_TABLE, taskNamespace, vethName } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { describe as describeOperation } from '#overlay/operation.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(60_000);

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.77.${i}`, octet: 250 + i });
const [n1, n2] = [node(1), node(2)];
const stateOf = (cluster: ClusterModel, n: ModelNode): KernelState => nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address });
const parts = { log: silentLog };

function makeCluster(salt: number): ClusterModel {
  const c = new ClusterModel();
  c.nodes = [n1, n2];
  c.networks = [
    { id: 'aaaaaaaa', key: 'front', base: '10.90.0', vni: 4097 },
    { id: 'bbbbbbbb', key: 'back', base: '10.91.0', vni: 4098, internal: true },
  ];
  c.tasks = [
    { id: testId(salt), name: 'web', node: n1, on: { front: 10, back: 10 }, ports: [{ target: 80, published: 8080 }] },
    { id: testId(salt + 1), name: 'side', node: n1, on: { front: 11 } },
    { id: testId(salt + 2), name: 'far', node: n2, on: { front: 20, back: 20 } },
  ];
  c.vips = [{ network: 'front', octet: 200, service: 'web', tasks: ['web', 'far'] }];
  return c;
}

/** A cluster without its last `count` tasks. */
function without(cluster: ClusterModel, ...names: string[]): ClusterModel {
  const less = Object.assign(new ClusterModel(), cluster);
  less.tasks = cluster.tasks.filter((t) => !names.includes(t.name));
  less.vips = cluster.vips.map((v) => ({ ...v, tasks: v.tasks.filter((t) => !names.includes(t)) }));
  return less;
}

describe.each(['fake', 'linux', 'linux with kept processes'])('kernel contract: %s', (kind) => {
  const lab = new NetnsLab();
  const cluster = makeCluster(kind === 'fake' ? 1000 : 1100);
  const sessions = kind === 'linux with kept processes' ? new NftSessions() : undefined;
  const standby = kind === 'linux with kept processes' ? new StandbyCommands() : undefined;
  let kernel: Kernel;

  beforeAll(async () => {
    await lab.start();
    const ns = await lab.host('n1', n1.address);
    kernel =
      kind === 'fake'
        ? new FakeKernel()
        : new LinuxKernel({ enter: ns, ...(sessions ? { sessions } : {}), ...(standby ? { standby, runner: standby.run } : {}) });
  });
  afterAll(async () => {
    await new KernelReconciler({ kernel, ...parts }).removeAll();
    sessions?.stop();
    standby?.stop();
    await lab.stop();
  });

  it('is empty of ours at first, becomes what is wished, and then nothing differs', async () => {
    const wish = stateOf(cluster, n1);
    expect(Object.values((await kernel.observe(wish)).namespaces).flatMap((s) => Object.keys(s.links))).toEqual([]);
    const { failed } = await kernel.apply(diff(wish, await kernel.observe(wish)));
    expect(failed).toEqual([]);
    expect(await kernel.observe(wish)).toEqual(wish);
  });

  it('tells of the tables of one namespace alone, and of none where there is no namespace', async () => {
    const wish = stateOf(cluster, n1);
    const web = taskNamespace(cluster.tasks[0]?.id ?? '');
    const { nft, vips, elements } = wish.namespaces[web] ?? { nft: {}, vips: {}, elements: {} };
    expect(Object.keys(vips)).toEqual(['ip weft']);
    expect(await kernel.tables(web)).toEqual({ nft, vips, elements });
    expect(await kernel.tables('weft-00000000')).toEqual({ nft: {}, vips: {}, elements: {} });
  });

  it('goes from any of these wishes to any other', async () => {
    const changed = Object.assign(new ClusterModel(), cluster, {
      mtu: 1400,
      settings: { vxlanPort: 4790, wireguardPort: 7706, guardedTcpPorts: [] },
    });
    const moved = Object.assign(new ClusterModel(), cluster, { nodes: [{ ...n1, octet: 240 }, n2] });
    const wishes = [
      stateOf(without(cluster, 'web'), n1),
      stateOf(changed, n1),
      stateOf(without(cluster, 'web', 'side'), n1),
      nodeKernel(moved.view({ ...n1, octet: 240 }), { nodeId: n1.id, address: n1.address }),
      stateOf(without(cluster, 'far'), n1),
      stateOf(cluster, n1),
    ];
    for (const wish of wishes) {
      const operations = diff(wish, await kernel.observe(wish));
      expect((await kernel.apply(operations)).failed).toEqual([]);
      expect(diff(wish, await kernel.observe(wish)).map(describeOperation)).toEqual([]);
    }
  });

  it('says which operation failed, and does the others', async () => {
    const wish = stateOf(cluster, n1);
    const { failed } = await kernel.apply([
      { op: 'putNeighbour', ns: '', neighbour: { dev: 'wfb4097', address: '10.90.0.77', mac: '02:42:0a:5a:00:4d' } },
      { op: 'removeLink', ns: '', name: 'wfb9999' },
      { op: 'putNeighbour', ns: '', neighbour: { dev: 'wfb4097', address: '10.90.0.78', mac: '02:42:0a:5a:00:4e' } },
      { op: 'putFdb', ns: '', row: { dev: 'wfx9999', mac: '02:42:0a:5a:00:4e', vtep: '192.168.77.2' } },
    ]);
    expect(failed.map((f) => f.operation.op)).toEqual(['removeLink', 'putFdb']);
    for (const f of failed) expect(f.error).toMatch(/9999/);
    const extra = diff(wish, await kernel.observe(wish)).map((o) => o.op);
    expect(extra).toEqual(['removeNeighbour', 'removeNeighbour']);
  });

  it('gives everything back', async () => {
    const { failed } = await new KernelReconciler({ kernel, ...parts }).removeAll();
    expect(failed).toEqual([]);
    const left = await kernel.observe(stateOf(cluster, n1));
    expect(Object.keys(left.namespaces)).toEqual(['']);
    expect({ ...left.namespaces[''], sysctls: {}, flows: [], doors: [] }).toEqual({
      links: {},
      addresses: {},
      routes: {},
      rules: {},
      vips: {},
      elements: {},
      neighbours: {},
      fdb: {},
      peers: {},
      sysctls: {},
      nft: {},
      flows: [],
      doors: [],
    });
  });
});

describe('reconciling a real kernel', () => {
  const lab = new NetnsLab();
  const cluster = makeCluster(1200);
  const ns = (name: string) => taskNamespace(cluster.tasks.find((t) => t.name === name)?.id ?? '');
  const veth = (name: string, network: string) => vethName(cluster.tasks.find((t) => t.name === name)?.id ?? '', network);
  const spawned: string[][] = [];
  const counting: Run = (argv, options) => {
    spawned.push([...argv]);
    return run(argv, options);
  };
  /** As in an agent: what is changed element by element starts no process. */
  const kept = new NftSessions();
  let [h1, h2, out] = ['', '', ''];
  let r1: KernelReconciler;
  let r2: KernelReconciler;

  beforeAll(async () => {
    await lab.start();
    [h1, h2, out] = [await lab.host('n1', n1.address), await lab.host('n2', n2.address), await lab.host('out', '192.168.77.100')];
    r1 = new KernelReconciler({ kernel: new LinuxKernel({ enter: h1, runner: counting, sessions: kept }), ...parts });
    r2 = new KernelReconciler({ kernel: new LinuxKernel({ enter: h2 }), ...parts });
    await foreignThings();
    expect((await r1.set(stateOf(cluster, n1))).failed).toEqual([]);
    expect((await r2.set(stateOf(cluster, n2))).failed).toEqual([]);
    await lab.whoami(ns('web'), 'web', 81);
    await lab.whoami(ns('far'), 'far', 81);
  });
  afterAll(async () => {
    await r1.removeAll();
    await r2.removeAll();
    kept.stop();
    await lab.stop();
  });

  /** Things of somebody else, beside ours. */
  const foreignThings = async () => {
    await lab.batch(h1, [
      'link add docker0 type bridge',
      'link set docker0 up',
      'addr add 172.17.0.1/16 dev docker0',
      'route add 198.51.100.0/24 dev docker0 proto static',
      'neigh add 172.17.0.9 lladdr 02:00:00:00:00:09 dev docker0 nud permanent',
      'rule add from 172.17.0.9 lookup 77 priority 500',
    ]);
    await lab.exec(h1, ['nft', '-f', '-'], 'table inet other {\n chain c {\n accept\n }\n}\n');
  };
  const foreign = async () => [
    await lab.exec(h1, ['ip', 'addr', 'show', 'docker0']),
    await lab.exec(h1, ['ip', 'route', 'show', 'dev', 'docker0']),
    await lab.exec(h1, ['ip', 'neigh', 'show', 'dev', 'docker0']),
    (await lab.exec(h1, ['ip', 'rule'])).split('\n').filter((rule) => !rule.includes('proto 119')),
    await lab.exec(h1, ['nft', 'list', 'table', 'inet', 'other']),
  ];

  it('does nothing when nothing changed, and little when little changed', async () => {
    expect((await r1.set(stateOf(cluster, n1))).operations).toEqual([]);
    spawned.length = 0;
    const more = Object.assign(new ClusterModel(), cluster);
    more.tasks = [...cluster.tasks, { id: testId(1299), name: 'more', node: n2, on: { front: 21 } }];
    const { operations } = await r1.set(stateOf(more, n1));
    expect(operations.map((o) => o.op)).toEqual(['putNeighbour', 'putFdb', 'putFdb']);
    expect(spawned.map((argv) => argv.slice(3, 4))).toEqual([['ip'], ['bridge']]);
    const { operations: back } = await r1.set(stateOf(cluster, n1));
    expect(back.map((o) => o.op).sort()).toEqual([
      'forgetFlows',
      'forgetFlows',
      'forgetFlows',
      'removeFdb',
      'removeFdb',
      'removeNeighbour',
    ]);
  });

  it('sees at a glance, by one process a namespace, in which of them somebody changed the rules', async () => {
    const all = [ns('web'), ns('side')];
    spawned.length = 0;
    expect(await r1.glance(all)).toEqual([]);
    expect(spawned.map((argv) => argv.slice(-6).join(' '))).toEqual(Array(2).fill('nft -j list table ip weft'));
    await lab.exec(ns('side'), ['nft', 'flush', 'map', 'ip', 'weft', 'vips']);
    expect(await r1.glance(all)).toEqual([ns('side')]);
    await lab.exec(ns('web'), ['nft', 'delete', 'chain', 'ip', 'weft', 'loopback_guard']);
    expect(await r1.glance(all)).toEqual(all);
    expect((await r1.repair()).failed).toEqual([]);
    expect(await r1.glance(all)).toEqual([]);
  });

  it('starts as many processes for thirty endpoints as for one', async () => {
    const many = Object.assign(new ClusterModel(), cluster);
    many.tasks = [
      ...cluster.tasks,
      ...Array.from({ length: 30 }, (_, i) => ({ id: testId(1300 + i), name: `m${i}`, node: n2, on: { front: 100 + i } })),
    ];
    spawned.length = 0;
    expect((await r1.set(stateOf(many, n1))).operations).toHaveLength(90);
    expect(spawned).toHaveLength(2);
    expect((await r1.set(stateOf(cluster, n1))).failed).toEqual([]);
  });

  const drifts: [string, (() => Promise<unknown>)[]][] = [
    ['a route', [() => lab.batch(h1, ['route del 10.90.0.0/24 dev wfb4097'])]],
    ['a neighbour', [() => lab.batch(h1, ['neigh del 10.90.0.20 dev wfb4097'])]],
    ['a wrong neighbour', [() => lab.batch(h1, ['neigh replace 10.90.0.20 lladdr 02:00:00:00:00:01 dev wfb4097 nud permanent'])]],
    ['a tunnel row', [() => lab.exec(h1, ['bridge', 'fdb', 'del', '02:42:0a:5a:00:14', 'dev', 'wfx4097', 'dst', n2.address])]],
    [
      'a wrong tunnel row',
      [() => lab.exec(h1, ['bridge', 'fdb', 'replace', '02:42:0a:5a:00:14', 'dev', 'wfx4097', 'dst', '192.168.77.9'])],
    ],
    ['a bridge row', [() => lab.exec(h1, ['bridge', 'fdb', 'del', '02:42:0a:5a:00:14', 'dev', 'wfx4097', 'master'])]],
    ['an nft table', [() => lab.exec(h1, ['nft', 'delete', 'table', 'inet', 'weft'])]],
    ['an nft rule', [() => lab.exec(h1, ['nft', 'insert', 'rule', 'inet', 'weft', 'forwarding', 'accept'])]],
    ['an nft element', [() => lab.exec(h1, ['nft', 'add', 'element', 'inet', 'weft', 'members', '{ 192.168.77.66 }'])]],
    [
      'who a port of a task may speak as',
      [
        () => lab.exec(h1, ['nft', 'flush', 'set', 'bridge', 'weft', 'own']),
        () =>
          lab.exec(h1, [
            'nft',
            'add',
            'element',
            'bridge',
            'weft',
            'own',
            `{ "${veth('web', 'aaaaaaaa')}" . 02:42:0a:5a:00:63 . 10.90.0.99 }`,
          ]),
      ],
    ],
    ['a virtual address', [() => lab.exec(ns('side'), ['nft', 'delete', 'element', 'ip', 'weft', 'vips', '{ 10.90.0.200 }'])]],
    [
      'a wrong backend',
      [
        () => lab.exec(ns('side'), ['nft', 'delete', 'element', 'ip', 'weft', 'ep', '{ 10.90.0.200 . 0x00000001 }']),
        () => lab.exec(ns('side'), ['nft', 'add', 'element', 'ip', 'weft', 'ep', '{ 10.90.0.200 . 0x00000001 : 10.90.0.77 }']),
      ],
    ],
    ['a chain that balances', [() => lab.exec(ns('side'), ['nft', 'flush', 'chain', 'ip', 'weft', 'lb2'])]],
    ['all of nft in a task', [() => lab.exec(ns('web'), ['nft', 'flush', 'ruleset'])]],
    ['a veth', [() => lab.batch(h1, [`link del ${veth('web', 'aaaaaaaa')}`])]],
    ['an interface of a task', [() => lab.batch(ns('web'), ['link del eth1'])]],
    ['an address of a task', [() => lab.batch(ns('web'), ['addr del 10.90.0.10/24 dev eth1'])]],
    ['a default route of a task', [() => lab.batch(ns('web'), ['route del default'])]],
    ['a source rule of a task', [() => lab.batch(ns('web'), ['rule del priority 1000'])]],
    ['a MAC of a task', [() => lab.batch(ns('side'), ['link set eth0 address 02:00:00:00:00:07'])]],
    ['a task’s interface down', [() => lab.batch(ns('side'), ['link set eth0 down'])]],
    ['the bridge', [() => lab.batch(h1, ['link del wfb4097'])]],
    ['the bridge down, with another MAC', [() => lab.batch(h1, ['link set wfb4097 address 02:00:00:00:00:05 down'])]],
    ['the vxlan device', [() => lab.batch(h1, ['link del wfx4097'])]],
    ['a port out of its bridge', [() => lab.batch(h1, ['link set wfx4097 nomaster', `link set ${veth('side', 'aaaaaaaa')} nomaster`])]],
    ['the MTU', [() => lab.batch(h1, ['link set wfx4097 mtu 1300', 'link set wfb4097 mtu 1300'])]],
    ['a port flag', [() => lab.exec(h1, ['bridge', 'link', 'set', 'dev', 'wfx4097', 'learning', 'on'])]],
    ['forwarding', [() => lab.exec(h1, ['sysctl', '-qw', 'net.ipv4.ip_forward=0'])]],
    ['a sysctl of a task', [() => lab.exec(ns('web'), ['sysctl', '-qw', 'net.ipv4.ping_group_range=1 0'])]],
    [
      'rows too many',
      [
        () =>
          lab.batch(h1, [
            'neigh add 10.90.0.99 lladdr 02:00:00:00:00:09 dev wfb4097 nud permanent',
            'addr add 10.90.0.98/32 dev wfb4097',
            'route add 203.0.113.0/24 dev wfb4097 proto 119',
          ]),
      ],
    ],
    ['a whole namespace', [() => lab.batch(h1, [`link del ${veth('side', 'aaaaaaaa')}`]), () => run(['ip', 'netns', 'del', ns('side')])]],
  ];
  it.each(drifts)('repairs: %s', async (_, breaks) => {
    for (const break_ of breaks) await break_();
    const { repaired, failed } = await r1.repair();
    expect(failed).toEqual([]);
    expect(repaired.length).toBeGreaterThan(0);
    expect(await r1.repair()).toEqual({ repaired: [], failed: [] });
    expect(await lab.pings(ns('web'), '10.90.0.20')).toBe(true);
    expect(await lab.pings(ns('side'), '10.90.0.10')).toBe(true);
    expect(await lab.pings(h1, '10.90.0.20')).toBe(true);
  });

  it('restarts without a lost packet or a broken connection', async () => {
    const flood = lab.attempt(ns('web'), ['ping', '-nq', '-i', '0.002', '-c', '800', '-W', '1', '10.90.0.20']);
    const gateway = lab.attempt(out, ['ping', '-nq', '-i', '0.01', '-c', '150', '-W', '1', n1.address]);
    const stream = await longConnection(lab, ns('web'), out, n1.address);
    const restarted = new KernelReconciler({ kernel: new LinuxKernel({ enter: h1 }), ...parts });
    const { operations, failed } = await restarted.set(stateOf(cluster, n1));
    expect(failed).toEqual([]);
    expect(new Set(operations.map((o) => o.op))).toEqual(new Set(['putTable', 'setVips', 'setElements']));
    expect((await restarted.set(stateOf(cluster, n1))).operations).toEqual([]);
    await lab.exec(h1, ['nft', 'insert', 'rule', 'inet', 'weft', 'forwarding', 'accept']);
    expect((await restarted.repair()).repaired).toEqual([expect.stringContaining(FIREWALL_TABLE)]);
    expect((await flood).stdout).toMatch(/ 0% packet loss/);
    expect((await gateway).stdout).toMatch(/ 0% packet loss/);
    expect(await stream.echo('still here')).toBe('still here');
    stream.end();
  });

  const behind = (...tasks: string[]): ClusterModel =>
    Object.assign(new ClusterModel(), cluster, { vips: cluster.vips.map((v) => ({ ...v, tasks })) });

  it('starts no process when a backend goes, and waits for no look', async () => {
    expect((await r1.set(stateOf(behind('web'), n1))).failed).toEqual([]);
    spawned.length = 0;
    const looking = r1.repair();
    const { operations, failed } = await r1.set(stateOf(behind('far'), n1));
    const startedMeanwhile = spawned.filter((argv) => argv.includes('conntrack') || argv.join(' ').endsWith('nft -f -'));
    expect(failed).toEqual([]);
    expect(new Set(operations.map((o) => o.op))).toEqual(new Set(['setVips', 'forgetDatagrams']));
    expect(startedMeanwhile).toEqual([]);
    expect(await looking).toEqual({ repaired: [], failed: [] });
    expect((await r1.repair()).repaired).toEqual([]);
    await r1.set(stateOf(cluster, n1));
  });

  it('moves the datagrams of a backend that serves no more, and leaves its connections alone', async () => {
    const datagrams = () => lab.exec(ns('side'), ['conntrack', '-L', '-p', 'udp', '--reply-src', '10.90.0.20']);
    await r1.set(stateOf(behind('far'), n1));
    const stream = await longConnection(lab, ns('far'), ns('side'), '10.90.0.200', 82, 82);
    expect(await lab.udp(ns('side'), '10.90.0.200', 81)).toMatch(/^far /);
    expect(await datagrams()).toContain('10.90.0.200');
    const { operations, failed } = await r1.set(stateOf(behind('web'), n1));
    expect(failed).toEqual([]);
    expect(new Set(operations.map((o) => o.op))).toEqual(new Set(['setVips', 'forgetDatagrams']));
    expect(await datagrams()).toBe('');
    expect(await stream.echo('it goes on')).toBe('it goes on');
    stream.end();
    await r1.set(stateOf(cluster, n1));
  });

  it('ends the connections to a dead node with their next packet', async () => {
    await r1.set(stateOf(behind('far'), n1));
    const stream = await longConnection(lab, ns('far'), ns('side'), '10.90.0.200', 83, 83);
    const view = behind('web').view(n1);
    const endpoints = view.endpoints.map((e) => (e.ipv4 === '10.90.0.20' ? { ...e, lost: true as const } : e));
    const { failed } = await r1.set(nodeKernel({ ...view, endpoints }, { nodeId: n1.id, address: n1.address }));
    expect(failed).toEqual([]);
    stream.say('anybody there?');
    expect(await stream.ended).not.toBeNull();
    stream.end();
    await r1.set(stateOf(cluster, n1));
  });

  it('forgets flows to an endpoint that is gone', async () => {
    const answers = new Set<string>();
    for (let i = 0; i < 40 && answers.size < 2; i++) answers.add((await lab.udp(ns('side'), '10.90.0.200', 81)).split(' ')[0] ?? '');
    expect([...answers].sort()).toEqual(['far', 'web']);
    const tracked = () => lab.exec(ns('side'), ['conntrack', '-L', '-p', 'udp', '--reply-src', '10.90.0.20']);
    expect(await tracked()).toContain('10.90.0.200');
    expect((await r1.set(stateOf(without(cluster, 'far'), n1))).failed).toEqual([]);
    expect(await tracked()).toBe('');
    expect((await r1.set(stateOf(cluster, n1))).failed).toEqual([]);
  });

  it('translates a UDP flow that was there before the port was published', async () => {
    // One socket, one source port: the first datagrams go to the node itself, and are tracked so.
    const chatter = `
      const s = require('node:dgram').createSocket('udp4');
      s.on('message', (m) => process.stdout.write(m));
      s.on('error', () => undefined);
      setInterval(() => s.send('x', 8181, '${n1.address}'), 50);`;
    const client = lab.background(out, [process.execPath, '-e', chatter]);
    const answer = new Promise<string>((resolve) => client.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim())));
    await until(async () => (await lab.exec(h1, ['conntrack', '-L', '-p', 'udp', '--orig-port-dst', '8181'])).includes('8181'));
    const published = Object.assign(new ClusterModel(), cluster);
    published.tasks = cluster.tasks.map((t) =>
      t.name === 'web' ? { ...t, ports: [{ target: 81, published: 8181, protocol: 'udp' as const }] } : t,
    );
    expect((await r1.set(stateOf(published, n1))).failed).toEqual([]);
    expect(await answer).toBe('web 192.168.77.100');
    client.kill('SIGKILL');
    expect((await r1.set(stateOf(cluster, n1))).failed).toEqual([]);
  });

  it('fails closed: no device comes up when the firewall cannot be loaded', async () => {
    const wish = structuredClone(stateOf(cluster, n1));
    const space = wish.namespaces[''];
    if (!space) throw new Error('no node namespace');
    space.nft[FIREWALL_TABLE] = '  this is not nft';
    space.links['wfb5000'] = { kind: 'bridge', up: true, mac: '02:42:0a:00:00:01', mtu: 1450 };
    const { failed } = await r1.set(wish);
    expect(failed.map((f) => f.operation.op)).toEqual(['putTable', 'addLink']);
    expect((await lab.attempt(h1, ['ip', 'link', 'show', 'wfb5000'])).exitCode).not.toBe(0);
    expect((await r1.set(stateOf(cluster, n1))).failed).toEqual([]);
  });

  it('takes everything away and touches nothing of others', async () => {
    const before = await foreign();
    expect((await r1.removeAll()).failed).toEqual([]);
    const links = JSON.parse(await lab.exec(h1, ['ip', '-j', 'link'])) as { ifname: string }[];
    expect(links.map((l) => l.ifname).sort()).toEqual(['docker0', 'eth0', 'lo']);
    expect((await lab.exec(h1, ['nft', 'list', 'tables'])).trim()).toBe('table inet other');
    expect((await lab.exec(h1, ['ip', 'route', 'show', 'table', 'all', 'proto', '119'])).trim()).toBe('');
    expect(await lab.exec(h1, ['ip', 'rule'])).not.toContain('proto 119');
    expect(await foreign()).toEqual(before);
    const namespaces = (await run(['ip', 'netns', 'list'])).stdout;
    for (const task of ['web', 'side']) expect(namespaces).not.toContain(ns(task));
    // The other node's tasks share /run/netns on this machine, and are not ours to remove.
    expect(namespaces).toContain(ns('far'));
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('it did not come to hold');
}

/** A TCP connection from outside through published port 8080 to an echo server in the task; it lives across restarts. */
async function longConnection(lab: NetnsLab, task: string, from: string, address: string, port = 8080, target = 80) {
  const server = `require('node:net').createServer((s) => s.pipe(s)).listen(${target}, '0.0.0.0', () => console.log('ready'))`;
  const listening = lab.background(task, [process.execPath, '-e', server]);
  await new Promise((resolve) => listening.stdout?.once('data', resolve));
  const client = lab.background(from, ['busybox', 'nc', address, String(port)], true);
  const ended = new Promise<number | null>((resolve) => client.once('exit', resolve));
  const said = (): Promise<string> =>
    new Promise((resolve) => client.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim())));
  const say = (text: string) => client.stdin?.write(`${text}\n`);
  const echo = (text: string) => {
    const answer = said();
    say(text);
    return answer;
  };
  expect(await echo('hello')).toBe('hello');
  return { echo, say, ended, end: () => (client.kill('SIGKILL'), listening.kill('SIGKILL')) };
}
