/** The overlay on three simulated hosts, with real packets. */
import { jest } from '@jest/globals';
import { keepDockerUser } from '#linux/docker-user.js';
import { entry } from '#linux/enter.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { run } from '#linux/runner.js';
import { taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

interface Host {
  ns: string;
  reconciler: KernelReconciler;
}

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.77.${i}`, octet: 250 + i });
const [n1, n2, n3] = [node(1), node(2), node(3)];
const OUTSIDE = '192.168.77.100';
const CONTROLLER = '192.168.77.90';
const STRANGER = '192.168.77.66';

describe.each([
  { brnf: 0, docker: false, vxlanPort: 4789 },
  { brnf: 1, docker: false, vxlanPort: 8472 },
  { brnf: 1, docker: true, vxlanPort: 4789 },
])(
  'overlay by VXLAN port $vxlanPort, bridge-nf-call-iptables=$brnf, and a FORWARD drop of Docker: $docker',
  ({ brnf, docker, vxlanPort }) => {
    const lab = new NetnsLab();
    const cluster = makeCluster(brnf + (docker ? 1 : 0));
    cluster.settings = { ...cluster.settings, vxlanPort };
    const hosts = new Map<string, Host>();
    const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
    const hostNs = (n: ModelNode) => (hosts.get(n.id) as Host).ns;
    let out = '';
    let stranger = '';

    const apply = async (n: ModelNode) => {
      const { failed } = await (hosts.get(n.id) as Host).reconciler.set(nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address }));
      expect(failed).toEqual([]);
    };

    beforeAll(async () => {
      await lab.start();
      for (const n of cluster.nodes) {
        const netns = await lab.host(n.name, n.address);
        await lab.exec(netns, ['sysctl', '-qw', `net.bridge.bridge-nf-call-iptables=${brnf}`]);
        if (docker) await dropAsDocker(lab, netns);
        hosts.set(n.id, { ns: netns, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) }) });
      }
      out = await lab.host('out', OUTSIDE);
      stranger = await lab.host('bad', STRANGER);
      const controller = await lab.host('ctrl', CONTROLLER);
      await Promise.all(cluster.nodes.map(apply));
      await count(lab, ns('web1'), '10.90.0.99');
      await count(lab, ns('web2'), '10.90.0.77');
      await Promise.all([
        ...cluster.tasks.map((t) => lab.whoami(taskNamespace(t.id), t.name, 80)),
        ...cluster.nodes.map((n) => lab.whoami(hostNs(n), n.name, 7702, 7753, 2222)),
        lab.whoami(out, 'out', 80, 53),
        lab.whoami(controller, 'ctrl', 7700, 2222),
      ]);
    });

    afterAll(async () => {
      for (const { reconciler } of hosts.values()) await reconciler.removeAll();
      await lab.stop();
    });

    const addressOf = (task: string, network: string) => cluster.addressOf(task, network);

    it('joins tasks of one network across nodes, each seen with its own address', async () => {
      expect(await lab.tcp(ns('web1'), addressOf('api', 'front'), 80)).toBe(`api ${addressOf('web1', 'front')}`);
      expect(await lab.tcp(ns('api'), addressOf('db', 'back'), 80)).toBe(`db ${addressOf('api', 'back')}`);
      expect(await lab.udp(ns('api'), addressOf('db', 'back'), 80)).toBe(`db ${addressOf('api', 'back')}`);
      expect(await lab.tcp(ns('web1'), addressOf('web2', 'front'), 80)).toBe(`web2 ${addressOf('web1', 'front')}`);
      expect(await lab.tcp(ns('dark1'), addressOf('dark2', 'dark'), 80)).toBe(`dark2 ${addressOf('dark1', 'dark')}`);
      expect(await lab.tcp(ns('loc1'), addressOf('loc2', 'local'), 80)).toBe(`loc2 ${addressOf('loc1', 'local')}`);
    });

    it('keeps networks apart', async () => {
      await silent({
        'to a task elsewhere': lab.pings(ns('web1'), addressOf('db', 'back')),
        'to a task of both networks, by the other': lab.tcp(ns('web1'), addressOf('api', 'back'), 80),
        back: lab.tcp(ns('db'), addressOf('web1', 'front'), 80),
        // On one node too, where both networks have a bridge.
        'from an internal network': lab.pings(ns('dark1'), addressOf('web1', 'front')),
        'to an internal network': lab.pings(ns('web1'), addressOf('dark1', 'dark')),
        'to a bridge network': lab.tcp(ns('web1'), addressOf('loc1', 'local'), 80),
        'to its gateway': lab.pings(ns('web1'), '10.92.0.1'),
        'to its node address': lab.pings(ns('web1'), '10.92.0.251'),
      });
    });

    it('answers on the gateway, locally, and reaches tasks from any node with the node address', async () => {
      for (const task of ['web1', 'api', 'web3']) expect(await lab.pings(ns(task), '10.90.0.1')).toBe(true);
      expect(await lab.tcp(hostNs(n1), addressOf('web1', 'front'), 80)).toBe('web1 10.90.0.251');
      expect(await lab.tcp(hostNs(n1), addressOf('web3', 'front'), 80)).toBe('web3 10.90.0.251');
      expect(await lab.tcp(hostNs(n3), addressOf('web1', 'front'), 80)).toBe('web1 10.90.0.253');
      expect(await lab.pings(ns('web1'), '10.90.0.253')).toBe(true);
    });

    it('masquerades to the outside, but not from an internal network', async () => {
      expect(await lab.tcp(ns('web1'), OUTSIDE, 80)).toBe(`out ${n1.address}`);
      expect(await lab.tcp(ns('api'), OUTSIDE, 80)).toBe(`out ${n2.address}`);
      expect(await lab.udp(ns('loc1'), OUTSIDE, 80)).toBe(`out ${n1.address}`);
      expect(await lab.tcp(ns('dark1'), OUTSIDE, 80)).toBe('');
    });

    it('publishes ports: from outside, from the node, from a sibling, from itself, from another node’s task', async () => {
      expect(await lab.tcp(out, n1.address, 8080)).toBe(`web1 ${OUTSIDE}`);
      expect(await lab.udp(out, n1.address, 8081)).toBe(`web1 ${OUTSIDE}`);
      expect(await lab.tcp(out, n2.address, 8080)).toBe(`web1 ${OUTSIDE}`);
      expect(await lab.tcp(hostNs(n1), n1.address, 8080)).toBe('web1 10.90.0.251');
      expect(await lab.tcp(hostNs(n2), n1.address, 8080)).toBe(`web1 ${n2.address}`);
      expect(await lab.tcp(ns('web2'), n1.address, 8080)).toBe('web1 10.90.0.251');
      expect(await lab.tcp(ns('web1'), n1.address, 8080)).toBe('web1 10.90.0.251');
      expect(await lab.tcp(ns('loc1'), n1.address, 8080)).toBe('web1 10.90.0.251');
      expect(await lab.tcp(ns('api'), n1.address, 8080)).toBe(`web1 ${n2.address}`);
      // On one address of the node only.
      expect(await lab.tcp(out, n1.address, 8082)).toBe(`web2 ${OUTSIDE}`);
      expect(await lab.tcp(ns('web1'), '10.90.0.251', 8082)).toBe('');
    });

    it('balances a published port over several tasks of the node', async () => {
      const answers = new Set<string>();
      for (let i = 0; i < 40 && answers.size < 2; i++) answers.add((await lab.tcp(out, n3.address, 8090)).split(' ')[0] ?? '');
      expect([...answers].sort()).toEqual(['api3', 'web3']);
    });

    it('lets nobody in from outside by a route', async () => {
      await lab.batch(out, [`route replace 10.90.0.0/24 via ${n1.address}`, `route replace 10.92.0.0/24 via ${n1.address}`]);
      await silent({
        ping: lab.pings(out, addressOf('web1', 'front')),
        'a port that is not published': lab.tcp(out, addressOf('web1', 'front'), 80),
        'an internal network': lab.tcp(out, addressOf('dark1', 'dark'), 80),
        'the resolver': lab.udp(out, '10.90.0.1', 7753),
        'the resolver by its usual port': lab.udp(out, '10.90.0.1', 53),
        'the resolver by the node': lab.tcp(out, '10.90.0.251', 7753),
        'a virtual address': lab.tcp(out, '10.90.0.200', 80),
      });
    });

    it('keeps guarded ports of every member out of reach for tasks, and other ports within it', async () => {
      expect(await lab.tcp(hostNs(n2), n1.address, 7702)).toBe(`n1 ${n2.address}`);
      const guarded = [
        [n1.address, 7702],
        ['10.90.0.1', 7702],
        ['10.90.0.251', 7702],
        ['10.90.0.252', 7702],
        [n2.address, 7702],
        [CONTROLLER, 7700],
      ] as const;
      await silent(Object.fromEntries(guarded.map(([address, port]) => [`${address}:${port}`, lab.tcp(ns('web1'), address, port)])));
      expect(await lab.tcp(ns('web1'), CONTROLLER, 2222)).toBe(`ctrl ${n1.address}`);
      expect(await lab.tcp(ns('web1'), n1.address, 2222)).toBe(`n1 ${addressOf('web1', 'front')}`);
    });

    it('answers names at 127.0.0.11 and on port 53 of the own gateway, asked with the task’s address', async () => {
      expect(await lab.udp(ns('web1'), '127.0.0.11', 53)).toBe(`n1 ${addressOf('web1', 'front')}`);
      expect(await lab.tcp(ns('web1'), '127.0.0.11', 53)).toBe(`n1 ${addressOf('web1', 'front')}`);
      // api is on `back` and `front`: its first network answers.
      expect(await lab.udp(ns('api'), '127.0.0.11', 53)).toBe(`n2 ${addressOf('api', 'back')}`);
      expect(await lab.udp(ns('dark1'), '127.0.0.11', 53)).toBe(`n1 ${addressOf('dark1', 'dark')}`);
      expect(await lab.udp(ns('web1'), '10.90.0.1', 53)).toBe(`n1 ${addressOf('web1', 'front')}`);
      expect(await lab.tcp(ns('web1'), '10.90.0.1', 53)).toBe(`n1 ${addressOf('web1', 'front')}`);
      // Not another network's, and not the node's own.
      await silent({
        "another network's": lab.udp(ns('web1'), '10.92.0.1', 53),
        "another network's, by its own port": lab.udp(ns('web1'), '10.92.0.1', 7753),
        "the node's": lab.udp(ns('web1'), n1.address, 7753),
      });
    });

    it('keeps neighbours out of a task’s loopback', async () => {
      await lab.whoami(ns('web2'), 'inner', 9000);
      await lab.batch(ns('web1'), [
        `route add 127.0.0.99/32 via ${addressOf('web2', 'front')} dev eth0 table 7`,
        'rule add to 127.0.0.99 lookup 7 priority 0',
      ]);
      // Without the rule of ours that drops it, the neighbour answers: the test can fail.
      await lab.batch(ns('web1'), [
        'rule del priority 0',
        'rule add from all lookup local priority 10',
        'rule add to 127.0.0.99 lookup 7 priority 5',
      ]);
      expect(await lab.udp(ns('web1'), '127.0.0.99', 9000)).toBe('');
      await lab.exec(ns('web2'), ['nft', 'flush', 'chain', 'ip', 'weft', 'loopback_guard']);
      expect(await lab.udp(ns('web1'), '127.0.0.99', 9000)).toMatch(/^inner/);
      await lab.batch(ns('web1'), ['rule add from all lookup local priority 0', 'rule del priority 5', 'rule del priority 10']);
      const { repaired } = await (hosts.get(n1.id) as Host).reconciler.repair();
      expect(repaired).toEqual([
        expect.stringContaining('load nft table ip weft'),
        expect.stringContaining('set 2 virtual addresses of ip weft'),
      ]);
    });

    it('balances a virtual address in the client, keeps the source, and refuses when nothing is behind it', async () => {
      const answers = new Set<string>();
      for (let i = 0; i < 60 && answers.size < 3; i++) answers.add(await lab.tcp(ns('web1'), '10.90.0.200', 80));
      expect([...answers].sort()).toEqual(['web1', 'web2', 'web3'].map((t) => `${t} ${addressOf('web1', 'front')}`));
      const fromNode = new Set<string>();
      for (let i = 0; i < 60 && fromNode.size < 3; i++) fromNode.add(await lab.tcp(hostNs(n2), '10.90.0.200', 80));
      expect([...fromNode].sort()).toEqual(['web1', 'web2', 'web3'].map((t) => `${t} 10.90.0.252`));
      expect(await lab.pings(ns('web1'), '10.90.0.200')).toBe(true);
      const refused = await lab.attempt(ns('web1'), ['timeout', '5', 'busybox', 'nc', '10.90.0.201', '80']);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toMatch(/refused/);
    });

    it('carries full packets of the network’s MTU and says so to larger ones', async () => {
      expect(await lab.pings(ns('web1'), addressOf('web3', 'front'), '-M', 'do', '-s', '1422')).toBe(true);
      const large = await lab.attempt(ns('web1'), ['ping', '-c1', '-W1', '-M', 'do', '-s', '1423', addressOf('web3', 'front')]);
      expect(large.stderr).toMatch(/mtu=1450/);
    });

    it('drops VXLAN of our networks from a stranger, and takes it from a member', async () => {
      const frame = async (from: string, local: string, port = vxlanPort) => {
        await lab.batch(from, [
          `link add inj type vxlan id 4097 dstport ${port} local ${local} nolearning`,
          'link set inj address 02:42:0a:5a:00:fb mtu 1450 up',
          'addr add 10.90.0.99/24 dev inj',
          `neigh add ${addressOf('web1', 'front')} lladdr 02:42:0a:5a:00:0a dev inj nud permanent`,
        ]);
        await lab.exec(from, ['bridge', 'fdb', 'append', '02:42:0a:5a:00:0a', 'dev', 'inj', 'dst', n1.address]);
        const before = await received(lab, ns('web1'), '10.90.0.99');
        await lab.attempt(from, ['ping', '-c3', '-i', '0.05', '-W', '0.3', '-I', 'inj', addressOf('web1', 'front')]);
        await lab.batch(from, ['link del inj']);
        return (await received(lab, ns('web1'), '10.90.0.99')) - before;
      };
      expect(await frame(stranger, STRANGER)).toBe(0);
      // The same frame from a member's address arrives: the test above can fail.
      await lab.batch(stranger, [`addr add ${n3.address}/32 dev eth0`]);
      expect(await frame(stranger, n3.address)).toBe(3);
      expect(await frame(stranger, n3.address, vxlanPort + 1)).toBe(0);
      await lab.batch(stranger, [`addr del ${n3.address}/32 dev eth0`]);
      // Neither through a task: masqueraded, it would look like a member.
      expect(await frame(ns('web2'), addressOf('web2', 'front'))).toBe(0);
      expect(await frame(ns('web3'), addressOf('web3', 'front'))).toBe(0);
    });

    it('keeps tunnels of members out of connection tracking, both ways', async () => {
      expect(await lab.tcp(ns('web1'), addressOf('web3', 'front'), 80)).toMatch(/^web3/);
      for (const n of [n1, n3]) expect(await lab.exec(hostNs(n), ['conntrack', '-L', '-p', 'udp'])).not.toContain(`dport=${vxlanPort} `);
      // What the node itself asked is tracked: the list is not empty for want of tracking.
      expect(await lab.tcp(hostNs(n2), n1.address, 7702)).toMatch(/^n1/);
      expect(await lab.exec(hostNs(n1), ['conntrack', '-L', '-p', 'tcp'])).toMatch(/dport=7702/);
    });

    it('lets a task send nothing but its own addresses', async () => {
      await lab.batch(ns('web1'), ['addr add 10.90.0.77/32 dev eth0']);
      expect(await lab.pings(ns('web1'), addressOf('web2', 'front'), '-I', '10.90.0.77')).toBe(false);
      await lab.batch(ns('web1'), ['addr del 10.90.0.77/32 dev eth0', 'link set eth0 address 02:42:0a:5a:00:77']);
      expect(await lab.pings(ns('web1'), addressOf('web2', 'front'))).toBe(false);
      await lab.batch(ns('web1'), ['link set eth0 address 02:42:0a:5a:00:0a']);
      expect(await lab.pings(ns('web1'), addressOf('web2', 'front'))).toBe(true);
      expect(await received(lab, ns('web2'), '10.90.0.77')).toBe(0);
    });

    it('is still as it was wished after all that', async () => {
      for (const { reconciler } of hosts.values()) expect(await reconciler.repair()).toEqual({ repaired: [], failed: [] });
    });
  },
);

/** What Docker sets up: everything forwarded is dropped, but for what DOCKER-USER lets through. */
async function dropAsDocker(lab: NetnsLab, netns: string): Promise<void> {
  const rules = ['-N DOCKER-USER', '-A FORWARD -j DOCKER-USER', '-A DOCKER-USER -j RETURN', '-P FORWARD DROP'];
  for (const rule of rules) await lab.exec(netns, ['iptables-nft', ...rule.split(' ')]);
  expect(await keepDockerUser(entry(netns), true)).toEqual(['iptables-nft']);
}

/** Counts packets that come in at a task from the given addresses. */
async function count(lab: NetnsLab, ns: string, ...from: string[]): Promise<void> {
  const rules = from.map((address) => `  ip saddr ${address} counter\n`).join('');
  await lab.exec(ns, ['nft', '-f', '-'], `table ip seen {\n chain c {\n  type filter hook prerouting priority -310\n${rules} }\n}\n`);
}

/** Packets from `address` so far. */
async function received(lab: NetnsLab, ns: string, address: string): Promise<number> {
  const text = await lab.exec(ns, ['nft', 'list', 'table', 'ip', 'seen']);
  const packets = new RegExp(`saddr ${address.replaceAll('.', '\\.')} counter packets (\\d+)`).exec(text)?.[1];
  if (packets === undefined) throw new Error(`nothing counts ${address}: ${text}`);
  return Number(packets);
}

function makeCluster(salt: number): ClusterModel {
  const c = new ClusterModel();
  c.nodes = [n1, n2, n3];
  c.controllers = [{ id: 'c1', address: CONTROLLER }];
  c.networks = [
    { id: 'aaaaaaaa', key: 'front', base: '10.90.0', vni: 4097 },
    { id: 'bbbbbbbb', key: 'back', base: '10.91.0', vni: 4098 },
    { id: 'cccccccc', key: 'dark', base: '10.92.0', vni: 4099, internal: true },
    { id: 'dddddddd', key: 'local', base: '10.93.0', vni: 4100, driver: 'bridge' },
  ];
  const id = (n: number) => testId(salt * 100 + n);
  c.tasks = [
    {
      id: id(1),
      name: 'web1',
      node: n1,
      on: { front: 10 },
      ports: [
        { target: 80, published: 8080 },
        { target: 80, published: 8081, protocol: 'udp' },
      ],
    },
    { id: id(2), name: 'web2', node: n1, on: { front: 11 }, ports: [{ target: 80, published: 8082, hostIp: n1.address }] },
    { id: id(3), name: 'api', node: n2, on: { front: 20, back: 20 } },
    { id: id(4), name: 'web3', node: n3, on: { front: 30 }, ports: [{ target: 80, published: 8090 }] },
    { id: id(5), name: 'db', node: n3, on: { back: 30 } },
    { id: id(6), name: 'api3', node: n3, on: { front: 31, back: 31 }, ports: [{ target: 80, published: 8090 }] },
    { id: id(7), name: 'dark1', node: n1, on: { dark: 10 } },
    { id: id(8), name: 'dark2', node: n2, on: { dark: 20 } },
    { id: id(9), name: 'loc1', node: n1, on: { local: 10 } },
    { id: id(10), name: 'loc2', node: n1, on: { local: 11 } },
  ];
  c.vips = [
    { network: 'front', octet: 200, service: 'web', tasks: ['web1', 'web2', 'web3'] },
    { network: 'front', octet: 201, service: 'none', tasks: [] },
  ];
  return c;
}

/** None of the probes got an answer. They run at the same time, since each waits its time out. */
async function silent(probes: Record<string, Promise<string | boolean>>): Promise<void> {
  const answers = await Promise.all(Object.entries(probes).map(async ([name, probe]) => [name, await probe] as const));
  expect(answers.filter(([, answer]) => answer !== '' && answer !== false)).toEqual([]);
}

describe('the lab', () => {
  it('leaves no namespace behind', async () => {
    const { stdout } = await run(['ip', 'netns', 'list']);
    expect(stdout).not.toContain(`wt${process.pid}x`);
    expect(stdout).not.toContain(taskNamespace(testId(1)).slice(0, 13));
  });
});
