import { cpSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { keys, ROOT } from '#model/keys.js';
import { callUnary } from '#rpc/client.js';
import { stackToWire } from '#rpc/wire.js';
import { openEtcdStore } from '#store/etcd-store.js';
import type { Store } from '#store/store.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, sleep, TestController, up, watchUntil } from './harness.js';

async function openStore(controller: TestController): Promise<Store> {
  const file = (name: string) => readFileSync(`${controller.dir}/pki/etcd/${name}`);
  return openEtcdStore({
    endpoints: [controller.etcdUrl],
    credentials: { rootCertificate: file('ca.pem'), certChain: file('cert.pem'), privateKey: file('key.pem') },
  });
}

describe('a controller that fails', () => {
  let controller: TestController;
  let agents: FakeAgent[];

  beforeEach(async () => {
    controller = await TestController.start();
    agents = [];
    for (const name of ['n1', 'n2']) agents.push(await FakeAgent.join(controller, name));
    const api = await controller.api();
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
    await up(api, makeStack('shop', { web: 4 }));
    await watchUntil(api, 'shop', isUp);
  }, 60_000);

  afterEach(async () => {
    for (const agent of agents) agent.detach();
    await controller?.dispose();
  });

  const taskIds = () => agents.map((a) => a.kinds.tasks.map((t) => t.id).sort());

  it('kill -9 and start again: etcd was kept, no task moves, no node is declared dead, and it works on', async () => {
    const before = taskIds();
    const etcd = controller.etcdPid();
    await controller.end('SIGKILL');
    await controller.run();
    expect(controller.etcdPid()).toBe(etcd);
    const api = await controller.api();
    await up(api, makeStack('shop', { web: 6 }));
    const state = await watchUntil(api, 'shop', isUp);
    expect(state.tasks).toHaveLength(6);
    for (const [i, ids] of before.entries()) expect(taskIds()[i]).toEqual(expect.arrayContaining(ids));
    expect(agents.map((a) => a.quarantine)).toEqual([undefined, undefined]);
    expect(controller.log()).not.toContain('n1 is down');
  }, 60_000);

  it('etcd killed: writes are refused while it is away, then all goes on; nobody is declared dead', async () => {
    const before = taskIds();
    const api = await controller.api();
    await controller.killEtcd();
    await eventually(async () => !(await controller.readiness()).ok, 'not ready without etcd');
    await eventually(async () => (await controller.readiness()).ok, 'ready again', 30_000);
    await up(api, makeStack('shop', { web: 5 }));
    const state = await watchUntil(api, 'shop', isUp);
    expect(state.tasks).toHaveLength(5);
    for (const [i, ids] of before.entries()) expect(taskIds()[i]).toEqual(expect.arrayContaining(ids));
    expect(controller.log()).not.toContain('is down');
  }, 60_000);

  it('etcd emptied under it: the cluster gets a new id, nodes are registered again and refuse, until they are accepted', async () => {
    const before = taskIds();
    const clusterId = agents[0]?.view.clusterId;
    const store = await openStore(controller);
    await store.txn([], [{ deletePrefix: ROOT }]);
    await store.close();
    for (const agent of agents) await eventually(() => agent.quarantine?.includes('belongs to'), `${agent.name} refuses`);
    expect(taskIds()).toEqual(before);
    const api = await controller.api();
    const { id } = await eventually(async () => {
      const cluster = await callUnary(api, 'getCluster', {});
      return cluster.id !== '' && cluster;
    }, 'the cluster is made again');
    expect(id).not.toBe(clusterId);
    await eventually(async () => {
      const { nodes } = await callUnary(api, 'listNodes', {});
      return nodes.length === 2 && nodes.every((n) => n.state === 'quarantined' && ['n1', 'n2'].includes(n.node?.name ?? ''));
    }, 'both nodes are shown as quarantined');
    // Nothing is placed on nodes that refuse.
    await expect(up(api, makeStack('shop', { web: 2 }))).rejects.toMatchObject({ code: 'NO_NODES', why: '2 nodes: 2 quarantined' });
    await callUnary(api, 'acceptNode', { node: 'n1' });
    await eventually(() => agents[0]?.view.clusterId === id && agents[0].quarantine === undefined, 'n1 has accepted');
    expect(agents[0]?.kinds.tasks).toEqual([]);
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.some((n) => n.state === 'ready'), 'n1 is ready');
    await up(api, makeStack('shop', { web: 2 }));
    await watchUntil(api, 'shop', isUp);
    expect(taskIds()[1]).toEqual(before[1]);
  }, 60_000);

  it('etcd made anew while the controller is down: the same', async () => {
    const clusterId = agents[0]?.view.clusterId;
    const before = taskIds();
    await controller.end('SIGTERM');
    await controller.killEtcd();
    rmSync(`${controller.dir}/etcd`, { recursive: true });
    rmSync(`${controller.dir}/etcd.pid`);
    await controller.run();
    for (const agent of agents) await eventually(() => agent.quarantine?.includes('belongs to'), `${agent.name} refuses`);
    expect(taskIds()).toEqual(before);
    expect(agents.map((a) => a.view.clusterId)).toEqual([clusterId, clusterId]);
  }, 60_000);

  it('etcd restored from an older copy: nodes refuse what is older than what they have', async () => {
    const copy = `${controller.dir}/etcd-copy`;
    const stop = async () => {
      await controller.end('SIGTERM');
      await controller.killEtcd();
    };
    await stop();
    cpSync(`${controller.dir}/etcd`, copy, { recursive: true });
    await controller.run();
    await up(await controller.api(), makeStack('shop', { web: 6 }));
    await watchUntil(await controller.api(), 'shop', isUp);
    const clusterId = agents[0]?.view.clusterId;
    const before = taskIds();
    await stop();
    rmSync(`${controller.dir}/etcd`, { recursive: true });
    renameSync(copy, `${controller.dir}/etcd`);
    await controller.run();
    for (const agent of agents)
      await eventually(() => /is older|without a recorded reason/.test(agent.quarantine ?? ''), `${agent.name} refuses`, 20_000);
    expect(taskIds()).toEqual(before);
    expect((await callUnary(await controller.api(), 'getCluster', {})).id).toBe(clusterId);
  }, 90_000);

  it('etcd frozen for longer than every lease: nothing is decided meanwhile, nobody is declared dead after', async () => {
    const before = taskIds();
    const api = await controller.api();
    const etcd = controller.etcdPid();
    process.kill(etcd, 'SIGSTOP');
    try {
      await eventually(async () => (await controller.readiness()).checks['feed']?.ok === false, 'the feed is known to be stale', 20_000);
      const refused = callUnary(api, 'applyStack', { stack: stackToWire(makeStack('shop', { web: 1 })), baseGeneration: 1, kept: [] });
      await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/UNAVAILABLE|OUTCOME_UNKNOWN|STORE/) });
      // Reading goes on.
      expect((await callUnary(api, 'listTasks', { stack: 'shop' })).tasks).toHaveLength(4);
      await sleep(7_000);
    } finally {
      process.kill(etcd, 'SIGCONT');
    }
    await eventually(async () => (await controller.readiness()).ok, 'ready again', 30_000);
    await eventually(async () => (await callUnary(api, 'getCluster', {})).leader === 'c1', 'it leads again');
    // Longer than the time in which nobody is declared dead.
    await sleep(9_000);
    expect(controller.log()).not.toContain('is down');
    expect(taskIds().flat().sort()).toEqual(before.flat().sort());
    expect(agents.map((a) => a.quarantine)).toEqual([undefined, undefined]);
  }, 90_000);

  it('a node that falls silent for 2 s loses nothing; one that stays silent is replaced, and ends what was replaced when it speaks', async () => {
    const api = await controller.api();
    const ids = async () => (await callUnary(api, 'listTasks', { stack: 'shop' })).tasks.map((t) => t.task?.id).sort();
    const before = await ids();
    const mine = agents[1]?.kinds.tasks.map((t) => t.id) ?? [];
    agents[1]?.detach();
    await sleep(2_000);
    agents[1]?.attach(controller);
    await sleep(4_000);
    expect(await ids()).toEqual(before);
    agents[1]?.detach();
    const began = Date.now();
    const moved = await watchUntil(api, 'shop', (s) => isUp(s) && s.tasks.some((t) => t.task?.orphan === true));
    // 6 s are promised; these machines are shared.
    expect(Date.now() - began).toBeLessThan(9_000);
    const orphans = moved.tasks.filter((t) => t.task?.orphan === true);
    expect(orphans.map((t) => t.task?.id).sort()).toEqual([...mine].sort());
    const addresses = moved.tasks.flatMap((t) => t.task?.endpoints.map((e) => e.ipv4) ?? []);
    expect(new Set(addresses).size).toBe(addresses.length);
    agents[1]?.attach(controller);
    await watchUntil(api, 'shop', (s) => isUp(s) && s.tasks.every((t) => t.task?.orphan !== true));
    expect(agents[1]?.quarantine).toBeUndefined();
    // The node hears of it by its own stream.
    await eventually(() => agents[1]?.kinds.tasks.length === 0, 'nothing is left for the node to do', 2_000);
  }, 90_000);

  it('a value that cannot be read harms nothing but itself', async () => {
    const store = await openStore(controller);
    const task = agents[0]?.kinds.tasks[0];
    await store.txn(
      [],
      [
        { put: keys.task(task?.id ?? ''), value: '{"half":' },
        { put: keys.stack('broken'), value: '[]' },
      ],
    );
    await store.close();
    const api = await controller.api();
    await eventually(async () => (await controller.readiness()).checks['values']?.detail.includes('unreadable'), 'it is told');
    await up(api, makeStack('more', { a: 2 }));
    await watchUntil(api, 'more', isUp);
    const rows = await callUnary(api, 'listTasks', { stack: 'shop' });
    // Its slot and address stay taken: nobody else gets them.
    expect(rows.tasks).toHaveLength(3);
    await expect(up(api, makeStack('broken', { a: 1 }))).rejects.toMatchObject({ code: 'CORRUPT' });
    // The node was not given a reason for the missing task, and keeps it.
    expect(agents[0]?.quarantine).toContain('without a recorded reason');
  }, 60_000);
});

