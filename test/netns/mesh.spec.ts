/**
 * Published ports on three simulated hosts, with real packets: who the task sees, by whichever node the client comes in. n1 runs
 * no task of the network at all; `web2` is on n2 and `web3` on n3, behind one port; `two3` is on two networks.
 */
import { jest } from '@jest/globals';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import type { ModelNode, ModelTask } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

const node = (i: number): ModelNode => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.78.${i}`, octet: 250 + i });
const [n1, n2, n3] = [node(1), node(2), node(3)];
const OUTSIDE = '192.168.78.100';

const CLIENT = `
const [host, port, local, times] = process.argv.slice(1);
const { connect } = require('node:net');
const ask = (n) => {
  if (n === 0) return;
  const s = connect({ host, port: Number(port), localPort: Number(local) || undefined, localAddress: Number(local) ? '0.0.0.0' : undefined });
  let said = '';
  s.setTimeout(3000, () => s.destroy());
  s.on('data', (d) => (said += d)).on('error', (e) => (said = e.code + '\\n')).on('close', () => { process.stdout.write(said || 'nothing\\n'); ask(n - 1); });
};
ask(Number(times));`;

/** Sends a line a second time when told on its standard input; prints what comes back. Ends when the connection does. */
const TALKER = `
const [host, port] = process.argv.slice(1);
const s = require('node:net').connect({ host, port: Number(port) });
s.on('connect', () => s.write('hello\\n')).on('data', (d) => process.stdout.write(d)).on('error', (e) => process.stdout.write(e.code + '\\n')).on('close', () => process.exit(0));
process.stdin.on('data', (d) => s.write(d));`;

const ECHO = `
require('node:net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(Number(process.argv[1]), '0.0.0.0', () => process.stdout.write('ready\\n'));`;

describe.each([0, 1])('the routing mesh with bridge-nf-call-iptables=%d', (brnf) => {
  const lab = new NetnsLab();
  const cluster = makeCluster(brnf);
  const hosts = new Map<string, { ns: string; reconciler: KernelReconciler }>();
  const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
  const host = (n: ModelNode) => hosts.get(n.id) ?? fail(n);
  let out = '';

  const apply = async () => {
    for (const n of cluster.nodes) {
      const { failed } = await host(n).reconciler.set(nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address }));
      expect(failed).toEqual([]);
    }
  };
  /** What tasks said to `count` connections one after another; several answers, sorted, once each. */
  const ask = async (from: string, address: string, port: number, count = 24): Promise<string[]> => {
    const { stdout } = await lab.attempt(from, [process.execPath, '-e', CLIENT, address, String(port), '0', String(count)]);
    return [...new Set(stdout.trim().split('\n'))].sort();
  };
  const both = (client: string) => [`web2 ${client}`, `web3 ${client}`];

  beforeAll(async () => {
    await lab.start();
    for (const n of cluster.nodes) {
      const netns = await lab.host(n.name, n.address);
      await lab.exec(netns, ['sysctl', '-qw', `net.bridge.bridge-nf-call-iptables=${brnf}`]);
      hosts.set(n.id, { ns: netns, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) }) });
    }
    out = await lab.host('out', OUTSIDE);
    await apply();
    await Promise.all([
      ...cluster.tasks.map((t) => lab.whoami(taskNamespace(t.id), t.name, 80)),
      lab.whoami(out, 'out', 80),
      new Promise((resolve) => lab.background(ns('web3'), [process.execPath, '-e', ECHO, '7']).stdout?.once('data', resolve)),
    ]);
  });

  afterAll(async () => {
    for (const { reconciler } of hosts.values()) await reconciler.removeAll();
    await lab.stop();
  });

  it('shows the task the client’s own address, by every node, also by one without tasks of the network', async () => {
    for (const n of cluster.nodes) expect(await ask(out, n.address, 8080)).toEqual(both(OUTSIDE));
  });

  it('does so for UDP', async () => {
    for (const n of cluster.nodes) {
      const answers = new Set<string>();
      for (let i = 0; i < 24 && answers.size < 2; i++) answers.add(await lab.udp(out, n.address, 8081));
      expect([...answers].sort()).toEqual(both(OUTSIDE));
    }
  });

  it('serves a node: at its own port, at another’s, and at another’s whose task it runs itself', async () => {
    expect(await ask(host(n2).ns, n2.address, 8080)).toEqual(both('10.94.0.252'));
    // n1 has no address on the network: it comes with its own.
    expect(await ask(host(n1).ns, n1.address, 8080)).toEqual(both(n1.address));
    // By n1 to a task on n2: with n2's own address it would be taken for n2's own. To the task on n3 it keeps its address.
    expect(await ask(host(n2).ns, n1.address, 8080)).toEqual([`web2 ${n1.address}`, `web3 ${n2.address}`]);
    expect(await ask(host(n1).ns, n3.address, 8080)).toEqual(both(n1.address));
  });

  it('serves tasks: a sibling, the task itself, one of another network, at their own node and at others', async () => {
    // A task at its own node comes with the node's address on the network, else masqueraded as its node.
    expect(await ask(ns('other2'), n2.address, 8080)).toEqual(both('10.94.0.252'));
    expect(await ask(ns('web2'), n2.address, 8080)).toEqual(both('10.94.0.252'));
    expect(await ask(ns('web2'), n1.address, 8080)).toEqual([`web2 ${n1.address}`, `web3 ${n2.address}`]);
    expect(await ask(ns('web2'), n3.address, 8080)).toEqual([`web2 10.94.0.253`, `web3 ${n2.address}`]);
    expect(await ask(ns('apart1'), n1.address, 8080)).toEqual(both(n1.address));
    expect(await ask(ns('apart1'), n2.address, 8080)).toEqual(both(n1.address));
  });

  it('keeps apart one client port that comes in by two nodes at the same time', async () => {
    const answers = await Promise.all(
      [n1, n2, n3].flatMap((n) => [lab.attempt(out, [process.execPath, '-e', CLIENT, n.address, '8083', '45678', '1'])]),
    );
    expect(answers.map((a) => a.stdout.trim())).toEqual([`web3 ${OUTSIDE}`, `web3 ${OUTSIDE}`, `web3 ${OUTSIDE}`]);
  });

  it('enters a task of several networks by the first that is not internal, and hears its answers', async () => {
    for (const n of cluster.nodes) expect(await ask(out, n.address, 8084, 3)).toEqual([`two3 ${OUTSIDE}`]);
  });

  it('opens ports of mode host only where a task runs', async () => {
    expect(await ask(out, n2.address, 8085, 2)).toEqual([`web2 ${OUTSIDE}`]);
    expect(await ask(out, n1.address, 8085, 1)).toEqual(['ECONNREFUSED']);
    expect(await ask(out, n3.address, 8085, 1)).toEqual(['ECONNREFUSED']);
  });

  it('opens a port on one address of the nodes', async () => {
    expect(await ask(out, n1.address, 8086, 2)).toEqual([`web3 ${OUTSIDE}`]);
    expect(await ask(out, n2.address, 8086, 1)).toEqual(['ECONNREFUSED']);
  });

  it('carries full packets both ways', async () => {
    const big = 200_000;
    const script = `const s=require('node:net').connect({host:'${n1.address}',port:8087},()=>s.write('x'.repeat(${big})));let n=0;s.on('data',(d)=>{n+=d.length;if(n===${big}){console.log(n);process.exit(0)}});setTimeout(()=>{console.log(n);process.exit(1)},4000)`;
    expect((await lab.attempt(out, [process.execPath, '-e', script])).stdout.trim()).toBe(String(big));
  });

  it('keeps established connections while a task is taken out and others change, and refuses once none is left', async () => {
    const talker = lab.background(out, [process.execPath, '-e', TALKER, n1.address, '8087'], true);
    const heard: string[] = [];
    talker.stdout?.on('data', (d: Buffer) => heard.push(d.toString()));
    const until = async (text: string) => {
      for (let i = 0; i < 100 && !heard.join('').includes(text); i++) await new Promise((r) => setTimeout(r, 30));
      expect(heard.join('')).toContain(text);
    };
    await until('hello');
    cluster.tasks.push(more(brnf));
    stop('web3', true);
    await apply();
    talker.stdin?.write('still there\n');
    await until('still there');
    expect(await ask(out, n1.address, 8083, 1)).toEqual(['ECONNREFUSED']);
    expect(await ask(out, n1.address, 8080, 4)).toEqual([`web2 ${OUTSIDE}`]);
    talker.kill();
    cluster.tasks.pop();
    stop('web3', false);
    await apply();
  });

  it('sends the next datagram of a flow to another task when the one it had takes no more', async () => {
    const script = `const s=require('node:dgram').createSocket('udp4');s.on('message',(m)=>process.stdout.write(m));process.stdin.on('data',()=>s.send('x',8081,'${n1.address}'));s.send('x',8081,'${n1.address}');`;
    const client = lab.background(out, [process.execPath, '-e', script], true);
    const heard: string[] = [];
    client.stdout?.on('data', (d: Buffer) => heard.push(d.toString().trim()));
    const next = async (count: number) => {
      for (let i = 0; i < 100 && heard.length < count; i++) await new Promise((r) => setTimeout(r, 30));
      return heard[count - 1]?.split(' ')[0] ?? 'nothing';
    };
    const first = await next(1);
    client.stdin?.write('\n');
    expect(await next(2)).toBe(first);
    stop(first, true);
    await apply();
    client.stdin?.write('\n');
    const second = await next(3);
    expect(['web2', 'web3'].filter((t) => t !== first)).toEqual([second]);
    client.kill();
    stop(first, false);
    await apply();
  });

  it('lets nobody in by a route to a task, at a port that is not published', async () => {
    const task = cluster.addressOf('web2', 'front');
    await lab.batch(out, [`route replace ${task}/32 via ${n1.address}`]);
    expect([await lab.tcp(out, task, 80), await lab.pings(out, task)]).toEqual(['', false]);
    await lab.batch(out, [`route del ${task}/32`]);
  });

  it('is repaired when a rule, a route, a table or a whole bridge of it is taken away', async () => {
    await lab.batch(host(n3).ns, ['rule del priority 900', 'route flush table 4197', 'link del wfb4197']);
    await lab.exec(host(n2).ns, ['nft', 'delete', 'table', 'netdev', 'weft']);
    await lab.batch(host(n1).ns, ['route flush proto 119']);
    for (const n of cluster.nodes) {
      const { repaired, failed } = await host(n).reconciler.repair();
      expect(failed).toEqual([]);
      expect(repaired.length).toBeGreaterThan(0);
    }
    for (const n of cluster.nodes) expect(await ask(out, n.address, 8080)).toEqual(both(OUTSIDE));
    for (const n of cluster.nodes) expect(await host(n).reconciler.repair()).toEqual({ repaired: [], failed: [] });
  });

  function stop(name: string, stopped: boolean): void {
    const task = cluster.tasks.find((t) => t.name === name);
    if (task) task.stopped = stopped;
  }
});

