/**
 * Published ports of real containers on three nodes, asked from everywhere a client can be, over TCP and UDP. `web` runs on two
 * nodes and is entered by `front`, of which the third runs nothing; `own` publishes on its own node only.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { eventually, sh, TestCluster, type TaskLine } from './cluster.js';
import type { Outcome } from './ctl-lister.js';

const cluster = new TestCluster('po');
const NODES = ['node1', 'node2', 'node3'] as const;

const FILE = (http: number): string => `
name: ports
services:
  web:
    image: weft-demo
    networks: { front: { gw_priority: 1 }, side: {} }
    ports: ["${http}:80", "5300:53/udp"]
    deploy: { replicas: 2 }
  own:
    image: weft-demo
    networks: { alley: {}, side: { gw_priority: 1 } }
    ports: [{ target: 80, published: "8181", mode: host }]
  sibling:
    image: weft-demo
    networks: [side]
    deploy: { replicas: 3 }
networks:
  alley: {}
  front: {}
  side: {}
`;

/** A busybox has no server for UDP: this one stands in the task's namespace beside it. */
const UDP_SERVER = `
const [name] = process.argv.slice(1);
const s = require('node:dgram').createSocket('udp4');
s.on('message', (_, from) => s.send(name + ' saw ' + from.address + '\\n', from.port, from.address));
s.bind(53, '0.0.0.0', () => console.log('ready'));`;

/** What `ctl network inspect --format json` says. */
interface Audit {
  nat: string;
  users: string[];
  addressesUsed: number;
  exposures: { service: string; published: string; target: string; nodes: string[] }[];
  addresses: { address: string; kind: string; owner: string; node: string }[];
}

type From = (...argv: string[]) => Outcome;
const outside: From = (...argv) => sh(argv[0] ?? '', ...argv.slice(1));
const onNode =
  (node: string): From =>
  (...argv) =>
    cluster.onNode(node, ...argv);
const inTask =
  (task: TaskLine): From =>
  (...argv) =>
    cluster.inTask(task.id, ...argv);

/** "NAME saw ADDRESS", or nothing. */
const http = (from: From, host: string, port: number): string =>
  from('timeout', '4', 'busybox', 'wget', '-qO-', `http://${host.includes(':') ? `[${host}]` : host}:${port}/`).stdout.trim();
const udp = (from: From, host: string, port: number): string =>
  from('bash', '-c', `exec 3<>/dev/udp/${host}/${port}; echo hi >&3; timeout 3 head -n1 <&3`).stdout.trim();

const servers: ChildProcess[] = [];
const address: Record<string, string> = {};
let tasks: TaskLine[] = [];
const of = (service: string): TaskLine[] => tasks.filter((t) => t.service === service);
/** A node that runs no task of `front`. */
let bare = '';

async function startUdpServers(): Promise<void> {
  for (const task of of('web')) {
    const argv = [`--net=/run/netns/${cluster.taskNetns(task.id)}`, '--', process.execPath, '-e', UDP_SERVER, task.name];
    const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    servers.push(child);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
  }
}

beforeAll(async () => {
  await cluster.up();
  cluster.write('ports.yaml', FILE(8080));
  await cluster.ctl('up', '-f', 'ports.yaml');
  for (const n of await cluster.json<{ name: string; address: string }[]>('node', 'ls')) address[n.name] = n.address;
  tasks = await cluster.tasks('ports');
  bare = NODES.find((n) => !of('web').some((t) => t.node === n)) ?? '';
  await startUdpServers();
}, 180_000);
afterAll(async () => {
  for (const child of servers) child.kill();
  await cluster.down();
}, 60_000);

