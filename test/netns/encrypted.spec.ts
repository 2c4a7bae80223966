/** Encrypted networks between simulated hosts: what travels is looked at where an attacker would look. */
import { jest } from '@jest/globals';
import { access, readdir, readFile, readlink } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { run } from '#linux/runner.js';
import { taskNamespace, wireguardName } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NodeTunnelKeys } from '../../apps/agent/tunnel-keys.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

interface Host {
  ns: string;
  reconciler: KernelReconciler;
  keys: NodeTunnelKeys;
}

/** Ids are of this process: devices and control sockets of wireguard-go are named after them. */
const idOf = (i: number): string => `${process.pid.toString(16).padStart(7, '0')}${i}`;
const node = (i: number): ModelNode => ({ id: idOf(i), name: `n${i}`, address: `192.168.77.${i}`, octet: 250 + i });
const [n1, n2, n3] = [node(1), node(2), node(3)];
const STRANGER = '192.168.77.66';
const SECRET_VNI = 4201;
/** What a payload in clear would show. */
const MARK = 'weft-payload-in-clear';

const lab = new NetnsLab();
const cluster = new ClusterModel();
const hosts = new Map<string, Host>();
const host = (n: ModelNode): Host => hosts.get(n.id) as Host;
const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
const address = (task: string) => cluster.addressOf(task, 'secret');
let dir = '';
let stranger = '';

async function apply(n: ModelNode): Promise<void> {
  const view = cluster.view(n);
  const tunnel = n === n3 ? undefined : host(n).keys.forOverlay(view.members, n.id);
  const { failed } = await host(n).reconciler.set(nodeKernel(view, { nodeId: n.id, address: n.address, tunnel }));
  expect(failed).toEqual([]);
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), `weft-encrypted-${process.pid}-`));
  await lab.start();
  cluster.nodes = [n1, n2, n3];
  cluster.networks = [
    { id: 'aaaaaaaa', key: 'secret', base: '10.94.0', vni: SECRET_VNI, options: { encrypted: true } },
    { id: 'bbbbbbbb', key: 'open', base: '10.95.0', vni: 4202 },
  ];
  cluster.tasks = [
    { id: testId(5001), name: 'a', node: n1, on: { secret: 10, open: 10 } },
    { id: testId(5002), name: 'b', node: n2, on: { secret: 20, open: 20 } },
    { id: testId(5003), name: 'c', node: n3, on: { secret: 30, open: 30 } },
  ];
  cluster.vips = [{ network: 'secret', octet: 200, service: 'b', tasks: ['b'] }];
  for (const n of cluster.nodes) {
    const netns = await lab.host(n.name, n.address);
    const keys = await NodeTunnelKeys.open(join(dir, n.name), 1);
    if (n !== n3) n.wireguard = keys.publicKeys;
    hosts.set(n.id, { ns: netns, keys, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns, secrets: keys }) }) });
  }
  stranger = await lab.host('bad', STRANGER);
  // A way out for whatever would leave by mistake.
  for (const n of cluster.nodes) await lab.batch(host(n).ns, [`route add default via ${STRANGER}`]);
  await Promise.all(cluster.nodes.map(apply));
  await Promise.all(cluster.tasks.map((t) => lab.whoami(taskNamespace(t.id), `${MARK} ${t.name}`, 80)));
});

