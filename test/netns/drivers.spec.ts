/**
 * Networks without a bridge, with real packets: tasks of two hosts in the LAN of the site, beside a machine that knows nothing
 * of Weft. Kernels differ: what this one lacks is skipped aloud.
 */
import { spawnSync } from 'node:child_process';
import { jest } from '@jest/globals';
import { macOfIp } from '#base/address.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { SERVICE_ADDRESS } from '#overlay/child-network.js';
import { diff } from '#overlay/diff.js';
import { taskNamespace, vlanName } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { describe as describeOperation } from '#overlay/operation.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.77.${i}`, octet: 250 + i });
const [n1, n2] = [node(1), node(2)];
const PEER = '192.168.77.100';

/** Whether this kernel makes devices of a kind. */
function kernelHas(kind: string, ...more: string[]): boolean {
  // Not `a`: to iproute2 that is the beginning of `address`.
  const lines = ['link add name v0 type veth peer name v1', `link add link v0 name v2 type ${[kind, ...more].join(' ')}`];
  return spawnSync('unshare', ['--net', 'ip', '-batch', '-'], { input: `${lines.join('\n')}\n` }).status === 0;
}
const hasIpvlan = kernelHas('ipvlan');
const hasVlan = kernelHas('vlan', 'id', '5');

class Bed {
  readonly lab = new NetnsLab();
  readonly hosts = new Map<string, { ns: string; kernel: LinuxKernel; reconciler: KernelReconciler }>();
  readonly cluster = new ClusterModel();
  peer = '';

  /** @param isOwnMac whether interfaces have a MAC of their own */
  constructor(
    salt: number,
    readonly isOwnMac = true,
  ) {
    this.cluster.mtu = 1450;
    this.cluster.nodes = [n1, n2];
    this.cluster.tasks = [
      { id: testId(salt), name: 'a', node: n1, on: { lan: 10, over: 10 } },
      { id: testId(salt + 1), name: 'b', node: n1, on: { lan: 11 } },
      { id: testId(salt + 2), name: 'c', node: n2, on: { lan: 12 } },
    ];
  }

  async start(): Promise<void> {
    await this.lab.start();
    for (const n of this.cluster.nodes) {
      const ns = await this.lab.host(n.name, n.address);
      const kernel = new LinuxKernel({ enter: ns });
      this.hosts.set(n.id, { ns, kernel, reconciler: new KernelReconciler({ kernel }) });
    }
    this.peer = await this.lab.host('peer', PEER);
    await this.apply();
  }

  async apply(cluster = this.cluster): Promise<void> {
    for (const n of cluster.nodes) {
      const { failed } = await this.host(n).reconciler.set(this.wish(n, cluster));
      expect(failed).toEqual([]);
    }
  }

  wish = (n: ModelNode, cluster = this.cluster) => nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address });

  host(n: ModelNode) {
    const found = this.hosts.get(n.id);
    if (!found) throw new Error(`no host ${n.name}`);
    return found;
  }

  ns = (task: string) => taskNamespace(this.cluster.tasks.find((t) => t.name === task)?.id ?? '');

  async stop(): Promise<void> {
    for (const { reconciler } of this.hosts.values()) await reconciler.removeAll();
    await this.lab.stop();
  }
}

/** eth0 of a namespace. */
async function linkOf(bed: Bed, ns: string): Promise<{ ifindex: number; address: string }> {
  const [link] = JSON.parse(await bed.lab.exec(ns, ['ip', '-j', 'link', 'show', 'eth0'])) as { ifindex: number; address: string }[];
  if (!link) throw new Error(`${ns} has no eth0`);
  return link;
}

/** Sends frames (hex) by device number over packet sockets, without and with PACKET_QDISC_BYPASS (packet(7)). perl is part of every Debian. */
const SEND_FRAMES = `
my ($index, @frames) = @ARGV;
for my $bypass (0, 1) {
  socket(my $s, 17, 3, 0) or die "socket: $!";
  setsockopt($s, 263, 20, pack('i', 1)) or die "bypass: $!" if $bypass;
  for (@frames) { send($s, pack('H*', $_), 0, pack('S n i S C C a8', 17, 0, $index, 1, 0, 6, '')); }
}`;

const hexOf = (address: string): string =>
  address.includes(':')
    ? address.replaceAll(':', '')
    : address
        .split('.')
        .map((n) => Number(n).toString(16).padStart(2, '0'))
        .join('');
/** An empty datagram to port 9. */
const udpFrame = (from: string, to: string, source: string, target: string): string =>
  `${hexOf(to)}${hexOf(from)}08004500001c0000000040110000${hexOf(source)}${hexOf(target)}0009000900080000`;
