import { callUnary, connect, connectToJoin, openBidi, type Bidi } from '#rpc/client.js';
import { AgentHubClient, type AgentMessage, type HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { ApiClient, JoinClient } from '#rpc/gen/weft/v1/api.js';
import { snapshotFromWire } from '#rpc/wire.js';
import { createCa, createCsr, issue } from '#trust/ca.js';
import { parseToken } from '#trust/token.js';
import { FakeAgent, joinNode } from './fake-agent.js';
import { eventually, makeStack, ownAddress, sleep, TestController, up, watchUntil, isUp } from './harness.js';

describe('who may do what', () => {
  let controller: TestController;
  let api: ApiClient;
  const agents: FakeAgent[] = [];

  beforeAll(async () => {
    controller = await TestController.start();
    api = await controller.api();
    for (const name of ['n1', 'n2']) agents.push(await FakeAgent.join(controller, name));
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
  }, 60_000);

  afterAll(async () => {
    for (const agent of agents) agent.detach();
    await controller?.dispose();
  });

  const makeToken = async (ttlMs = 60_000, role = 'node') => (await callUnary(api, 'createToken', { role, ttlMs })).token;

  it('a token lets one node in, once', async () => {
    const token = await makeToken();
    const identity = await joinNode(controller, token, 'n9', ownAddress());
    expect(identity).toMatchObject({ role: 'node' });
    await expect(joinNode(controller, token, 'n10', ownAddress())).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
    expect((await callUnary(api, 'listNodes', {})).nodes.map((n) => n.node?.name)).toEqual(['n1', 'n2', 'n9']);
    await callUnary(api, 'removeNode', { node: 'n9', force: true });
  });

  it('refuses tokens that are expired, unknown, changed, or of another cluster, and bad requests without spending the token', async () => {
    const expired = await makeToken(1_000);
    const good = await makeToken();
    const { caDigest, id, secret } = parseToken(good);
    const wrongSecret = `weft1.${caDigest}.${id}.${'0'.repeat(48)}`;
    const unknown = `weft1.${caDigest}.${'0'.repeat(16)}.${secret}`;
    for (const token of [wrongSecret, unknown])
      await expect(joinNode(controller, token, 'nx', ownAddress())).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
    await expect(joinNode(controller, `weft1.${'0'.repeat(64)}.${id}.${secret}`, 'nx', ownAddress())).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    await sleep(1_100);
    await expect(joinNode(controller, expired, 'nx', ownAddress())).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
    await expect(joinNode(controller, good, 'bad name\n', ownAddress())).rejects.toMatchObject({ code: 'BAD_NAME' });
    await expect(joinNode(controller, good, 'nx', 'not-an-address')).rejects.toMatchObject({ code: 'BAD_ADDRESS' });
    await expect(joinNode(controller, good, 'n1', ownAddress())).rejects.toMatchObject({
      code: 'CONFLICT',
      why: expect.stringContaining('n1'),
    });
    await expect(joinNode(controller, good, 'nx', agents[0]?.address ?? '')).rejects.toMatchObject({ code: 'CONFLICT' });
    const client = connectToJoin(JoinClient, `${controller.address}:${controller.joinPort}`, (await controller.admin()).caPem);
    await expect(
      callUnary(client, 'signCertificate', { token: `${id}.${secret}`, csrPem: 'nonsense', name: 'nx', address: ownAddress() }),
    ).rejects.toMatchObject({ code: 'BAD_VALUE' });
    // As a controller joins, or a user: neither leaves the record of a node behind that never comes.
    const { csrPem } = await createCsr();
    const asked = { token: `${id}.${secret}`, csrPem, name: 'c9', address: ownAddress() };
    for (const [role, called] of [
      ['controller', 'controllers'],
      ['admin', 'users'],
    ] as const)
      await expect(callUnary(client, 'signCertificate', { ...asked, role })).rejects.toMatchObject({
        code: 'TOKEN_INVALID',
        what: `this token is not for ${called}`,
        why: 'it makes a certificate of the role "node"',
      });
    await expect(callUnary(client, 'signCertificate', { ...asked, role: 'king' })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    client.close();
    expect((await callUnary(api, 'listNodes', {})).nodes.map((n) => n.node?.name)).not.toContain('c9');
    // As a user joins, who has no address.
    await expect(joinNode(controller, good, 'eva', '')).rejects.toMatchObject({
      code: 'TOKEN_INVALID',
      what: 'this token is not for users',
      hint: expect.stringContaining('--role admin'),
    });
    // Still good.
    await expect(joinNode(controller, good, 'nx', ownAddress())).resolves.toMatchObject({ role: 'node' });
    await callUnary(api, 'removeNode', { node: 'nx', force: true });
  });

  it('an admin token makes an administrator, who is no node', async () => {
    const identity = await joinNode(controller, await makeToken(60_000, 'admin'), 'eva', '');
    expect(identity).toMatchObject({ role: 'admin', id: 'eva' });
    const eva = connect(ApiClient, controller.target, identity, 'controller');
    expect((await callUnary(eva, 'listNodes', {})).nodes.length).toBeGreaterThan(1);
    eva.close();
    const hub = connect(AgentHubClient, controller.target, identity, 'controller');
    await expect(openBidi<AgentMessage, HubMessage>(hub.attach()).messages.next()).rejects.toMatchObject({ code: 'FORBIDDEN' });
    hub.close();
  });

  it('a node cannot call the API, and a certificate of another CA nothing at all', async () => {
    const node = agents[0]?.apiAsNode(controller) as ApiClient;
    await expect(callUnary(node, 'listTasks', { stack: '' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(callUnary(node, 'createToken', { role: 'admin', ttlMs: 60_000 })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    node.close();
    const foreign = await issue(await createCa('elsewhere'), { role: 'admin', id: 'x', clusterId: 'elsewhere' });
    const stranger = connect(ApiClient, controller.target, { ...foreign, caPem: (await controller.admin()).caPem }, 'controller');
    await expect(callUnary(stranger, 'listNodes', {}, { timeoutMs: 3_000 })).rejects.toMatchObject({
      code: expect.stringMatching(/UNAVAILABLE|TIMEOUT/),
    });
    stranger.close();
  });

  it('a node sees its own view only, whatever it says in its messages, and speaks of its own tasks only', async () => {
    await up(api, makeStack('a', { web: 2 }));
    const state = await watchUntil(api, 'a', isUp);
    const [n1, n2] = agents as [FakeAgent, FakeAgent];
    const theirs = n2.kinds.tasks[0];
    expect(n1.kinds.tasks.map((t) => t.nodeId)).toEqual([n1.identity.id]);
    expect(n1.kinds.tasks.some((t) => t.id === theirs?.id)).toBe(false);
    n1.detach();
    const hub = connect(AgentHubClient, controller.target, n1.identity, 'controller');
    const call = openBidi<AgentMessage, HubMessage>(hub.attach());
    // It claims to be n2, and that a task of n2 has failed.
    const facts = { ...EMPTY, nodeId: n2.identity.id, hostname: 'n2' };
    const status = { taskId: theirs?.id ?? '', nodeId: n2.identity.id, state: 'failed', message: 'forged', restarts: 0, at: 1 };
    await call.send({ message: { $case: 'hello', value: { revision: 0, clusterId: '', facts, tasks: [status] } } });
    const message = await firstOf(call);
    if (message?.$case !== 'snapshot') throw new Error(`expected a snapshot, not ${message?.$case}`);
    const tasks = snapshotFromWire(message.value).resources.filter((r) => r.kind === 'task');
    expect(tasks.map((t) => (t.kind === 'task' ? t.value.nodeId : ''))).toEqual([n1.identity.id]);
    await sleep(300);
    call.cancel();
    hub.close();
    const after = await callUnary(api, 'listTasks', { stack: 'a' });
    expect(after.tasks.find((t) => t.task?.id === theirs?.id)?.status?.state).toBe('running');
    expect(state.tasks).toHaveLength(2);
    n1.attach(controller);
    await callUnary(api, 'removeStack', { name: 'a' });
    await watchUntil(api, 'a', (s) => !s.exists);
  });

  it('the environment of containers is not in listings', async () => {
    await up(api, makeStack('s', { web: { container: { image: 'busybox', environment: { PASSWORD: 'hunter2' } } } }));
    await watchUntil(api, 's', isUp);
    expect(JSON.stringify(await callUnary(api, 'listTasks', { stack: 's' }))).not.toContain('hunter2');
    expect(agents.some((a) => a.task('s-web-1')?.container.environment['PASSWORD'] === 'hunter2')).toBe(true);
    await callUnary(api, 'removeStack', { name: 's' });
    await watchUntil(api, 's', (s) => !s.exists);
  });

  it('new keys: who cannot be told is named, and the others are told', async () => {
    const [n1, n2] = agents as [FakeAgent, FakeAgent];
    const rotate = (...nodes: string[]) => callUnary(api, 'rotateNodeKeys', { nodes });
    n2.detach();
    const isKnown = async () => (await rotate()).missed.length > 0;
    await eventually(isKnown, 'it is known that n2 has gone');
    expect(await rotate()).toEqual({ nodes: ['n1'], missed: ['n2'] });
    await expect(rotate('n2')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await eventually(() => n1.received.some((m) => m.message?.$case === 'rotateKeys'), 'n1 was told');
    n2.attach(controller);
    await eventually(async () => (await rotate()).missed.length === 0, 'n2 is told, too');
  });

  it('a removed node cannot come back with its old certificate, and its tasks are placed anew', async () => {
    await up(api, makeStack('b', { web: 2 }));
    await watchUntil(api, 'b', isUp);
    const [n1, n2] = agents as [FakeAgent, FakeAgent];
    await expect(callUnary(api, 'removeNode', { node: 'n2', force: false })).rejects.toMatchObject({ code: 'CONFLICT' });
    n2.detach();
    await callUnary(api, 'removeNode', { node: 'n2', force: true });
    const state = await watchUntil(api, 'b', (s) => isUp(s) && s.tasks.every((t) => t.nodeName === 'n1'));
    expect(state.tasks).toHaveLength(2);
    expect(n1.kinds.members.some((m) => m.id === n2.identity.id)).toBe(false);
    const hub = connect(AgentHubClient, controller.target, n2.identity, 'controller');
    const call = openBidi<AgentMessage, HubMessage>(hub.attach());
    await call.send({
      message: { $case: 'hello', value: { revision: 0, clusterId: '', facts: { ...EMPTY, nodeId: n2.identity.id }, tasks: [] } },
    });
    await expect(firstOf(call)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    hub.close();
  });
});

/** The first that a controller has to say, besides that it lives. @throws how the stream ends */
async function firstOf(call: Bidi<AgentMessage, HubMessage>): Promise<HubMessage['message']> {
  for (;;) {
    const { message } = (await call.messages.next()).value as HubMessage;
    if (message?.$case !== 'alive') return message;
  }
}

const EMPTY = {
  nodeId: '',
  hostname: '',
  name: '',
  address: '',
  addresses: [],
  underlayMtu: 1500,
  cpus: 1,
  memoryBytes: 1,
  routes: [],
  listening: [],
  versions: {},
  features: [],
  findings: [],
  devices: [],
  advertised: [],
  images: [],
  repairs: [],
  platform: 'linux/amd64',
  quarantine: undefined,
  driftRepairs: 0,
  at: 1,
};
