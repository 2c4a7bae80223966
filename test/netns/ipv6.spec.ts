/** Dual stack on simulated hosts, with real packets. */
import { jest } from '@jest/globals';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { PORT_GUARD_TABLE, taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import { ask6, neighbourAdvertisement, routerAdvertisement, sendIcmp6, whoami6 } from '../fixtures/netns-six.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.78.${i}`, octet: 250 + i });
const [n1, n2] = [node(1), node(2)];
const OUTSIDE6 = 'fd77::100';
const ALL_NODES = 'ff02::1';

function makeCluster(): ClusterModel {
  const cluster = new ClusterModel();
  cluster.nodes = [n1, n2];
  cluster.networks = [
    { id: testId(101), key: 'front', base: '10.80.0', base6: 'fd12:0:0:80', vni: 80_101 },
    { id: testId(102), key: 'back', base: '10.81.0', base6: 'fd12:0:0:81', more: '10.181.0', vni: 80_102, internal: true },
    { id: testId(103), key: 'plain', base: '10.82.0', vni: 80_103 },
    { id: testId(104), key: 'routed', base: '10.83.0', base6: 'fd12:0:0:83', vni: 80_104, options: { ipv6Routed: true } },
  ];
  const task = (n: number, name: string, where: ModelNode, on: Record<string, number>) => ({ id: testId(n), name, node: where, on });
  cluster.tasks = [
    task(1, 'web1', n1, { front: 10 }),
    task(2, 'web2', n1, { front: 11 }),
    task(3, 'web3', n2, { front: 12 }),
    task(4, 'api', n2, { front: 13, back: 13 }),
    task(5, 'db', n1, { back: 1014 }),
    task(6, 'old', n1, { plain: 10 }),
    task(7, 'open', n2, { routed: 10 }),
  ];
  cluster.vips = [
    { network: 'front', octet: 200, service: 'web', tasks: ['web2', 'web3'] },
    { network: 'front', octet: 201, service: 'none', tasks: [] },
  ];
  return cluster;
}

describe('dual stack', () => {
  const lab = new NetnsLab();
  const cluster = makeCluster();
  const hosts = new Map<string, { ns: string; reconciler: KernelReconciler }>();
  const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
  const hostOf = (n: ModelNode) => {
    const host = hosts.get(n.id);
    if (!host) throw new Error(`no host ${n.name}`);
    return host;
  };
  const six = (task: string, network = 'front') => cluster.address6Of(task, network);
  const tcp = (from: string, to: string, port = 80) => ask6(lab, from, 'tcp', to, port);
  let out = '';

  const state = (n: ModelNode) => nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address });
  const apply = async (n: ModelNode) => expect((await hostOf(n).reconciler.set(state(n))).failed).toEqual([]);

  beforeAll(async () => {
    await lab.start();
    for (const [i, n] of cluster.nodes.entries()) {
      const netns = await lab.host(n.name, n.address);
      await lab.batch(netns, [`addr add fd77::${i + 1}/64 dev eth0 nodad`]);
      await lab.exec(netns, ['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0']);
      hosts.set(n.id, { ns: netns, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) }) });
    }
    out = await lab.host('out', '192.168.78.100');
    await lab.batch(out, [
      `addr add ${OUTSIDE6}/64 dev eth0 nodad`,
      'route add fd12:0:0:80::/64 via fd77::1',
      'route add fd12:0:0:83::/64 via fd77::2',
    ]);
    await Promise.all(cluster.nodes.map(apply));
    await Promise.all([
      ...cluster.tasks.filter((t) => t.name !== 'old').map((t) => whoami6(lab, taskNamespace(t.id), t.name, 80)),
      ...cluster.nodes.map((n) => whoami6(lab, hostOf(n).ns, n.name, 2222)),
      whoami6(lab, out, 'out', 80),
    ]);
  });

  afterAll(async () => {
    for (const { reconciler } of hosts.values()) await reconciler.removeAll();
    await lab.stop();
  });

  it('joins tasks on one node and on several, over TCP and UDP, each seen with its own address', async () => {
    expect(await tcp(ns('web1'), six('web2'))).toBe(`web2 ${six('web1')}`);
    expect(await tcp(ns('web1'), six('web3'))).toBe(`web3 ${six('web1')}`);
    expect(await ask6(lab, ns('api'), 'udp', six('web1'))).toBe(`web1 ${six('api')}`);
    expect(await tcp(ns('api'), six('db', 'back'))).toBe(`db ${six('api', 'back')}`);
    expect(await tcp(ns('web1'), six('api'))).toBe(`api ${six('web1')}`);
    expect(await lab.pings(ns('web1'), six('web3'), '-M', 'do', '-s', String(1450 - 48))).toBe(true);
  });

  it('a second IPv4 subnet is the same link: its tasks and the others meet, with the gateway of each', async () => {
    expect(cluster.addressOf('db', 'back')).toBe('10.181.0.14');
    expect(await lab.pings(ns('api'), '10.181.0.14')).toBe(true);
    expect(await lab.pings(ns('db'), '10.81.0.13')).toBe(true);
    expect(await lab.pings(ns('db'), '10.181.0.1')).toBe(true);
    expect(await lab.pings(hostOf(n1).ns, '10.181.0.14')).toBe(true);
  });

  it('answers on the gateway; the node is reached, and reaches tasks anywhere, with its address there', async () => {
    expect(await lab.pings(ns('web1'), 'fd12:0:0:80::1')).toBe(true);
    expect(await tcp(hostOf(n1).ns, six('web1'))).toBe('web1 fd12:0:0:80::251');
    expect(await tcp(hostOf(n1).ns, six('web3'))).toBe('web3 fd12:0:0:80::251');
    expect(await tcp(ns('web1'), 'fd12:0:0:80::252', 2222)).toBe(`n2 ${six('web1')}`);
  });

  it('keeps networks apart, and IPv6 off where a network has none', async () => {
    expect(await tcp(ns('web1'), six('db', 'back'))).not.toContain('db');
    // On another node, which is no way from here.
    expect(await tcp(ns('web1'), six('open', 'routed'))).not.toContain('open');
    expect(await lab.pings(ns('web1'), 'fd12:0:0:81::1')).toBe(false);
    expect(await lab.pings(ns('web1'), 'fd12:0:0:81::251')).toBe(false);
    expect(await lab.exec(ns('old'), ['ip', '-6', 'addr', 'show'])).toBe('');
    expect(await lab.exec(hostOf(n1).ns, ['ip', '-6', 'addr', 'show', 'dev', 'wfb80103'])).toBe('');
  });

  it('translates to the outside, unless the subnet is declared routed, and not from an internal network', async () => {
    expect(await tcp(ns('web1'), OUTSIDE6)).toBe('out fd77::1');
    expect(await ask6(lab, ns('web3'), 'udp', OUTSIDE6)).toBe('out fd77::2');
    expect(await tcp(ns('open'), OUTSIDE6)).toBe(`out ${six('open', 'routed')}`);
    expect(await tcp(ns('db'), OUTSIDE6)).not.toContain('out');
  });

  it('a route is not a way in, nor is a gateway seen from outside', async () => {
    for (const [to, port] of [
      [six('web1'), 80],
      [six('open', 'routed'), 80],
      ['fd12:0:0:80::1', 2222],
      ['fd12:0:0:80::251', 2222],
    ] as const)
      expect(await tcp(out, to, port)).toBe('');
    // The way is there all the same: the node's own address answers.
    expect(await tcp(out, 'fd77::1', 2222)).toBe(`n1 ${OUTSIDE6}`);
  });

  it('balances a virtual address, from tasks and from nodes, and refuses where nobody is behind it', async () => {
    const seen = new Set<string>();
    for (let i = 0; i < 30 && seen.size < 2; i++) seen.add(await tcp(ns('web1'), 'fd12:0:0:80::200'));
    expect([...seen].sort()).toEqual([`web2 ${six('web1')}`, `web3 ${six('web1')}`]);
    expect(await tcp(hostOf(n2).ns, 'fd12:0:0:80::200')).toMatch(/^web[23] /);
    expect(await tcp(ns('web1'), 'fd12:0:0:80::201')).toBe('ECONNREFUSED');
  });

  it('a task cannot play router, DHCPv6 server, or somebody else', async () => {
    const guard = state(n1).namespaces['']?.nft[PORT_GUARD_TABLE] ?? '';
    const [bad, victim] = [ns('web1'), ns('web2')];
    const mac = '02:42:0a:50:00:0a';
    await lab.exec(victim, ['sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=1', 'net.ipv6.conf.eth0.autoconf=1']);
    const attack = async () => {
      await lab.pings(victim, 'fd12:0:0:80::1');
      await sendIcmp6(lab, bad, 'eth0', ALL_NODES, routerAdvertisement('fdbb::'));
      await sendIcmp6(lab, bad, 'eth0', six('web2'), neighbourAdvertisement('fd12:0:0:80::1', mac));
      const offered = await ask6(lab, bad, 'udp', six('web2'), 80, 547);
      const routes = await lab.exec(victim, ['ip', '-6', 'route', 'show', 'proto', 'ra']);
      const gateway = await lab.exec(victim, ['ip', '-6', 'neigh', 'show', 'fd12:0:0:80::1']);
      return { offered, routes: routes.trim(), stolen: gateway.includes(mac) };
    };
    expect(await attack()).toEqual({ offered: '', routes: '', stolen: false });
    expect(await ask6(lab, bad, 'udp', six('web2'), 80, 548)).toBe(`web2 ${six('web1')}`);
    // An address that is not its own goes nowhere.
    await lab.batch(bad, ['addr add fd12:0:0:80::99/64 dev eth0 nodad']);
    expect((await lab.attempt(bad, ['ping', '-6', '-nq', '-c1', '-W1', '-I', 'fd12:0:0:80::99', six('web2')])).exitCode).not.toBe(0);
    await lab.batch(bad, ['addr del fd12:0:0:80::99/64 dev eth0']);
    // Without the guard it would have worked: so the attack is one.
    await lab.exec(hostOf(n1).ns, ['nft', 'flush', 'table', ...PORT_GUARD_TABLE.split(' ')]);
    const open = await attack();
    expect([open.offered, open.routes.includes('default'), open.stolen]).toEqual([`web2 ${six('web1')}`, true, true]);
    expect((await hostOf(n1).reconciler.repair()).failed).toEqual([]);
    expect(await lab.exec(hostOf(n1).ns, ['nft', 'list', 'table', ...PORT_GUARD_TABLE.split(' ')])).toContain('claims6');
    expect(guard).toContain('nd-router-advert');
    await lab.exec(victim, ['sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=0']);
    await lab.batch(victim, ['neigh flush dev eth0', 'route flush proto ra']);
  });

  it('puts back what somebody took away, and finds nothing to do when all is there', async () => {
    const { ns: host, reconciler } = hostOf(n1);
    await reconciler.repair();
    expect((await reconciler.repair()).repaired).toEqual([]);
    await lab.batch(host, ['addr del fd12:0:0:80::1/64 dev wfb80101']);
    await lab.exec(host, ['sysctl', '-qw', 'net.ipv6.conf.wfb80102.disable_ipv6=1']);
    await lab.exec(ns('web1'), ['ip', '-6', 'route', 'del', 'default']);
    const { repaired, failed } = await reconciler.repair();
    expect(failed).toEqual([]);
    for (const what of [
      /add address fd12:0:0:80::1\/64 to wfb80101/,
      /add address .* to wfb80102/,
      /set .*::\/0/,
      /set neighbour fd12/,
      /disable_ipv6 = 0/,
    ])
      expect(repaired).toContainEqual(expect.stringMatching(what));
    expect((await reconciler.repair()).repaired).toEqual([]);
    expect(await tcp(ns('web1'), OUTSIDE6)).toBe('out fd77::1');
    expect(await tcp(hostOf(n1).ns, six('api', 'back'))).toBe('api fd12:0:0:81::251');
  });

  it('a host that has its default route from advertisements keeps it when it becomes a router', async () => {
    const netns = await lab.host('ra', '192.168.78.7');
    const advertise = () => sendIcmp6(lab, out, 'eth0', ALL_NODES, routerAdvertisement('fd55::'));
    const routes = () => lab.exec(netns, ['ip', '-6', 'route', 'show', 'default']);
    await lab.exec(netns, ['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0', 'net.ipv6.conf.eth0.accept_ra=1']);
    await advertise();
    expect(await routes()).toContain('proto ra');
    const kernel = new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) });
    const other: ModelNode = { id: '7'.repeat(8), name: 'ra', address: '192.168.78.7', octet: 247 };
    const model = makeCluster();
    model.nodes.push(other);
    model.tasks.push({ id: testId(9), name: 'late', node: other, on: { front: 19 } });
    const wish = nodeKernel(model.view(other), { nodeId: other.id, address: other.address, advertised: ['eth0'] });
    expect((await kernel.set(wish)).failed).toEqual([]);
    try {
      expect(await lab.exec(netns, ['sysctl', '-n', 'net.ipv6.conf.all.forwarding', 'net.ipv6.conf.eth0.accept_ra'])).toBe('1\n2\n');
      expect(await routes()).toContain('proto ra');
      await lab.exec(netns, ['ip', '-6', 'route', 'flush', 'proto', 'ra']);
      await advertise();
      expect(await routes()).toContain('proto ra');
    } finally {
      await kernel.removeAll();
    }
  });
});
