/** What an attacker finds: on the underlay beside the nodes, and inside a container. */
import { jest } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keepDockerUser } from '#linux/docker-user.js';
import { entry } from '#linux/enter.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { settingsSchema } from '#model/node-view.js';
import { taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NodeTunnelKeys } from '../../apps/agent/tunnel-keys.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

const node = (i: number): ModelNode => ({
  id: `${process.pid.toString(16).padStart(7, '0')}${i}`,
  name: `n${i}`,
  address: `192.168.77.${i}`,
  octet: 250 + i,
});
const [n1, n2] = [node(1), node(2)];
const CONTROLLER = '192.168.77.90';
const ATTACKER = '192.168.77.66';
const GUARDED = [7700, 7701, 7702, 7704, 7705];
const NETWORKS = [
  { id: 'aaaaaaaa', key: 'front', base: '10.90.0', vni: 4301 },
  { id: 'bbbbbbbb', key: 'dark', base: '10.91.0', vni: 4302, internal: true },
  { id: 'cccccccc', key: 'secret', base: '10.92.0', vni: 4303, options: { encrypted: true } },
];

const lab = new NetnsLab();
const cluster = new ClusterModel();
const hosts = new Map<string, { ns: string; reconciler: KernelReconciler; keys: NodeTunnelKeys }>();
const hostNs = (n: ModelNode): string => hosts.get(n.id)?.ns ?? '';
const ns = (task: string): string => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
let dir = '';
let attacker = '';

async function apply(n: ModelNode, firewall = true): Promise<void> {
  const host = hosts.get(n.id);
  const view = cluster.view(n);
  const wish = nodeKernel(view, { nodeId: n.id, address: n.address, tunnel: host?.keys.forOverlay(view.members, n.id), firewall });
  expect((await host?.reconciler.set(wish))?.failed).toEqual([]);
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), `weft-safety-${process.pid}-`));
  await lab.start();
  cluster.nodes = [n1, n2];
  cluster.controllers = [{ id: 'c1', address: CONTROLLER }];
  cluster.settings = settingsSchema.parse({ guardedTcpPorts: GUARDED });
  cluster.networks = NETWORKS;
  const everywhere = (octet: number) => ({ front: octet, dark: octet, secret: octet });
  cluster.tasks = [
    { id: testId(6001), name: 'a', node: n1, on: everywhere(10), ports: [{ target: 80, published: 8080 }] },
    { id: testId(6002), name: 'b', node: n2, on: everywhere(20) },
    { id: testId(6003), name: 'mate', node: n1, on: everywhere(11) },
  ];
  for (const n of cluster.nodes) {
    const netns = await lab.host(n.name, n.address);
    const keys = await NodeTunnelKeys.open(join(dir, n.name), 1);
    n.wireguard = keys.publicKeys;
    hosts.set(n.id, { ns: netns, keys, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns, secrets: keys }) }) });
  }
  attacker = await lab.host('bad', ATTACKER);
  const controller = await lab.host('ctrl', CONTROLLER);
  await Promise.all(cluster.nodes.map((n) => apply(n)));
  await Promise.all([
    ...cluster.tasks.map((t) => lab.whoami(taskNamespace(t.id), t.name, 80, 9000)),
    ...cluster.nodes.map((n) => lab.whoami(hostNs(n), n.name, 53, 7702, 7753, 2222)),
    lab.whoami(controller, 'ctrl', 7700, 7701, 7704, 7705, 2222),
  ]);
});

afterAll(async () => {
  for (const { reconciler } of hosts.values()) await reconciler.removeAll();
  await lab.stop();
  await rm(dir, { recursive: true, force: true });
});

/** None of the probes got an answer. They run at the same time, since each waits its time out. */
async function silent(probes: Record<string, Promise<string | boolean>>): Promise<void> {
  const answers = await Promise.all(Object.entries(probes).map(async ([name, probe]) => [name, await probe] as const));
  expect(answers.filter(([, answer]) => answer !== '' && answer !== false)).toEqual([]);
}

/** Frames with the payload of `mark` that come in at a task while `act` runs. */
async function arriving(task: string, filter: string, act: () => Promise<unknown>): Promise<number> {
  const child = lab.background(ns(task), ['tcpdump', '-ni', 'any', '-l', '--immediate-mode', filter]);
  let lines = 0;
  child.stdout?.on('data', (chunk: Buffer) => (lines += chunk.toString().split('\n').length - 1));
  await new Promise((resolve) => setTimeout(resolve, 700));
  await act();
  await new Promise((resolve) => setTimeout(resolve, 300));
  child.kill('SIGTERM');
  return lines;
}