/** An answer: `source` is at `from`. */
const arpFrame = (from: string, to: string, source: string, target: string): string =>
  `${hexOf(to)}${hexOf(from)}08060001080006040002${hexOf(from)}${hexOf(source)}${hexOf(to)}${hexOf(target)}`;

/** What holds for every driver without a bridge. `lan` is the address of a task there. */
function behaves(bed: Bed, lan: (task: string) => string): void {
  it('is in the kernel as wished, and reads back so', async () => {
    for (const n of [n1, n2]) {
      const wish = bed.wish(n);
      expect(diff(wish, await bed.host(n).kernel.observe(wish)).map(describeOperation)).toEqual([]);
    }
  });

  it('joins tasks of a node, tasks of two nodes, and the LAN', async () => {
    await Promise.all(['a', 'b', 'c'].map((t) => bed.lab.whoami(bed.ns(t), t, 80)));
    await bed.lab.whoami(bed.peer, 'peer', 80);
    expect(await bed.lab.tcp(bed.ns('b'), lan('a'), 80)).toBe(`a ${lan('b')}`);
    expect(await bed.lab.tcp(bed.ns('b'), lan('c'), 80)).toBe(`c ${lan('b')}`);
    expect(await bed.lab.tcp(bed.peer, lan('b'), 80)).toBe(`b ${PEER}`);
    expect(await bed.lab.tcp(bed.ns('c'), PEER, 80)).toBe(`peer ${lan('c')}`);
  });

  it('reaches its own node for names and ping by the wire to it, and for nothing else', async () => {
    const { ns } = bed.host(n1);
    await bed.lab.whoami(ns, 'node', 7702, 7753, 2222);
    expect(await bed.lab.pings(bed.ns('b'), SERVICE_ADDRESS)).toBe(true);
    expect(await bed.lab.tcp(bed.ns('b'), '127.0.0.11', 53)).toBe(`node ${lan('b')}`);
    expect(await bed.lab.udp(bed.ns('b'), '127.0.0.11', 53)).toBe(`node ${lan('b')}`);
    expect(await bed.lab.tcp(bed.ns('b'), SERVICE_ADDRESS, 2222)).toBe('');
    expect(await bed.lab.tcp(bed.ns('b'), SERVICE_ADDRESS, 7702)).toBe('');
    expect(await bed.lab.pings(bed.ns('b'), n1.address)).toBe(false);
    // The node knocks at its task, as a check of its health does.
    expect(await bed.lab.tcp(ns, lan('b'), 80)).toBe(`b ${SERVICE_ADDRESS}`);
  });

  it('lets nothing through the node by the wire, and no false address in', async () => {
    await bed.lab.exec(bed.ns('b'), ['ip', 'route', 'add', PEER, 'via', SERVICE_ADDRESS, 'dev', 'weft0', 'onlink']);
    expect(await bed.lab.tcp(bed.ns('b'), PEER, 80)).toBe('');
    await bed.lab.exec(bed.ns('b'), ['ip', 'route', 'del', PEER]);
    await bed.lab.exec(bed.ns('b'), ['ip', 'addr', 'add', '192.168.77.99/32', 'dev', 'weft0']);
    expect(await bed.lab.pings(bed.ns('b'), SERVICE_ADDRESS, '-I', '192.168.77.99')).toBe(false);
    await bed.lab.exec(bed.ns('b'), ['ip', 'addr', 'del', '192.168.77.99/32', 'dev', 'weft0']);
  });

  it('sends no frame into the LAN but with its own addresses, by no kind of socket', async () => {
    const [b, false4] = [lan('b'), '192.168.77.66'];
    const own = (await linkOf(bed, bed.ns('b'))).address;
    const rules = [`ip saddr ${false4}`, `arp saddr ip ${false4}`, 'ether saddr 02:66:66:66:66:66', `ip saddr ${b} udp dport 9`];
    const counters = rules.map((r) => `${r} counter`).join('\n');
    const hook = 'type filter hook ingress device "eth0" priority 0;';
    await bed.lab.exec(bed.peer, ['nft', '-f', '-'], `table netdev seen {\nchain c {\n${hook}\n${counters}\n}\n}\n`);
    const { ifindex } = await linkOf(bed, bed.ns('b'));
    const to = (await linkOf(bed, bed.peer)).address;
    const frames = [
      udpFrame(own, to, false4, PEER),
      arpFrame(own, to, false4, PEER),
      ...(bed.isOwnMac ? [udpFrame('02:66:66:66:66:66', to, b, PEER)] : []),
      udpFrame(own, to, b, PEER),
    ];
    await bed.lab.exec(bed.ns('b'), ['perl', '-e', SEND_FRAMES, String(ifindex), ...frames]);
    const seen = await bed.lab.exec(bed.peer, ['nft', 'list', 'table', 'netdev', 'seen']);
    // Its own arrives twice, by a socket of each kind; nothing else does.
    expect([...seen.matchAll(/packets (\d+)/g)].map(([, n]) => Number(n))).toEqual([0, 0, 0, 2]);
    await bed.lab.exec(bed.peer, ['nft', 'delete', 'table', 'netdev', 'seen']);
  });

  it('serves a task that is on an overlay too, each by its own interface', async () => {
    const over = bed.cluster.addressOf('a', 'over');
    expect(await bed.lab.tcp(bed.host(n1).ns, over, 80)).not.toBe('');
    expect(await bed.lab.tcp(bed.peer, lan('a'), 80)).toBe(`a ${PEER}`);
  });

  it('is put back when somebody takes an interface away', async () => {
    await bed.lab.exec(bed.ns('b'), ['ip', 'link', 'del', 'eth0']);
    const { repaired, failed } = await bed.host(n1).reconciler.repair();
    expect(failed).toEqual([]);
    expect(repaired.join('\n')).toMatch(/vlan eth0/);
    expect(await bed.lab.pings(bed.ns('b'), PEER)).toBe(true);
  });

  it('leaves nothing behind', async () => {
    for (const { ns, reconciler } of bed.hosts.values()) {
      expect((await reconciler.removeAll()).failed).toEqual([]);
      const left = await bed.lab.exec(ns, ['ip', '-o', 'link']);
      expect(left).not.toMatch(/wf[a-z]/);
    }
  });
}

