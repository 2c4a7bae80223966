import { marksOfImages } from '#model/held-images.js';
import { callUnary, readStream } from '#rpc/client.js';
import type { ApiClient } from '#rpc/gen/weft/v1/api.js';
import { stackToWire } from '#rpc/wire.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, sleep, TestController, up, watchUntil } from './harness.js';

describe('a stack on a controller with real etcd', () => {
  let controller: TestController;
  let api: ApiClient;
  const agents: FakeAgent[] = [];

  beforeAll(async () => {
    controller = await TestController.start();
    api = await controller.api();
    for (const name of ['n1', 'n2', 'n3']) agents.push(await FakeAgent.join(controller, name));
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
  }, 60_000);

  afterAll(async () => {
    for (const agent of agents) agent.detach();
    await controller?.dispose();
  });

  it('places tasks evenly, tells each node its own view, and reports them running', async () => {
    await up(api, makeStack('shop', { web: { replicas: 6, ports: [{ target: 80, published: 8080 }] }, db: 1 }));
    const state = await watchUntil(api, 'shop', isUp);
    expect(state.tasks).toHaveLength(7);
    for (const agent of agents) expect(agent.kinds.tasks.filter((t) => t.service === 'web')).toHaveLength(2);
    const addresses = state.tasks.flatMap((t) => t.task?.endpoints.map((e) => e.ipv4) ?? []);
    expect(new Set(addresses).size).toBe(7);
    const [agent] = agents as [FakeAgent];
    const view = await eventually(() => {
      const kinds = agent.kinds;
      return kinds.vips.find((v) => v.service === 'web')?.backends.length === 6 && kinds;
    }, 'the VIP has six backends');
    expect(view.members.filter((m) => m.kind === 'node')).toHaveLength(3);
    expect(view.names.find((n) => n.name === 'web')?.addresses).toEqual([view.vips.find((v) => v.service === 'web')?.ipv4]);
    expect(view.names.find((n) => n.name === 'tasks.web')?.addresses).toHaveLength(6);
    // Three nodes and seven tasks have an endpoint each.
    expect(view.endpoints).toHaveLength(10);
    expect(view.tasks.every((t) => t.nodeId === agent.identity.id)).toBe(true);
    expect(agent.received[0]?.message?.$case).toBe('snapshot');
    expect(agent.received.slice(1).every((m) => m.message?.$case === 'delta')).toBe(true);
  });

  it('changes nothing when the same stack is brought up again', async () => {
    const stack = makeStack('shop', { web: { replicas: 6, ports: [{ target: 80, published: 8080 }] }, db: 1 });
    const before = await callUnary(api, 'listTasks', { stack: 'shop' });
    const plan = await callUnary(api, 'planStack', { stack: stackToWire(stack) });
    expect(plan.steps.map((s) => s.action)).toEqual(['keep', 'keep', 'keep']);
    expect(await up(api, stack)).toBe(1);
    const after = await callUnary(api, 'listTasks', { stack: 'shop' });
    expect(after.tasks.map((t) => t.task?.id)).toEqual(before.tasks.map((t) => t.task?.id));
  });

  it('replaces tasks one by one when the service changes, in their slots and with their addresses', async () => {
    const before = await callUnary(api, 'listTasks', { stack: 'shop' });
    const stack = makeStack('shop', {
      web: { replicas: 3, container: { image: 'busybox:2' }, ports: [{ target: 80, published: 8080 }] },
      db: 1,
    });
    const plan = await callUnary(api, 'planStack', { stack: stackToWire(stack) });
    expect(plan.steps.find((s) => s.name === 'web')).toMatchObject({
      action: 'recreate',
      details: ['image: busybox → busybox:2', 'replicas: 6 → 3'],
    });
    await up(api, stack);
    const state = await watchUntil(
      api,
      'shop',
      (s) => isUp(s) && s.tasks.every((t) => t.task?.service === 'db' || t.task?.image === 'busybox:2'),
    );
    expect(state.tasks).toHaveLength(4);
    for (const row of state.tasks) {
      const old = before.tasks.find((t) => t.task?.name === row.task?.name);
      expect(row.task?.endpoints.map((e) => e.ipv4)).toEqual(old?.task?.endpoints.map((e) => e.ipv4));
      expect(row.task?.id === old?.task?.id).toBe(row.task?.service === 'db');
    }
    // Nobody was told of a task that is gone without the reason for it.
    expect(agents.map((a) => a.quarantine)).toEqual([undefined, undefined, undefined]);
  });

  it('refuses what cannot be, and names who is in the way', async () => {
    const apply = (stack: ReturnType<typeof makeStack>) => up(api, stack);
    await expect(apply(makeStack('other', { web: { ports: [{ target: 80, published: 8080 }] } }))).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      why: expect.stringContaining('stack shop'),
    });
    await expect(apply(makeStack('other', { web: { ports: [{ target: 80, published: 22 }] } }))).rejects.toMatchObject({
      code: 'PORT_TAKEN',
    });
    await expect(
      apply(makeStack('other', { web: 1 }, { networks: { default: { key: 'default', name: 'shop_default' } } })),
    ).rejects.toMatchObject({ code: 'CONFLICT', why: expect.stringContaining('stack shop') });
    await (agents[1] as FakeAgent).tellFacts({
      routes: ['default', '0.0.0.0/0', '192.168.7.0/24'],
      listening: [{ protocol: 'tcp', address: '0.0.0.0', port: 5432, process: 'postgres' }],
    });
    await eventually(
      async () => (await callUnary(api, 'listNodes', {})).nodes.some((n) => n.facts?.routes.length === 3),
      'the facts are known',
    );
    const withSubnet = (subnet: string) => ({ networks: { default: { key: 'default', name: 'other_default', subnet } } });
    await expect(apply(makeStack('other', { web: 1 }, withSubnet('192.168.0.0/16')))).rejects.toMatchObject({
      code: 'SUBNET_CLASH',
      why: expect.stringContaining('192.168.7.0/24 of node n2'),
    });
    await expect(apply(makeStack('other', { web: 3 }, withSubnet('10.250.0.0/29')))).rejects.toMatchObject({
      code: 'ADDRESSES_EXHAUSTED',
      what: expect.stringContaining('other_default'),
    });
    await expect(apply(makeStack('other', { db: { ports: [{ target: 5432, published: 5432 }] } }))).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      why: expect.stringMatching(/postgres .*n2/),
    });
    const held = (await callUnary(api, 'listTasks', { stack: 'shop' })).tasks.find((t) => t.task?.service === 'web');
    const address = held?.task?.endpoints[0]?.ipv4 ?? '';
    const guest = makeStack(
      'other',
      { db: { networks: { shop: { ipv4: address } } } },
      { networks: { shop: { key: 'shop', name: 'shop_default', external: true } } },
    );
    const isHeld = {
      code: 'BAD_VALUE',
      what: `service db cannot have ${address}`,
      why: `task ${held?.task?.name ?? ''} (service shop/web, node ${held?.nodeName ?? ''}) holds it on network shop_default`,
      path: ['services', 'db', 'networks', 'shop', 'ipv4_address'],
    };
    await expect(callUnary(api, 'planStack', { stack: stackToWire(guest) })).rejects.toMatchObject(isHeld);
    await expect(apply(guest)).rejects.toMatchObject(isHeld);
    await expect(callUnary(api, 'removeStack', { name: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      callUnary(api, 'applyStack', { stack: stackToWire(makeStack('shop', { web: 1 })), baseGeneration: 1, kept: [] }),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await callUnary(api, 'listStacks', {})).stacks.map((s) => s.name)).toEqual(['shop']);
  });

  it('says what a service waits for', async () => {
    (agents[0] as FakeAgent).stateOf = (t) => (t.stack === 'slow' ? 'preparing' : 'running');
    await up(api, makeStack('slow', { a: 3 }));
    const state = await watchUntil(api, 'slow', (s) => s.services[0]?.running === 2);
    expect(state.services[0]).toMatchObject({ wanted: 3, waiting: 'being prepared' });
    (agents[0] as FakeAgent).stateOf = () => 'running';
    await (agents[0] as FakeAgent).tell();
    await watchUntil(api, 'slow', isUp);
  });

  it('takes a stack down: tasks with a reason, then networks, addresses and record', async () => {
    for (const name of ['shop', 'slow']) await callUnary(api, 'removeStack', { name });
    await watchUntil(api, 'shop', (s) => !s.exists);
    await watchUntil(api, 'slow', (s) => !s.exists);
    expect((await callUnary(api, 'listNetworks', { stack: '' })).networks).toEqual([]);
    for (const agent of agents) {
      await eventually(() => agent.kinds.tasks.length === 0, `${agent.name} has no tasks`);
      expect(agent.quarantine).toBeUndefined();
      expect(agent.kinds.endpoints).toEqual([]);
    }
  });

  it('prefers, of nodes that are alike, one that says it has the image', async () => {
    const imageDigest = `sha256:${'ab'.repeat(32)}`;
    await (agents[2] as FakeAgent).tellFacts({ images: marksOfImages([imageDigest]) });
    const told = async () => (await callUnary(api, 'listNodes', {})).nodes.map((n) => [n.node?.name, n.facts?.images]);
    await eventually(async () => (await told()).some(([name, images]) => name === 'n3' && images?.length === 1), 'the image is known');
    await up(api, makeStack('pinned', { web: { replicas: 2, container: { image: 'busybox', imageDigest } } }));
    const state = await watchUntil(api, 'pinned', isUp);
    expect(state.tasks.map((row) => row.nodeName)).toEqual(['n3', 'n1']);
    await callUnary(api, 'removeStack', { name: 'pinned' });
    await watchUntil(api, 'pinned', (s) => !s.exists);
  });

  it('a drained node: who has no other place is told at once, and the node is empty', async () => {
    const node = (name: string, availability: string) =>
      callUnary(api, 'updateNode', { node: name, availability, setLabels: {}, removeLabels: [] });
    await up(api, makeStack('stuck', { web: { placement: { constraints: ['node.hostname == n2'] } }, free: 3 }));
    const [pinned] = (await watchUntil(api, 'stuck', isUp)).tasks.filter((t) => t.task?.service === 'web');
    expect(await node('n2', 'drain')).toEqual({
      homeless: [{ task: pinned?.task?.name, why: 'no node can take it (3 nodes: 1 drained, 2 not node.hostname == n2)' }],
    });
    const state = await watchUntil(
      api,
      'stuck',
      (s) => !s.tasks.some((t) => t.nodeName === 'n2') && s.services.some((x) => x.running === 3),
    );
    expect(state.services.find((s) => s.name === 'web')).toMatchObject({
      running: 0,
      waiting: 'no node can take it (3 nodes: 1 drained, 2 not node.hostname == n2)',
    });
    expect((await callUnary(api, 'listNodes', {})).nodes.map((n) => [n.node?.name, n.left])).toEqual(
      ['n1', 'n2', 'n3'].map((n) => [n, []]),
    );
    const told = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { events } of readStream(api.watchEvents({ stack: 'stuck', services: ['web'], since: 0, until: Date.now() })))
        found.push(...events.filter((e) => e.kind === 'service').map((e) => `${e.action} ${e.message}`));
      return found;
    };
    const waiting = 'waiting no node can take it (3 nodes: 1 drained, 2 not node.hostname == n2)';
    await eventually(async () => (await told()).length > 0, 'it is told that it waits');
    await sleep(1_500);
    expect(await told()).toEqual([waiting]);
    expect(await node('n2', 'active')).toEqual({ homeless: [] });
    await watchUntil(api, 'stuck', isUp);
    await eventually(async () => (await told()).length > 1, 'it is told that it waits no more');
    expect(await told()).toEqual([waiting, 'waited ']);
    await callUnary(api, 'removeStack', { name: 'stuck' });
    await watchUntil(api, 'stuck', (s) => !s.exists);
  });

  it('moves tasks when it is told to, and no others, and does not before', async () => {
    const node = (name: string, availability: string) =>
      callUnary(api, 'updateNode', { node: name, availability, setLabels: {}, removeLabels: [] });
    for (const name of ['n2', 'n3']) await node(name, 'pause');
    await up(api, makeStack('even', { web: 4, fixed: { mode: 'global' } }));
    await watchUntil(api, 'even', (s) => s.tasks.filter((t) => t.task?.service === 'web' && t.status?.state === 'running').length === 4);
    for (const name of ['n2', 'n3']) await node(name, 'active');
    const before = await watchUntil(api, 'even', (s) => isUp(s) && s.tasks.length === 7);
    expect(before.tasks.filter((t) => t.task?.service === 'web').map((t) => t.nodeName)).toEqual(['n1', 'n1', 'n1', 'n1']);
    const ask = { stack: 'even', services: [], dryRun: false };
    const plan = await callUnary(api, 'rebalance', { ...ask, dryRun: true });
    expect(plan.moves.map(({ taskName, from, to }) => `${taskName} ${from} ${to}`)).toEqual(['even-web-4 n1 n2', 'even-web-3 n1 n3']);
    expect(await callUnary(api, 'rebalance', ask)).toEqual(plan);
    const moving = new Set(plan.moves.map((m) => m.taskId));
    const after = await watchUntil(api, 'even', (s) => isUp(s) && !s.tasks.some((t) => moving.has(t.task?.id ?? '')));
    expect(after.tasks.filter((t) => t.task?.service === 'web').map((t) => t.nodeName)).toEqual(['n1', 'n1', 'n3', 'n2']);
    const ids = (rows: typeof after.tasks) => rows.map((t) => t.task?.id ?? '').filter((id) => !moving.has(id));
    expect(ids(after.tasks)).toEqual(expect.arrayContaining(ids(before.tasks)));
    expect(await callUnary(api, 'rebalance', ask)).toEqual({ moves: [], unmoved: [] });
    await expect(callUnary(api, 'rebalance', { ...ask, stack: 'nosuch' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(callUnary(api, 'rebalance', { ...ask, stack: '', services: ['web'] })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    expect(agents.map((a) => a.quarantine)).toEqual([undefined, undefined, undefined]);
  });

  it('goes by what nodes are: role, id, platform, address; spreads over a label; says where room is lacking', async () => {
    // On the machine of the controller.
    const boss = await FakeAgent.join(controller, 'boss', controller.address);
    agents.push(boss);
    const [n1, n2, n3] = agents as [FakeAgent, FakeAgent, FakeAgent];
    const platforms = new Map([
      [n1, 'linux/amd64'],
      [n2, 'linux/arm64'],
      [n3, 'freebsd/amd64'],
      [boss, 'linux/amd64'],
    ]);
    for (const [agent, platform] of platforms) await agent.tellFacts({ platform, memoryBytes: 2 ** 30 });
    const racks = { n1: 'east', n2: 'east', n3: 'west', boss: 'east' };
    for (const [node, rack] of Object.entries(racks)) await callUnary(api, 'updateNode', { node, setLabels: { rack }, removeLabels: [] });
    await eventually(async () => {
      const { nodes } = await callUnary(api, 'listNodes', {});
      return nodes.length === 4 && nodes.every((n) => n.state === 'ready' && n.facts?.memoryBytes === 2 ** 30);
    }, 'the facts are known');

    const all = ['boss', 'n1', 'n2', 'n3'];
    const places: [string, string[], string[]][] = [
      ['manager', ['node.role == manager'], ['boss']],
      ['worker', ['node.role != manager'], ['n1', 'n2', 'n3']],
      ['id', [`node.id == ${n2.identity.id}`], ['n2']],
      ['not-id', [`node.id != ${n2.identity.id}`], ['boss', 'n1', 'n3']],
      ['arch', ['node.platform.arch == aarch64'], ['n2']],
      ['os', ['node.platform.os != linux'], ['n3']],
      ['ip', [`node.ip == ${n3.address}`], ['n3']],
      ['in-subnet', ['node.ip == 127.0.0.0/8'], all],
      ['not-in-subnet', [`node.ip != ${n1.address}/32`, 'node.platform.os == linux'], ['boss', 'n2']],
    ];
    const services = places.map(([name, constraints]) => [name, { mode: 'global', placement: { constraints } }] as const);
    const roomy = {
      reservations: { memoryBytes: 700 * 2 ** 20 },
      placement: { constraints: ['node.labels.rack == east', 'node.role == worker'] },
    };
    await up(
      api,
      makeStack('where', {
        ...Object.fromEntries(services),
        spread: { replicas: 4, placement: { spread: ['node.labels.rack'], constraints: ['node.role == worker'] } },
        roomy: { replicas: 3, ...roomy },
      }),
    );
    const state = await watchUntil(api, 'where', (s) => s.services.every((x) => x.running === (x.name === 'roomy' ? 2 : x.wanted)));
    const nodesOf = (service: string) =>
      state.tasks
        .filter((row) => row.task?.service === service)
        .map((row) => row.nodeName)
        .sort();
    expect(Object.fromEntries(places.map(([name]) => [name, nodesOf(name)]))).toEqual(
      Object.fromEntries(places.map(([name, , nodes]) => [name, nodes])),
    );
    // Half of them in each rack, though one has two workers and the other one.
    expect(nodesOf('spread')).toEqual(['n1', 'n2', 'n3', 'n3']);
    expect(nodesOf('roomy')).toEqual(['n1', 'n2']);
    expect(state.services.find((s) => s.name === 'roomy')?.waiting).toBe(
      'no node can take it (4 nodes: 2 lack memory, 1 not node.labels.rack == east, 1 not node.role == worker)',
    );
  });
});