/** Sends pings into a network from a VXLAN device of the attacker's own. */
async function inject(from: string, local: string, { vni, base }: { vni: number; base: string }): Promise<void> {
  const hex = Number(base.split('.')[1]).toString(16);
  const mac = `02:42:0a:${hex}:00:0a`;
  await lab.batch(from, [
    `link add inj type vxlan id ${vni} dstport 4789 local ${local} nolearning`,
    'link set inj address 02:42:0a:5a:00:63 mtu 1300 up',
    `addr add ${base}.99/32 dev inj`,
    `route add ${base}.10/32 dev inj table 99`,
    'rule add priority 1 lookup 99',
    `neigh add ${base}.10 lladdr ${mac} dev inj nud permanent`,
  ]);
  await lab.exec(from, ['bridge', 'fdb', 'append', mac, 'dev', 'inj', 'dst', n1.address]);
  await lab.attempt(from, ['ping', '-c3', '-i', '0.05', '-W', '0.3', '-I', `${base}.99`, `${base}.10`]);
  await lab.batch(from, ['rule del priority 1 lookup 99', 'link del inj']);
}

describe('from the underlay', () => {
  it('VXLAN of a stranger is dropped on every network, of a member taken unless the network is encrypted', async () => {
    const by = async (local: string) => {
      const seen: number[] = [];
      for (const network of NETWORKS)
        seen.push(await arriving('a', `icmp and src ${network.base}.99`, () => inject(attacker, local, network)));
      return seen;
    };
    expect(await by(ATTACKER)).toEqual([0, 0, 0]);
    await lab.batch(attacker, [`addr add ${n2.address}/32 dev eth0`]);
    // Whoever can take a member's address on the underlay speaks for it: that is what encrypted networks are for.
    expect(await by(n2.address)).toEqual([3, 3, 0]);
    await lab.batch(attacker, [`addr del ${n2.address}/32 dev eth0`]);
    // Who had that address is remembered for a while.
    await lab.batch(hostNs(n1), ['neigh flush dev eth0']);
  });

  it('a route is no way in: no task, no port that is not published, no virtual or inner address, no resolver', async () => {
    const bases = NETWORKS.map((n) => n.base);
    await lab.batch(attacker, [
      ...bases.map((base) => `route add ${base}.0/24 via ${n1.address}`),
      `route add 169.254.128.0/24 via ${n1.address}`,
      `route add 127.0.0.11/32 via ${n1.address} table 98`,
    ]);
    await silent(
      Object.fromEntries([
        ...bases.flatMap((base): [string, Promise<string | boolean>][] => [
          [`ping ${base}.10`, lab.pings(attacker, `${base}.10`)],
          [`tcp ${base}.10:80`, lab.tcp(attacker, `${base}.10`, 80)],
          [`udp ${base}.10:9000`, lab.udp(attacker, `${base}.10`, 9000)],
          [`names at ${base}.1`, lab.udp(attacker, `${base}.1`, 53)],
          [`names at ${base}.251`, lab.udp(attacker, `${base}.251`, 7753)],
        ]),
        ['the end of the tunnels', lab.tcp(attacker, '169.254.128.1', 2222)] as [string, Promise<string>],
        ['the tunnels, forwarded', lab.tcp(attacker, '169.254.128.2', 2222)] as [string, Promise<string>],
      ]),
    );
    expect(await lab.tcp(attacker, n1.address, 8080)).toBe(`a ${ATTACKER}`);
  });

  it('WireGuard says nothing to a stranger', async () => {
    const child = lab.background(attacker, [
      'timeout',
      '8',
      'tcpdump',
      '-ni',
      'eth0',
      '-l',
      '--immediate-mode',
      `src ${n1.address} and (udp or icmp)`,
    ]);
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await lab.udp(attacker, n1.address, 7706)).toBe('');
    expect(said.trim()).toBe('');
  });

  it("rules in Docker's chain open nothing", async () => {
    for (const rule of ['-N DOCKER-USER', '-A FORWARD -j DOCKER-USER', '-P FORWARD DROP'])
      await lab.exec(hostNs(n1), ['iptables-nft', ...rule.split(' ')]);
    expect(await keepDockerUser(entry(hostNs(n1)), true)).toEqual(['iptables-nft']);
    await silent({ ping: lab.pings(attacker, '10.90.0.10'), tcp: lab.tcp(attacker, '10.90.0.10', 80) });
    expect(await lab.tcp(attacker, n1.address, 8080)).toBe(`a ${ATTACKER}`);
    // Drift, and the end.
    await lab.exec(hostNs(n1), ['iptables-nft', '-F', 'DOCKER-USER']);
    expect(await lab.tcp(attacker, n1.address, 8080)).toBe('');
    expect(await keepDockerUser(entry(hostNs(n1)), true)).toEqual(['iptables-nft']);
    expect(await keepDockerUser(entry(hostNs(n1)), true)).toEqual([]);
    expect(await lab.tcp(attacker, n1.address, 8080)).toBe(`a ${ATTACKER}`);
    expect(await keepDockerUser(entry(hostNs(n1)), false)).toEqual(['iptables-nft']);
    expect(await lab.exec(hostNs(n1), ['iptables-nft', '-S', 'DOCKER-USER'])).toBe('-N DOCKER-USER\n');
    await lab.exec(hostNs(n1), ['iptables-nft', '-P', 'FORWARD', 'ACCEPT']);
  });
});