describe('published ports', () => {
  const WEB = /^ports-web-\d saw \d+\.\d+\.\d+\.\d+$/;

  it("answer on every node, also on one without a task of the network, and the task sees the client's own address", () => {
    expect(bare).not.toBe('');
    for (const node of NODES) {
      expect({ node, http: http(outside, address[node] ?? '', 8080) }).toEqual({
        node,
        http: expect.stringMatching(/saw 192\.168\.\d+\.1$/),
      });
      expect({ node, udp: udp(outside, address[node] ?? '', 5300) }).toEqual({ node, udp: expect.stringMatching(/saw 192\.168\.\d+\.1$/) });
    }
  }, 60_000);

  it('answer nodes, siblings and the task itself, by each node', () => {
    const clients: [string, From][] = [
      ...NODES.map((n): [string, From] => [n, onNode(n)]),
      ...[...of('web'), ...of('sibling')].map((t): [string, From] => [t.name, inTask(t)]),
    ];
    for (const [client, from] of clients) {
      for (const node of NODES) {
        const said = { client, node, http: http(from, address[node] ?? '', 8080), udp: udp(from, address[node] ?? '', 5300) };
        expect(said).toEqual({ client, node, http: expect.stringMatching(WEB), udp: expect.stringMatching(WEB) });
      }
    }
  }, 150_000);

  it('answer localhost of every node, v4 and v6, and are held there', () => {
    for (const node of NODES) {
      for (const host of ['127.0.0.1', '::1']) {
        const said = { node, host, http: http(onNode(node), host, 8080), udp: udp(onNode(node), host, 5300) };
        expect(said).toEqual({ node, host, http: expect.stringMatching(WEB), udp: expect.stringMatching(WEB) });
      }
      const taker = cluster.onNode(node, 'timeout', '2', 'busybox', 'nc', '-l', '-p', '8080');
      expect({ node, said: taker.stderr }).toEqual({ node, said: expect.stringContaining('in use') });
    }
  }, 60_000);

  it('of mode host are open where the task runs, and nowhere else', () => {
    const [own] = of('own');
    for (const node of NODES) {
      const expected = node === own?.node ? /^ports-own-1 saw 192\.168\.\d+\.1$/ : /^$/;
      expect({ node, said: http(outside, address[node] ?? '', 8181) }).toEqual({ node, said: expect.stringMatching(expected) });
    }
  }, 30_000);

  it('are what `ctl network inspect` tells an auditor: from where, through which nodes, translated where, and whose each address is', async () => {
    const [own] = of('own');
    const [alley, front, side] = await Promise.all(
      ['alley', 'front', 'side'].map((key) => cluster.json<Audit>('network', 'inspect', `ports_${key}`)),
    );
    const shown = (audit: Audit | undefined) => audit?.exposures.map((e) => [e.published, `${e.service} ${e.target}`, e.nodes]);
    expect(shown(front)).toEqual([
      ['5300/udp', 'web 53/udp', [...NODES]],
      ['8080/tcp', 'web 80/tcp', [...NODES]],
    ]);
    // `web` and `own` are on it too; what enters a task enters by one network.
    expect(shown(side)).toEqual([['8181/tcp', 'own 80/tcp', [own?.node]]]);
    expect(shown(alley)).toEqual([]);
    expect(front?.nat).toMatch(/masquerade/);
    for (const task of tasks.filter((t) => t.service !== 'web'))
      expect(side?.addresses).toContainEqual(
        expect.objectContaining({ kind: 'task', owner: task.name, node: task.node, address: task.addresses['side'] }),
      );
    expect(side).toMatchObject({ addressesUsed: side?.addresses.length, users: ['ports'] });
    expect((await cluster.ctl('network', 'inspect', 'ports_side')).match(/^8181\/tcp +ports\/own 80\/tcp +(\S+)$/m)?.[1]).toBe(own?.node);
  }, 30_000);

  it('enter by the network with the highest gw_priority, which has the default route too, though it comes later by name', async () => {
    const [own] = of('own');
    const { gateway } = await cluster.json<{ gateway: string }>('network', 'inspect', 'ports_side');
    const routes = cluster.inTask(own?.id ?? '', 'ip', 'route', 'show', 'default').stdout;
    expect(routes).toMatch(new RegExp(`^default via ${gateway.replaceAll('.', '\\.')} `));
    const wire = /dev (\S+)/.exec(routes)?.[1] ?? '';
    expect(cluster.inTask(own?.id ?? '', 'ip', '-4', '-o', 'addr', 'show', wire).stdout).toContain(` ${own?.addresses['side'] ?? '?'}/`);
  }, 30_000);

  it('change without a task being made anew', async () => {
    cluster.write('ports.yaml', FILE(8090));
    await cluster.ctl('up', '-f', 'ports.yaml');
    expect((await cluster.tasks('ports')).map((t) => t.id).sort()).toEqual(tasks.map((t) => t.id).sort());
    for (const node of NODES) {
      await eventually(10_000, () => expect(http(outside, address[node] ?? '', 8090)).toMatch(WEB));
      await eventually(10_000, () => expect(http(outside, address[node] ?? '', 8080)).toBe(''));
    }
  }, 90_000);

  it('are held over the restart of an agent, and again when the one who holds them dies', async () => {
    const [proxy] = cluster.pids('/port-proxy/main.js', '/node3/');
    cluster.kill('/agent/main.js', '/node3/');
    await cluster.repair();
    expect(cluster.pids('/port-proxy/main.js', '/node3/')).toEqual([proxy]);
    expect(http(onNode('node3'), '127.0.0.1', 8090)).toMatch(WEB);
    cluster.kill('/port-proxy/main.js', '/node3/');
    await eventually(30_000, () => expect(http(onNode('node3'), '::1', 8090)).toMatch(WEB));
  }, 90_000);
});