function fail(n: ModelNode): never {
  throw new Error(`no host ${n.name}`);
}

const more = (salt: number): ModelTask => ({
  id: testId(500 + salt * 100 + 50),
  name: 'more2',
  node: n2,
  on: { front: 29 },
  ports: [{ target: 80, published: 8088 }],
});

function makeCluster(salt: number): ClusterModel {
  const c = new ClusterModel();
  c.nodes = [n1, n2, n3];
  c.networks = [
    { id: 'aaaaaaaa', key: 'aside', base: '10.95.0', vni: 4198, internal: true },
    { id: 'bbbbbbbb', key: 'front', base: '10.94.0', vni: 4197 },
    { id: 'cccccccc', key: 'third', base: '10.96.0', vni: 4199 },
  ];
  const id = (n: number) => testId(500 + salt * 100 + n);
  const web = [
    { target: 80, published: 8080 },
    { target: 80, published: 8081, protocol: 'udp' as const },
  ];
  c.tasks = [
    { id: id(1), name: 'web2', node: n2, on: { front: 20 }, ports: [...web, { target: 80, published: 8085, mode: 'host' }] },
    {
      id: id(2),
      name: 'web3',
      node: n3,
      on: { front: 30 },
      ports: [...web, { target: 80, published: 8083 }, { target: 80, published: 8086, hostIp: n1.address }, { target: 7, published: 8087 }],
    },
    { id: id(3), name: 'other2', node: n2, on: { front: 21 } },
    { id: id(4), name: 'two3', node: n3, on: { aside: 31, front: 31, third: 31 }, ports: [{ target: 80, published: 8084 }] },
    { id: id(5), name: 'apart1', node: n1, on: { third: 10 } },
  ];
  return c;
}
