/** Two controllers on one etcd; nothing passes any more between the one that leads and etcd, and nobody is told so. */
import { callUnary } from '#rpc/client.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, sleep, TestController, up, watchUntil } from './harness.js';
import { Relay } from './relay.js';

const LONG_MS = 120_000;
/** After a change of leader nobody is declared dead for 8 s: seen is what comes of it then. */
const AFTER_DOUBT_MS = 9_500;

const agents: FakeAgent[] = [];
let near: TestController;
let far: TestController;
let relay: Relay;

beforeAll(async () => {
  near = await TestController.start({ name: 'c1' });
  relay = await Relay.to(near.etcdPort);
  far = await TestController.start({ name: 'c2', besides: near, through: relay.address });
  for (const name of ['n1', 'n2']) agents.push(await FakeAgent.join(near, name));
  // Its etcd goes on, and the other one leads.
  await near.end('SIGTERM');
  await near.run();
}, LONG_MS);

afterAll(async () => {
  for (const agent of agents) agent.detach();
  await far?.dispose();
  await near?.dispose();
  await relay?.close();
});

const leader = async (): Promise<string> => (await callUnary(await near.api(), 'getCluster', {}, { timeoutMs: 5_000 })).leader;
const nodesOf = async (controller: TestController): Promise<number | undefined> =>
  (await callUnary(await near.api(), 'listControllers', {}, { timeoutMs: 5_000 })).controllers.find((c) => c.name === controller.name)
    ?.nodes;
const taskIds = () => agents.map((a) => a.kinds.tasks.map((t) => t.id).sort());

it(
  'the leader, which holds all agents, is cut off from etcd: it stops leading, its agents move over, nobody is declared dead, no task moves',
  async () => {
    await eventually(async () => (await leader()) === 'c2', 'c2 leads', 30_000);
    for (const agent of agents) {
      agent.detach();
      agent.attach(far, near);
    }
    const api = await near.api();
    await up(api, makeStack('shop', { web: 4 }));
    await watchUntil(api, 'shop', isUp, 30_000);
    await eventually(async () => (await nodesOf(far)) === agents.length, 'c2 has the agents', 30_000);
    const before = taskIds();
    relay.cut();
    await eventually(() => far.log().includes('no longer leads'), 'c2 knows by itself that its term is over', 30_000);
    await eventually(async () => (await leader()) === 'c1', 'c1 leads', 30_000);
    await eventually(async () => (await nodesOf(near)) === agents.length, 'the agents have come to c1', 30_000);
    await sleep(AFTER_DOUBT_MS);
    relay.mend();
    await eventually(async () => (await far.readiness()).ok, 'c2 has etcd again', 30_000);
    await up(api, makeStack('shop', { web: 5 }));
    await watchUntil(api, 'shop', (state) => isUp(state) && state.tasks.length === 5, 30_000);
    const after = taskIds();
    expect(before.map((ids, i) => ids.filter((id) => !after[i]?.includes(id)))).toEqual([[], []]);
    expect(`${near.log()}${far.log()}`).not.toMatch(/n[12] is down/);
    expect(await leader()).toBe('c1');
  },
  LONG_MS,
);