describe('two controllers on one etcd', () => {
  let first: TestController;
  let second: TestController;

  beforeAll(async () => {
    first = await TestController.start({ name: 'c1' });
    second = await TestController.start({ name: 'c2', besides: first });
  }, 60_000);

  afterAll(async () => {
    await second?.dispose();
    await first?.dispose();
  });

  it('either serves API and agents, one leads; what a former leader still wants to write is refused', async () => {
    const agent = await FakeAgent.join(second, 'n1');
    const [api1, api2] = [await first.api(), await second.api()];
    const store = await openStore(first);
    try {
      const { leader } = await callUnary(api1, 'getCluster', {});
      expect((await callUnary(api2, 'getCluster', {})).leader).toBe(leader);
      await eventually(async () => (await callUnary(api1, 'listNodes', {})).nodes[0]?.state === 'ready', 'the node is ready');
      await up(api2, makeStack('shop', { web: 2 }));
      await watchUntil(api1, 'shop', isUp);
      // A leader that hangs for longer than its lease: the other takes over, and the first finds itself fenced off.
      const [hung, other] = leader === 'c1' ? [first, second] : [second, first];
      const fence = (await store.get(keys.leader()))?.createRevision ?? 0;
      process.kill(hung.pid, 'SIGSTOP');
      try {
        const api = await other.api();
        await eventually(
          async () => (await callUnary(api, 'getCluster', {})).leader === (leader === 'c1' ? 'c2' : 'c1'),
          'the other leads',
          20_000,
        );
        const refused = await store.txn([{ key: keys.leader(), createRevision: fence }], [{ put: keys.task('ffffffff'), value: '{}' }]);
        expect(refused.ok).toBe(false);
      } finally {
        process.kill(hung.pid, 'SIGCONT');
      }
      if (hung === second) agent.detach();
      const api = await other.api();
      if (hung === second) agent.attach(first);
      await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes[0]?.state === 'ready', 'the node is ready');
      await up(api, makeStack('shop', { web: 4 }));
      const state = await watchUntil(api, 'shop', isUp);
      expect(state.tasks).toHaveLength(4);
      await eventually(() => hung.log().includes('no longer leads'), 'the hung one knows that it lost');
      await sleep(500);
      const addresses = (await callUnary(api, 'listTasks', { stack: 'shop' })).tasks.flatMap(
        (t) => t.task?.endpoints.map((e) => e.ipv4) ?? [],
      );
      expect(new Set(addresses).size).toBe(4);
    } finally {
      agent.detach();
      await store.close();
    }
  }, 90_000);

  it('a leader that is told to stop resigns: the other leads at once', async () => {
    const leads = async () =>
      (await callUnary(await first.api(), 'getCluster', {}).catch(async () => callUnary(await second.api(), 'getCluster', {}))).leader;
    const [leading, other] = (await leads()) === 'c1' ? [first, second] : [second, first];
    const startedAt = Date.now();
    await leading.end('SIGTERM');
    const api = await other.api();
    await eventually(
      async () => (await callUnary(api, 'getCluster', {})).leader === (other === first ? 'c1' : 'c2'),
      'the other leads',
      4_000,
    );
    expect(Date.now() - startedAt).toBeLessThan(4_000);
  }, 30_000);
});