afterAll(async () => {
  for (const { reconciler } of hosts.values()) await reconciler.removeAll();
  await lab.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What passes on the wire of a host while `act` runs, as tcpdump shows it with its content in ASCII. */
async function onTheWire(at: string, act: () => Promise<unknown>): Promise<string> {
  const child = lab.background(at, ['tcpdump', '-i', 'eth0', '-n', '-U', '-l', '-A', 'udp or icmp or tcp']);
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  await new Promise((resolve) => setTimeout(resolve, 700));
  await act();
  await new Promise((resolve) => setTimeout(resolve, 500));
  child.kill('SIGTERM');
  return text;
}

const talk = async () => {
  expect(await lab.tcp(ns('a'), address('b'), 80)).toBe(`${MARK} b ${address('a')}`);
  expect(await lab.udp(ns('b'), address('a'), 80)).toBe(`${MARK} a ${address('b')}`);
  expect(await lab.tcp(ns('a'), '10.94.0.200', 80)).toBe(`${MARK} b ${address('a')}`);
  expect(await lab.tcp(host(n1).ns, address('b'), 80)).toBe(`${MARK} b 10.94.0.251`);
};

/** Nothing of the encrypted network can be seen, and something was sent. */
function expectSecret(wire: string): void {
  expect(wire).toMatch(/\.7706 > .*\.7706: UDP/);
  expect(wire).not.toContain(MARK);
  expect(wire).not.toMatch(/10\.94\.0\./);
  expect(wire).not.toMatch(new RegExp(`vni ${SECRET_VNI}`));
}

/** Counts answers to `count` pings, 20 ms apart, while `act` runs. */
async function pinging(from: string, to: string, count: number, act: () => Promise<unknown>): Promise<number> {
  const pings = lab.attempt(from, ['ping', '-nq', '-i', '0.02', '-c', String(count), '-W', '1', to]);
  await act();
  return Number(/(\d+) received/.exec((await pings).stdout)?.[1]);
}

const handshakes = async (n: ModelNode): Promise<number> =>
  Math.max(
    0,
    ...(await lab.exec(host(n).ns, ['wg', 'show', wireguardName(n.id), 'latest-handshakes']))
      .split('\n')
      .map((l) => Number(l.split('\t')[1] ?? 0)),
  );

/** Processes of wireguard-go for devices of this test. */
async function wireguardProcesses(): Promise<string[]> {
  const ours = new Set(cluster.nodes.map((n) => wireguardName(n.id)));
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (argv[0] === 'wireguard-go' && ours.has(argv[1] ?? '') && (await readlink(`/proc/${pid}/exe`).catch(() => ''))) found.push(pid);
  }
  return found;
}

describe('an encrypted network', () => {
  it('joins tasks across nodes, and shows nothing of it on the underlay', async () => {
    const wire = await onTheWire(host(n2).ns, talk);
    expectSecret(wire);
    // The same sight shows a network that is not encrypted: the test above can fail.
    const clear = await onTheWire(host(n2).ns, async () => {
      expect(await lab.tcp(ns('a'), cluster.addressOf('b', 'open'), 80)).toContain(MARK);
    });
    expect(clear).toContain(MARK);
    expect(clear).toMatch(/vni 4202/);
  });

  it('carries full packets of its smaller MTU and says so to larger ones; another network keeps its own', async () => {
    expect(await lab.pings(ns('a'), address('b'), '-M', 'do', '-s', String(1390 - 28))).toBe(true);
    const large = await lab.attempt(ns('a'), ['ping', '-c1', '-W1', '-M', 'do', '-s', String(1391 - 28), address('b')]);
    expect(large.stderr).toMatch(/mtu=1390/);
    expect(await lab.pings(ns('a'), cluster.addressOf('b', 'open'), '-M', 'do', '-s', String(1450 - 28))).toBe(true);
  });

  it('is not there on a node that cannot encrypt, and nothing of it is sent to that node', async () => {
    const links = await lab.exec(host(n3).ns, ['ip', '-br', 'link']);
    expect(links).not.toContain(`${SECRET_VNI}`);
    expect(links).toContain('wfb4202');
    const wire = await onTheWire(host(n1).ns, async () => {
      expect(await lab.pings(ns('a'), address('c'))).toBe(false);
      expect(await lab.tcp(host(n3).ns, '10.94.0.200', 80)).toBe('');
    });
    expect(wire).not.toMatch(/10\.94\.0\./);
    expect(await lab.pings(ns('a'), cluster.addressOf('c', 'open'))).toBe(true);
  });

  it('takes no frame in clear, not even from a member; and none through the tunnel but its own', async () => {
    const inject = async (vni: number, base: string) => {
      const target = `${base}.10`;
      const mac = `02:42:0a:${base === '10.94.0' ? '5e' : '5f'}:00:0a`;
      await lab.batch(stranger, [
        `addr add ${n2.address}/32 dev eth0`,
        `link add inj type vxlan id ${vni} dstport 4789 local ${n2.address} nolearning`,
        'link set inj address 02:42:0a:5e:00:14 mtu 1350 up',
        `addr add ${base}.20/24 dev inj`,
        `neigh add ${target} lladdr ${mac} dev inj nud permanent`,
      ]);
      await lab.exec(stranger, ['bridge', 'fdb', 'append', mac, 'dev', 'inj', 'dst', n1.address]);
      const seen = lab.background(ns('a'), ['timeout', '2', 'tcpdump', '-ni', 'any', '-l', 'icmp and icmp[icmptype] == icmp-echo']);
      let text = '';
      seen.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await new Promise((resolve) => setTimeout(resolve, 500));
      await lab.attempt(stranger, ['ping', '-c3', '-i', '0.05', '-W', '0.3', '-I', 'inj', target]);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await lab.batch(stranger, ['link del inj', `addr del ${n2.address}/32 dev eth0`]);
      // Who had that address is remembered for a while.
      await lab.batch(host(n1).ns, ['neigh flush dev eth0']);
      return [...text.matchAll(/echo request/g)].length;
    };
    expect(await inject(SECRET_VNI, '10.94.0')).toBe(0);
    // A network in clear takes it from a member's address, so the first would have arrived.
    expect(await inject(4202, '10.95.0')).toBe(3);
    // The ends of the tunnels are no way to a node's services, for the node's peers neither.
    await lab.whoami(host(n2).ns, 'n2', 2222);
    expect(await lab.tcp(host(n1).ns, '169.254.128.2', 2222)).toBe('');
    expect(await lab.tcp(ns('a'), '169.254.128.2', 2222)).toBe('');
    expect(await lab.pings(ns('a'), '169.254.128.2')).toBe(false);
    expect(await lab.pings(host(n1).ns, '169.254.128.2')).toBe(true);
  });

  it('changes keys without the loss of a packet, and needs the new key for the next session', async () => {
    const before = [n1, n2].map((n) => host(n).keys.forOverlay(cluster.view(n).members, n.id).presharedKeys);
    const received = await pinging(ns('a'), address('b'), 150, async () => {
      await host(n1).keys.rotate(2);
      n1.wireguard = host(n1).keys.publicKeys;
      // Nodes do not hear of it in the same instant.
      await apply(n2);
      await new Promise((resolve) => setTimeout(resolve, 700));
      await apply(n1);
    });
    expect(received).toBe(150);
    const after = [n1, n2].map((n) => host(n).keys.forOverlay(cluster.view(n).members, n.id).presharedKeys);
    expect(after[0]?.[n2.id]).not.toBe(before[0]?.[n2.id]);
    expect(after[0]?.[n2.id]).toBe(after[1]?.[n1.id]);
    // A session made anew is made with the new key.
    await lab.batch(host(n1).ns, [`link del ${wireguardName(n1.id)}`]);
    const { repaired } = await host(n1).reconciler.repair();
    expect(repaired.join('\n')).toMatch(/add wireguard/);
    expectSecret(await onTheWire(host(n2).ns, talk));
    // With one end on the old key there is no session.
    const stale = host(n1).keys.forOverlay(cluster.view(n1).members, n1.id, new Map([[n2.id, 1]]));
    await host(n1).reconciler.set(nodeKernel(cluster.view(n1), { nodeId: n1.id, address: n1.address, tunnel: stale }));
    await lab.batch(host(n1).ns, [`link del ${wireguardName(n1.id)}`]);
    await host(n1).reconciler.repair();
    expect(await lab.pings(ns('a'), address('b'))).toBe(false);
    await apply(n1);
    await lab.batch(host(n1).ns, [`link del ${wireguardName(n1.id)}`]);
    await host(n1).reconciler.repair();
    await talk();
  });

  it('sends nothing in clear while its device is gone, and is put back', async () => {
    const dev = wireguardName(n1.id);
    const wire = await onTheWire(host(n1).ns, async () => {
      await lab.batch(host(n1).ns, [`link del ${dev}`]);
      expect(await lab.pings(ns('a'), address('b'))).toBe(false);
      // Somebody makes the VXLAN device again by hand, without the tunnel: the rules hold.
      await lab.batch(host(n1).ns, [
        `link add wfx${SECRET_VNI} mtu 1390 type vxlan id ${SECRET_VNI} dstport 4789 local ${n1.address} nolearning`,
        `link set wfx${SECRET_VNI} master wfb${SECRET_VNI} up`,
      ]);
      for (const dst of [n2.address, '169.254.128.2'])
        await lab.exec(host(n1).ns, ['bridge', 'fdb', 'append', '02:42:0a:5e:00:14', 'dev', `wfx${SECRET_VNI}`, 'dst', dst]);
      expect(await lab.pings(ns('a'), address('b'))).toBe(false);
    });
    expect(wire).not.toMatch(/10\.94\.0\.|4789: VXLAN/);
    const { failed } = await host(n1).reconciler.repair();
    expect(failed).toEqual([]);
    expect(await lab.pings(ns('a'), address('b'), '-W', '3')).toBe(true);
    expect(await host(n1).reconciler.repair()).toEqual({ repaired: [], failed: [] });
  });

  it('goes on through a restart of the agent, with the same session', async () => {
    const began = await handshakes(n1);
    expect(began).toBeGreaterThan(0);
    const received = await pinging(ns('a'), address('b'), 100, async () => {
      const keys = await NodeTunnelKeys.open(join(dir, n1.name), 9);
      const next = new KernelReconciler({ kernel: new LinuxKernel({ enter: host(n1).ns, secrets: keys }) });
      hosts.set(n1.id, { ...host(n1), keys, reconciler: next });
      const tunnel = keys.forOverlay(cluster.view(n1).members, n1.id);
      const { operations } = await next.set(nodeKernel(cluster.view(n1), { nodeId: n1.id, address: n1.address, tunnel }));
      expect(operations.filter(({ op }) => !['putTable', 'setVips', 'setElements'].includes(op))).toEqual([]);
    });
    expect(received).toBe(100);
    expect(await handshakes(n1)).toBe(began);
  });

  it('keeps keys out of command lines, plans and readable files', async () => {
    const key = host(n1).keys.privateKey(host(n1).keys.publicKeys.publicKey) as string;
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)))
      expect(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).not.toContain(key);
    const tunnel = host(n1).keys.forOverlay(cluster.view(n1).members, n1.id);
    expect(JSON.stringify(nodeKernel(cluster.view(n1), { nodeId: n1.id, address: n1.address, tunnel }))).not.toContain(key);
    expect(JSON.stringify(await host(n1).reconciler.plan({ namespaces: {} }))).not.toContain(key);
  });

  it('leaves nothing behind', async () => {
    for (const { reconciler } of hosts.values()) expect((await reconciler.removeAll()).failed).toEqual([]);
    const deadline = Date.now() + 5_000;
    while ((await wireguardProcesses()).length > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await wireguardProcesses()).toEqual([]);
    for (const n of cluster.nodes) await expect(access(`/var/run/wireguard/${wireguardName(n.id)}.sock`)).rejects.toThrow();
    const { stdout } = await run(['ip', '-n', host(n1).ns, '-br', 'link']);
    expect(stdout).not.toMatch(/wf[bxvw]/);
  });
});