describe('from inside a container', () => {
  it('no guarded port of any member answers, TCP or UDP', async () => {
    const members = [n1.address, n2.address, CONTROLLER, '10.90.0.1', '10.90.0.251', '10.90.0.252', '169.254.128.1', '169.254.128.2'];
    await silent(
      Object.fromEntries(
        members.flatMap((address) => [...GUARDED, 7706].map((port) => [`${address}:${port}`, lab.tcp(ns('a'), address, port)])),
      ),
    );
    // What arrives at a member's VXLAN and WireGuard ports from its own task, or from another node's.
    for (const n of [n1, n2]) {
      const child = lab.background(hostNs(n), [
        'tcpdump',
        '-ni',
        'eth0',
        '-l',
        '--immediate-mode',
        `udp and dst ${n2.address} and (dst port 7706 or dst port 4789) and udp[4:2] = 9`,
      ]);
      let seen = '';
      child.stdout?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
      await new Promise((resolve) => setTimeout(resolve, 500));
      for (const port of [7706, 4789]) expect(await lab.udp(ns('a'), n2.address, port, 200)).toBe('');
      child.kill('SIGTERM');
      expect(seen).toBe('');
    }
    expect(await lab.tcp(ns('a'), CONTROLLER, 2222)).toBe(`ctrl ${n1.address}`);
  });

  it('no frame can be injected into a network, through the own node or another', async () => {
    for (const network of NETWORKS)
      expect(await arriving('a', `icmp and src ${network.base}.99`, () => inject(ns('mate'), '10.90.0.11', network))).toBe(0);
    for (const network of NETWORKS)
      expect(await arriving('a', `icmp and src ${network.base}.99`, () => inject(ns('b'), '10.90.0.20', network))).toBe(0);
  });

  it('no address but its own leaves it: IPv4, MAC, ARP; to a neighbour and to another node', async () => {
    // eth1: interfaces are in the order of the networks' keys, and this is `front`.
    const spoof = async (to: string) => {
      const target = cluster.addressOf(to, 'front');
      return arriving(to, 'icmp and src 10.90.0.77 or arp and arp[14:4] = 0x0a5a004d or ether src 02:42:0a:5a:00:77', async () => {
        await lab.batch(ns('mate'), ['addr add 10.90.0.77/32 dev eth1']);
        await lab.attempt(ns('mate'), ['ping', '-c2', '-i', '0.05', '-W', '0.2', '-I', '10.90.0.77', target]);
        await lab.attempt(ns('mate'), ['busybox', 'arping', '-c', '1', '-w', '1', '-A', '-I', 'eth1', '-s', '10.90.0.77', '10.90.0.77']);
        await lab.batch(ns('mate'), ['addr del 10.90.0.77/32 dev eth1', 'link set eth1 address 02:42:0a:5a:00:77']);
        expect(await lab.pings(ns('mate'), target)).toBe(false);
        await lab.batch(ns('mate'), ['link set eth1 address 02:42:0a:5a:00:0b']);
      });
    };
    expect(await spoof('a')).toBe(0);
    expect(await spoof('b')).toBe(0);
    expect(await lab.pings(ns('mate'), cluster.addressOf('b', 'front'))).toBe(true);
  });
});

describe('with the firewall left alone', () => {
  it('has no table on the node and no encrypted network; other networks work', async () => {
    for (const n of cluster.nodes) await apply(n, false);
    expect(await lab.exec(hostNs(n1), ['nft', 'list', 'tables'])).not.toMatch(/weft/);
    expect(await lab.exec(hostNs(n1), ['ip', '-br', 'link'])).not.toMatch(/wfw|wf[a-z]4303\b/);
    expect(await lab.tcp(ns('a'), cluster.addressOf('b', 'front'), 80)).toBe(`b ${cluster.addressOf('a', 'front')}`);
    for (const n of cluster.nodes) await apply(n);
    expect(await lab.tcp(ns('a'), cluster.addressOf('b', 'front'), 80)).toBe(`b ${cluster.addressOf('a', 'front')}`);
  });
});
