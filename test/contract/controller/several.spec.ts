/** Three controllers, each with its own member of etcd: grown from one while it works, then losing any of them. */
import { readFileSync } from 'node:fs';
import { freezeProcess } from '../../fixtures/freeze-process.js';
import { keys } from '#model/keys.js';
import { callUnary } from '#rpc/client.js';
import type { ApiClient, ControllerRow } from '#rpc/gen/weft/v1/api.js';
import { openEtcdStore, type EtcdStore } from '#store/etcd-store.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, sleep, TestController, up, watchUntil } from './harness.js';

const LONG_MS = 120_000;
/** Five intervals of half a second without a word (apps/agent/loops/hub.ts). */
const SILENT_MS = 2_500;

describe('three controllers', () => {
  const all: TestController[] = [];
  const agents: FakeAgent[] = [];
  let store: EtcdStore;

  const rows = async (controller: TestController): Promise<ControllerRow[]> =>
    (await callUnary(await controller.api(), 'listControllers', {}, { timeoutMs: 5_000 })).controllers;
  const leaderOf = async (controller: TestController): Promise<string> =>
    (await callUnary(await controller.api(), 'getCluster', {})).leader;
  const named = (name: string): TestController => all.find((c) => c.name === name) as TestController;
  const others = (controller: TestController): TestController[] => all.filter((c) => c !== controller);
  const taskIds = () => agents.map((a) => a.kinds.tasks.map((t) => t.id).sort());
  const anybodySaid = (text: string): boolean => all.some((c) => c.log().includes(text));
  /** Tried again, as `ctl` does: while etcd elects a leader, a write is refused or its outcome unknown. */
  const upEventually = (api: ApiClient, replicas: number) =>
    eventually(async () => (await up(api, makeStack('shop', { web: replicas }))) > 0, `shop is up with ${replicas}`, 20_000);

  beforeAll(async () => {
    all.push(await TestController.start({ name: 'c1' }));
    for (const name of ['n1', 'n2']) agents.push(await FakeAgent.join(all[0] as TestController, name));
    const api = await (all[0] as TestController).api();
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
    await up(api, makeStack('shop', { web: 4 }));
    await watchUntil(api, 'shop', isUp);
  }, LONG_MS);

  afterAll(async () => {
    for (const agent of agents) agent.detach();
    await store?.close();
    for (const controller of all) await controller.dispose();
  });

  it(
    'grow from one while it works: each joins with a token, learns, and gets a vote',
    async () => {
      const before = taskIds();
      const [first] = all as [TestController];
      for (const name of ['c2', 'c3']) {
        const joined = await TestController.start({ name, joins: first });
        all.push(joined);
        await eventually(async () => (await rows(first)).some((r) => r.name === name && r.etcd === 'member'), `${name} has a vote`, 30_000);
      }
      expect((await rows(named('c3'))).map((r) => [r.name, r.etcd === 'leader' ? 'member' : r.etcd])).toEqual([
        ['c1', 'member'],
        ['c2', 'member'],
        ['c3', 'member'],
      ]);
      // Each signs certificates and opens secrets with the same keys.
      const keysOf = (c: TestController) => ['ca-key.pem', 'secret-keys.json'].map((f) => readFileSync(`${c.dir}/pki/${f}`, 'utf8'));
      expect(keysOf(named('c3'))).toEqual(keysOf(first));
      expect(taskIds()).toEqual(before);
      expect((await callUnary(await named('c2').api(), 'getCluster', {})).controllers.sort()).toEqual(all.map((c) => c.target).sort());
      const file = (name: string) => readFileSync(`${first.dir}/pki/etcd/${name}`);
      store = await openEtcdStore({
        endpoints: all.map((c) => c.etcdUrl),
        credentials: { rootCertificate: file('ca.pem'), certChain: file('cert.pem'), privateKey: file('key.pem') },
      });
    },
    LONG_MS,
  );

  it(
    'refuse another of the same name, and a token that is for nodes',
    async () => {
      const [first] = all as [TestController];
      await expect(TestController.start({ name: 'c2', joins: first })).rejects.toThrow(/the name c2 belongs to controller c2/);
      const { token } = await callUnary(await first.api(), 'createToken', { role: 'node', ttlMs: 60_000 });
      await expect(TestController.start({ name: 'c9', joins: first, token })).rejects.toThrow(/not for controllers|cannot join/);
      // It left no node behind.
      const { nodes } = await callUnary(await first.api(), 'listNodes', {});
      expect(nodes.map((n) => n.node?.name)).toEqual(agents.map((a) => a.name));
    },
    LONG_MS,
  );

  it(
    'a leader frozen in the middle of its writes is replaced; awake, it finds its term over and writes nothing',
    async () => {
      const leader = named(await leaderOf(all[0] as TestController));
      const [other] = others(leader) as [TestController];
      const api = await other.api();
      const fence = (await store.get(keys.leader()))?.createRevision ?? 0;
      await up(api, makeStack('much', { a: 300 }));
      await eventually(async () => (await store.list('/weft/v1/tasks/')).entries.length > 30, 'it has begun', 20_000);
      await freezeProcess(leader.pid);
      try {
        await eventually(async () => (await leaderOf(other)) !== leader.name, 'another leads', 20_000);
        expect((await store.txn([{ key: keys.leader(), createRevision: fence }], [{ put: keys.task('ffffffff'), value: '{}' }])).ok).toBe(
          false,
        );
      } finally {
        leader.thaw();
      }
      await eventually(() => leader.log().includes('no longer leads'), 'it knows that it lost', 10_000);
      const state = await watchUntil(api, 'much', (s) => s.services.every((v) => v.running === 300), 60_000);
      const slots = state.tasks.map((t) => t.task?.slot);
      const addresses = state.tasks.flatMap((t) => t.task?.endpoints.map((e) => e.ipv4) ?? []);
      expect([new Set(slots).size, new Set(addresses).size, slots.length]).toEqual([300, 300, 300]);
      await callUnary(api, 'removeStack', { name: 'much' });
      await watchUntil(api, 'much', (s) => !s.exists, 30_000);
    },
    LONG_MS,
  );

  it.each([
    ['killed', 'SIGKILL'],
    ['frozen', 'SIGSTOP'],
  ] as const)(
    'the leader, which holds all agents, is %s with its etcd: the others go on, nobody is declared dead, no task moves',
    async (how, signal) => {
      const victim = named(await leaderOf(all[0] as TestController));
      const [other] = others(victim) as [TestController];
      for (const agent of agents) agent.moveTo(victim);
      await eventually(async () => (await rows(other)).find((r) => r.name === victim.name)?.nodes === agents.length, 'it has the agents');
      const before = taskIds();
      const etcd = victim.etcdPid();
      if (how === 'killed') await victim.end('SIGKILL');
      else await freezeProcess(victim.pid);
      process.kill(etcd, signal);
      try {
        // As late as an agent notices that its controller is silent.
        await sleep(SILENT_MS);
        for (const agent of agents) agent.moveTo(other);
        await upEventually(await other.api(), 5);
        await watchUntil(await other.api(), 'shop', isUp, 30_000);
        const lost = async () => (await rows(other)).find((r) => r.name === victim.name);
        await eventually(async () => (await lost())?.state === 'away', 'it is away', 20_000);
        expect((await lost())?.etcd).toBe('unreachable');
        await eventually(async () => (await leaderOf(other)) !== victim.name, 'another leads', 20_000);
        // Longer than the time in which nobody is declared dead.
        await sleep(10_000);
      } finally {
        if (how === 'frozen') process.kill(etcd, 'SIGCONT');
        if (how === 'frozen') victim.thaw();
        else await victim.run();
      }
      await eventually(
        async () => (await rows(other)).every((r) => r.state !== 'away' && r.etcd !== 'unreachable'),
        'all are there',
        30_000,
      );
      await upEventually(await other.api(), 4);
      await watchUntil(await other.api(), 'shop', (state) => isUp(state) && state.tasks.length === 4, 30_000);
      await eventually(() => JSON.stringify(taskIds()) === JSON.stringify(before), 'the agents have the very tasks of before');
      expect(anybodySaid('n1 is down') || anybodySaid('n2 is down')).toBe(false);
    },
    LONG_MS,
  );

  it(
    'what only the holder of an agent can do is passed on to it',
    async () => {
      const [holder, asked] = all as [TestController, TestController];
      for (const agent of agents) agent.moveTo(holder);
      await eventually(async () => (await rows(asked)).find((r) => r.name === holder.name)?.nodes === agents.length, 'it has the agents');
      // What was counted may be from before they came again.
      await eventually(async () => callUnary(await asked.api(), 'acceptNode', { node: 'n1' }), 'it is passed on');
      await eventually(() => agents[0]?.received.some((m) => m.message?.$case === 'accept'), 'n1 was told');
      const told = await eventually(async () => callUnary(await asked.api(), 'rotateNodeKeys', { nodes: [] }), 'they are passed on');
      expect(told.nodes).toEqual(['n1', 'n2']);
      await eventually(() => agents.every((a) => a.received.some((m) => m.message?.$case === 'rotateKeys')), 'both were told');
    },
    LONG_MS,
  );

  it(
    'one that is lost is removed, does not come back by itself, and is replaced',
    async () => {
      const [first, , third] = all as [TestController, TestController, TestController];
      for (const agent of agents) agent.moveTo(first);
      const api = await first.api();
      await expect(callUnary(api, 'removeController', { controller: 'c3', force: false })).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(callUnary(api, 'removeController', { controller: 'c8', force: false })).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await third.end('SIGKILL');
      await third.killEtcd();
      await eventually(async () => (await rows(first)).find((r) => r.name === 'c3')?.state === 'away', 'it is away', 20_000);
      await callUnary(api, 'removeController', { controller: 'c3', force: false });
      expect((await rows(first)).map((r) => r.name)).toEqual(['c1', 'c2']);
      expect(await store.members.list()).toHaveLength(2);
      await expect(third.run()).rejects.toThrow(/was removed from the cluster/);
      const fourth = await TestController.start({ name: 'c4', joins: first });
      all.push(fourth);
      await eventually(
        async () => (await rows(first)).find((r) => r.name === 'c4')?.etcd === 'member',
        'its replacement has a vote',
        30_000,
      );
      await upEventually(await fourth.api(), 5);
      await watchUntil(await fourth.api(), 'shop', isUp, 30_000);
    },
    LONG_MS,
  );
});
