/**
 * Published ports over IPv6 on three simulated hosts, with real packets: who the task sees, by whichever node the client comes
 * in. n1 runs no task of `front`; `web2` is on n2 and `web3` on n3, behind one port; `two3` is on two networks; `old3` has no IPv6.
 */
import { jest } from '@jest/globals';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import { taskNamespace } from '#overlay/names.js';
import { nodeKernel } from '#overlay/node-kernel.js';
import { NetnsLab } from '../fixtures/netns-lab.js';
import { ask6, whoami6 } from '../fixtures/netns-six.js';
import type { ModelNode } from '../fixtures/netns-views.js';
import { ClusterModel, testId } from '../fixtures/netns-views.js';

jest.setTimeout(120_000);

const node = (i: number) => ({ id: `${i}`.repeat(8), name: `n${i}`, address: `192.168.79.${i}`, address6: `fd79::${i}`, octet: 250 + i });
const [n1, n2, n3] = [node(1), node(2), node(3)];
const NODES = [n1, n2, n3];
const OUTSIDE6 = 'fd79::100';

function makeCluster(salt: number): ClusterModel {
  const c = new ClusterModel();
  c.nodes = NODES;
  c.networks = [
    { id: 'aaaaaaaa', key: 'aside', base: '10.95.0', base6: 'fd12:0:0:95', vni: 5198, internal: true },
    { id: 'bbbbbbbb', key: 'front', base: '10.94.0', base6: 'fd12:0:0:94', vni: 5197 },
    { id: 'cccccccc', key: 'plain', base: '10.97.0', vni: 5200 },
    { id: 'dddddddd', key: 'third', base: '10.96.0', base6: 'fd12:0:0:96', vni: 5199 },
  ];
  const id = (n: number) => testId(1500 + salt * 100 + n);
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
      ports: [...web, { target: 80, published: 8083 }, { target: 80, published: 8086, hostIp: n1.address6 }],
    },
    { id: id(3), name: 'other2', node: n2, on: { front: 21 } },
    { id: id(4), name: 'two3', node: n3, on: { aside: 31, front: 31, third: 31 }, ports: [{ target: 80, published: 8084 }] },
    { id: id(5), name: 'apart1', node: n1, on: { third: 10 } },
    { id: id(6), name: 'old3', node: n3, on: { plain: 40 }, ports: [{ target: 80, published: 8089 }] },
  ];
  return c;
}