const over = { id: 'bbbbbbbb', key: 'over', base: '10.91.0', vni: 4098 };

describe('macvlan', () => {
  const bed = new Bed(2000);
  bed.cluster.networks = [
    { id: 'aaaaaaaa', key: 'lan', base: '192.168.77', vni: 4097, driver: 'macvlan', gateway: PEER, options: { parent: 'eth0' } },
    over,
  ];
  const lan = (task: string) => bed.cluster.addressOf(task, 'lan');
  beforeAll(() => bed.start());
  afterAll(() => bed.stop());

  it('gives each task the MAC of its endpoint on the LAN', async () => {
    await bed.lab.pings(bed.peer, lan('b'));
    expect(await bed.lab.exec(bed.peer, ['ip', 'neigh', 'show', lan('b')])).toContain(macOfIp(lan('b')));
  });

  behaves(bed, lan);
});

(hasIpvlan ? describe : describe.skip)('ipvlan l2 (skipped where the kernel has none)', () => {
  const bed = new Bed(2100, false);
  bed.cluster.networks = [
    { id: 'aaaaaaaa', key: 'lan', base: '192.168.77', vni: 4097, driver: 'ipvlan', gateway: PEER, options: { parent: 'eth0' } },
    over,
  ];
  beforeAll(() => bed.start());
  afterAll(() => bed.stop());
  behaves(bed, (task) => bed.cluster.addressOf(task, 'lan'));
});

(hasVlan ? describe : describe.skip)('macvlan on a VLAN made for it (skipped where the kernel has no 802.1q)', () => {
  const bed = new Bed(2200);
  bed.cluster.networks = [
    { id: 'aaaaaaaa', key: 'lan', base: '10.50.0', vni: 4097, driver: 'macvlan', options: { parent: 'eth0.50' } },
    over,
  ];
  const lan = (task: string) => bed.cluster.addressOf(task, 'lan');
  beforeAll(() => bed.start());
  afterAll(() => bed.stop());

  it('is joined across nodes, and by tag with a machine of the LAN', async () => {
    expect(await bed.lab.pings(bed.ns('b'), lan('c'))).toBe(true);
    await bed.lab.batch(bed.peer, ['link add link eth0 name v50 type vlan id 50', 'addr add 10.50.0.100/24 dev v50', 'link set v50 up']);
    expect(await bed.lab.pings(bed.ns('b'), '10.50.0.100')).toBe(true);
    await bed.lab.batch(bed.peer, ['addr flush dev v50', 'addr add 10.50.0.100/24 dev eth0']);
    expect(await bed.lab.pings(bed.ns('b'), '10.50.0.100')).toBe(false);
  });

  it('makes the VLAN device with the first task, and removes it with the last', async () => {
    const device = vlanName('eth0', 50);
    expect(await bed.lab.exec(bed.host(n2).ns, ['ip', '-o', 'link'])).toContain(device);
    const less = Object.assign(new ClusterModel(), bed.cluster, { tasks: bed.cluster.tasks.filter((t) => t.name !== 'c') });
    await bed.apply(less);
    expect(await bed.lab.exec(bed.host(n2).ns, ['ip', '-o', 'link'])).not.toContain(device);
  });
});
