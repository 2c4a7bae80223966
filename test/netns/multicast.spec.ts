/** Multicast on the overlay: a network that asks for it floods to the nodes that have a task there, others flood nothing. */
import { once } from 'node:events';
import { jest } from '@jest/globals';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(60_000);

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.77.${i}`, octet: 250 + i });
const [n1, n2, n3] = [node(1), node(2), node(3)];
const GROUP = '239.7.7.7';
const PORT = 7070;

/** Prints what comes to the group, or as broadcast. */
const RECEIVER = `
const [own] = process.argv.slice(1);
const s = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true });
s.on('message', (m, from) => process.stdout.write(m + ' ' + from.address + '\\n'));
s.bind(${PORT}, '0.0.0.0', () => { s.addMembership('${GROUP}', own); process.stdout.write('ready\\n'); });`;
/** Says something a few times, so that one lost datagram is no finding. */
const SENDER = `
const [own, to, text] = process.argv.slice(1);
const s = require('node:dgram').createSocket('udp4');
s.bind(0, own, () => {
  s.setBroadcast(true); s.setMulticastInterface(own); s.setMulticastTTL(8);
  for (let i = 0; i < 3; i++) setTimeout(() => s.send(text, ${PORT}, to), i * 50);
  setTimeout(() => process.exit(0), 250);
});`;

function makeCluster(): ClusterModel {
  const c = new ClusterModel();
  c.nodes = [n1, n2, n3];
  c.networks = [
    { id: 'aaaaaaaa', key: 'media', base: '10.90.0', vni: 4101, options: { multicast: true } },
    { id: 'bbbbbbbb', key: 'plain', base: '10.91.0', vni: 4102 },
  ];
  c.tasks = [
    { id: testId(2100), name: 'cast', node: n1, on: { media: 10 } },
    { id: testId(2101), name: 'near', node: n1, on: { media: 11 } },
    { id: testId(2102), name: 'far', node: n2, on: { media: 20 } },
    { id: testId(2103), name: 'farther', node: n3, on: { media: 30 } },
    { id: testId(2104), name: 'plain1', node: n1, on: { plain: 10 } },
    { id: testId(2105), name: 'plain2', node: n2, on: { plain: 20 } },
  ];
  return c;
}

describe.each([0, 1])('multicast with bridge-nf-call-iptables=%i', (brnf) => {
  const lab = new NetnsLab();
  const cluster = makeCluster();
  for (const [i, t] of cluster.tasks.entries()) t.id = testId(2100 + brnf * 10 + i);
  const hosts = new Map<string, { ns: string; reconciler: KernelReconciler }>();
  const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
  const hostNs = (n: ModelNode) => hosts.get(n.id)?.ns ?? '';
  const heard = new Map<string, string[]>();

  const apply = async (n: ModelNode) => {
    const { failed } = (await hosts.get(n.id)?.reconciler.set(nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address }))) ?? {};
    expect(failed).toEqual([]);
  };
  const listen = async (task: string, network: string) => {
    const child = lab.background(ns(task), [process.execPath, '-e', RECEIVER, cluster.addressOf(task, network)]);
    const lines: string[] = [];
    heard.set(task, lines);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    child.stdout?.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
  };
  const send = (task: string, network: string, to: string, text: string) =>
    lab.exec(ns(task), [process.execPath, '-e', SENDER, cluster.addressOf(task, network), to, text]);
  const sent = async (n: ModelNode, dev: string): Promise<number> => {
    const [link] = JSON.parse(await lab.exec(hostNs(n), ['ip', '-j', '-s', 'link', 'show', 'dev', dev])) as {
      stats64: { tx: { packets: number } };
    }[];
    return link?.stats64.tx.packets ?? -1;
  };
  const hears = async (task: string, line: string) => {
    for (let i = 0; i < 60 && !heard.get(task)?.includes(line); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard.get(task)).toContain(line);
  };

  beforeAll(async () => {
    await lab.start();
    for (const n of cluster.nodes) {
      const netns = await lab.host(n.name, n.address);
      await lab.exec(netns, ['sysctl', '-qw', `net.bridge.bridge-nf-call-iptables=${brnf}`]);
      hosts.set(n.id, { ns: netns, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) }) });
    }
    await Promise.all(cluster.nodes.map(apply));
    for (const task of ['near', 'far', 'farther']) await listen(task, 'media');
    await listen('plain2', 'plain');
  });
  afterAll(async () => {
    for (const { reconciler } of hosts.values()) await reconciler.removeAll();
    await lab.stop();
  });

  it('brings a datagram to a group to every member, on this node and on others, with the address of who sent it', async () => {
    await send('cast', 'media', GROUP, 'hello');
    for (const task of ['near', 'far', 'farther']) await hears(task, 'hello 10.90.0.10');
  });

  it('brings a broadcast to everybody', async () => {
    await send('far', 'media', '10.90.0.255', 'all');
    for (const task of ['near', 'farther']) await hears(task, 'all 10.90.0.20');
  });

  it('floods nothing of a network that does not ask for it', async () => {
    const before = await sent(n1, 'wfx4102');
    await send('plain1', 'plain', GROUP, 'quiet');
    await send('plain1', 'plain', '10.91.0.255', 'quiet');
    expect(heard.get('plain2')).toEqual([]);
    // What the bridge hands to the device, the device drops for want of a row.
    const fdb = await lab.exec(hostNs(n1), ['bridge', 'fdb', 'show', 'dev', 'wfx4102']);
    expect(fdb).not.toContain('00:00:00:00:00:00');
    expect(await sent(n1, 'wfx4102')).toBe(before);
  });

  it('asks for neighbours on its own node only, and floods no unicast', async () => {
    const before = await sent(n1, 'wfx4101');
    await lab.attempt(ns('cast'), ['ping', '-nq', '-c', '2', '-W', '1', '10.90.0.77']);
    await lab.attempt(ns('cast'), [
      'ip',
      'neigh',
      'replace',
      '10.90.0.78',
      'lladdr',
      '02:42:0a:5a:00:4e',
      'dev',
      'eth0',
      'nud',
      'reachable',
    ]);
    await lab.attempt(ns('cast'), ['ping', '-nq', '-c', '2', '-W', '1', '10.90.0.78']);
    await lab.attempt(hostNs(n1), ['ping', '-nq', '-c', '1', '-W', '1', '-I', '10.90.0.1', '10.90.0.99']);
    expect(await sent(n1, 'wfx4101')).toBe(before);
    expect(await lab.pings(ns('cast'), cluster.addressOf('far', 'media'))).toBe(true);
  });

  it('is read back as it was made, repaired, and goes away with the wish', async () => {
    const { reconciler } = hosts.get(n1.id) as { reconciler: KernelReconciler };
    expect((await reconciler.repair()).repaired).toEqual([]);
    await lab.exec(hostNs(n1), ['bridge', 'fdb', 'del', '00:00:00:00:00:00', 'dev', 'wfx4101', 'dst', n2.address]);
    await lab.exec(hostNs(n1), ['bridge', 'link', 'set', 'dev', 'wfx4101', 'mcast_flood', 'off']);
    expect((await reconciler.repair()).wrong).toHaveLength(2);
    await send('cast', 'media', GROUP, 'again');
    for (const task of ['far', 'farther']) await hears(task, 'again 10.90.0.10');
    const media = cluster.networks.find((n) => n.key === 'media');
    if (media) media.options = {};
    await apply(n1);
    expect(await lab.exec(hostNs(n1), ['bridge', 'fdb', 'show', 'dev', 'wfx4101'])).not.toContain('00:00:00:00:00:00');
    expect((await reconciler.repair()).repaired).toEqual([]);
    await send('cast', 'media', GROUP, 'late');
    await hears('near', 'late 10.90.0.10');
    expect(heard.get('far')).not.toContain('late 10.90.0.10');
  });
});