describe('ports that cannot be published', () => {
  const up = (name: string, service: string, ...more: string[]): Promise<Outcome> => {
    cluster.write(
      `${name}.yaml`,
      `name: ${name}\nservices:\n  web:\n    image: weft-demo\n${service}\nnetworks:\n  dark: { internal: true }\n`,
    );
    return cluster.tryCtl(['up', '-f', `${name}.yaml`, ...more]);
  };

  it('are refused as the stack comes up, and their holder is named', async () => {
    const other = await up('other', '    ports: ["8090:80"]');
    expect(other.code).not.toBe(0);
    expect(other.stderr).toMatch(/service web of stack ports/);
    expect((await up('other', '    ports: ["22:80"]')).stderr).toMatch(/ssh/);
    expect((await up('other', '    ports: ["4789:80/udp"]')).stderr).toMatch(/VXLAN/);
  }, 60_000);

  it('are refused where a process of a node listens, which is named with its node', async () => {
    const netns = `--net=/run/netns/${cluster.netns('node2')}`;
    servers.push(spawn('nsenter', [netns, '--', 'busybox', 'nc', '-l', '-p', '8096'], { stdio: 'ignore' }));
    // A node says within seconds what listens on it.
    await eventually(40_000, async () => {
      const { code, stderr } = await up('other', '    ports: ["8096:80"]', '--dry-run');
      expect([code, stderr]).toEqual([1, expect.stringMatching(/busybox listens on it on node node2/)]);
    });
  }, 60_000);

  it('are refused for a protocol that no kernel here speaks', async () => {
    const isSpoken = readFileSync('/proc/net/protocols', 'utf8').includes('\nSCTP ');
    const { code, stderr } = await up('other', '    ports: ["8097:80/sctp"]', '--dry-run');
    expect([code, stderr]).toEqual(isSpoken ? [0, expect.anything()] : [1, expect.stringMatching(/no node has SCTP/)]);
  }, 30_000);

  it('are refused for a service of internal networks only', async () => {
    const { code, stderr } = await up('inner', '    ports: ["8095:80"]\n    networks: [dark]');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/internal/);
  }, 30_000);
});