describe.each([0, 1])('the routing mesh over IPv6 with bridge-nf-call-ip6tables=%d', (brnf) => {
  const lab = new NetnsLab();
  const cluster = makeCluster(brnf);
  const hosts = new Map<string, { ns: string; reconciler: KernelReconciler }>();
  const ns = (task: string) => taskNamespace(cluster.tasks.find((t) => t.name === task)?.id ?? '');
  const host = (n: ModelNode) => {
    const found = hosts.get(n.id);
    if (!found) throw new Error(`no host ${n.name}`);
    return found;
  };
  const inside = (task: string, network = 'front') => cluster.address6Of(task, network);
  const onFront = (n: ModelNode) => `fd12:0:0:94::${n.octet}`;
  let out = '';

  const apply = async () => {
    for (const n of cluster.nodes) {
      const { failed } = await host(n).reconciler.set(nodeKernel(cluster.view(n), { nodeId: n.id, address: n.address }));
      expect(failed).toEqual([]);
    }
  };
  /** What tasks said to connections one after another, until `count` different answers; sorted, once each. */
  const ask = async (from: string, address: string, port: number, count = 2, kind: 'tcp' | 'udp' = 'tcp'): Promise<string[]> => {
    const answers = new Set<string>();
    // Who answers is chosen by chance: so often the same of two is one run in eight million.
    for (let i = 0; i < 24 && answers.size < count; i++) answers.add(await ask6(lab, from, kind, address, port));
    return [...answers].sort();
  };
  const both = (client: string) => [`web2 ${client}`, `web3 ${client}`];

  beforeAll(async () => {
    await lab.start();
    for (const n of NODES) {
      const netns = await lab.host(n.name, n.address);
      await lab.batch(netns, [`addr add ${n.address6}/64 dev eth0 nodad`]);
      await lab.exec(netns, ['sysctl', '-qw', `net.bridge.bridge-nf-call-ip6tables=${brnf}`, `net.bridge.bridge-nf-call-iptables=${brnf}`]);
      hosts.set(n.id, { ns: netns, reconciler: new KernelReconciler({ kernel: new LinuxKernel({ enter: netns }) }) });
    }
    out = await lab.host('out', '192.168.79.100');
    await lab.batch(out, [`addr add ${OUTSIDE6}/64 dev eth0 nodad`]);
    await apply();
    await Promise.all(cluster.tasks.map((t) => whoami6(lab, taskNamespace(t.id), t.name, 80)));
  });

  afterAll(async () => {
    for (const { reconciler } of hosts.values()) await reconciler.removeAll();
    await lab.stop();
  });

  it('shows the task the client’s own address, by every node, also by one without tasks of the network', async () => {
    for (const n of NODES) expect([n.name, await ask(out, n.address6, 8080)]).toEqual([n.name, both(OUTSIDE6)]);
  });

  it('does so for UDP', async () => {
    for (const n of NODES) expect([n.name, await ask(out, n.address6, 8081, 2, 'udp')]).toEqual([n.name, both(OUTSIDE6)]);
  });

  it('leaves IPv4 as it is', async () => {
    expect((await ask(out, n1.address, 8080)).sort()).toEqual(both('192.168.79.100'));
  });

  it('serves a node: at its own port, at another’s, and at another’s whose task it runs itself', async () => {
    expect(await ask(host(n2).ns, n2.address6, 8080)).toEqual(both(onFront(n2)));
    expect(await ask(host(n1).ns, n1.address6, 8080)).toEqual(both(n1.address6));
    expect(await ask(host(n2).ns, n1.address6, 8080)).toEqual([`web2 ${n1.address6}`, `web3 ${n2.address6}`]);
    expect(await ask(host(n1).ns, n3.address6, 8080)).toEqual(both(n1.address6));
  });

  it('serves tasks: a sibling, the task itself, one of another network, at their own node and at others', async () => {
    expect(await ask(ns('other2'), n2.address6, 8080)).toEqual(both(onFront(n2)));
    expect(await ask(ns('web2'), n2.address6, 8080)).toEqual(both(onFront(n2)));
    expect(await ask(ns('web2'), n1.address6, 8080)).toEqual([`web2 ${n1.address6}`, `web3 ${n2.address6}`]);
    expect(await ask(ns('web2'), n3.address6, 8080)).toEqual([`web2 ${onFront(n3)}`, `web3 ${n2.address6}`]);
    expect(await ask(ns('apart1'), n1.address6, 8080)).toEqual(both(n1.address6));
    expect(await ask(ns('apart1'), n2.address6, 8080)).toEqual(both(n1.address6));
  });

  it('keeps apart one client port that comes in by two nodes at the same time', async () => {
    const bound = `
      const { connect } = require('node:net');
      for (const host of process.argv.slice(1)) connect({ host, port: 8083, localPort: 45999, localAddress: '::' }).on('data', (d) => process.stdout.write(d)).on('error', (e) => process.stdout.write(e.code + '\\n'));`;
    const { stdout } = await lab.attempt(out, [process.execPath, '-e', bound, ...NODES.map((n) => n.address6)]);
    expect(stdout.trim().split('\n')).toEqual(Array(3).fill(`web3 ${OUTSIDE6}`));
  });

  it('enters a task of several networks by the first that is not internal, and hears its answers', async () => {
    for (const n of NODES) expect(await ask(out, n.address6, 8084, 1)).toEqual([`two3 ${OUTSIDE6}`]);
  });

  it('opens ports of mode host only where a task runs, and a port on one address of the nodes', async () => {
    expect(await ask(out, n2.address6, 8085, 1)).toEqual([`web2 ${OUTSIDE6}`]);
    expect(await ask(out, n1.address6, 8085, 1)).toEqual(['ECONNREFUSED']);
    expect(await ask(out, n1.address6, 8086, 1)).toEqual([`web3 ${OUTSIDE6}`]);
    expect(await ask(out, n2.address6, 8086, 1)).toEqual(['ECONNREFUSED']);
    expect(await ask(out, n1.address, 8086, 1)).toEqual(['ECONNREFUSED']);
  });

  it('leaves to who listens on the node (the port proxy) what leads to no IPv6, and clients that have only a link', async () => {
    expect(await ask(out, n1.address6, 8089, 1)).toEqual(['ECONNREFUSED']);
    await whoami6(lab, host(n1).ns, 'proxy', 8089);
    expect(await ask(out, n1.address6, 8089, 1)).toEqual([`proxy ${OUTSIDE6}`]);
    await whoami6(lab, host(n1).ns, 'proxy', 8080);
    expect(await ask(out, n1.address6, 8080)).toEqual(both(OUTSIDE6));
    const links = JSON.parse(await lab.exec(host(n1).ns, ['ip', '-j', '-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'link'])) as {
      addr_info: { local?: string }[];
    }[];
    const link = links[0]?.addr_info.find((a) => a.local !== undefined)?.local ?? '';
    expect(await ask(out, `${link}%eth0`, 8080, 1)).toEqual([expect.stringMatching(/^proxy fe80:/)]);
  });

  it('refuses a port whose tasks are gone, at once', async () => {
    const task = cluster.tasks.find((t) => t.name === 'web3');
    if (task) task.stopped = true;
    await apply();
    expect(await ask(out, n1.address6, 8083, 1)).toEqual(['ECONNREFUSED']);
    expect(await ask(out, n1.address6, 8080)).toEqual([`web2 ${OUTSIDE6}`]);
    if (task) task.stopped = false;
    await apply();
  });

  it('lets nobody in by a route to a task, at a port that is not published', async () => {
    await lab.batch(out, [`route replace ${inside('web2')}/128 via ${n1.address6}`]);
    expect([await ask6(lab, out, 'tcp', inside('web2')), await lab.pings(out, inside('web2'))]).toEqual(['', false]);
    await lab.batch(out, [`route del ${inside('web2')}/128`]);
  });

  it('is repaired when a rule, a route, a table or a whole bridge of it is taken away', async () => {
    await lab.exec(host(n3).ns, ['ip', '-6', 'rule', 'del', 'priority', '901']);
    await lab.exec(host(n3).ns, ['ip', '-6', 'route', 'flush', 'table', '5197']);
    await lab.batch(host(n2).ns, ['link del wfb5197']);
    await lab.exec(host(n1).ns, ['ip', '-6', 'route', 'flush', 'proto', '119']);
    for (const n of NODES) {
      const { repaired, failed } = await host(n).reconciler.repair();
      expect(failed).toEqual([]);
      expect(repaired.length).toBeGreaterThan(0);
    }
    for (const n of NODES) expect(await ask(out, n.address6, 8080)).toEqual(both(OUTSIDE6));
    for (const n of NODES) expect(await host(n).reconciler.repair()).toEqual({ repaired: [], failed: [] });
  });
});
