/** A cluster grown from one controller to three while traffic flows, which then loses its leader again and again. */
import { eventually, pause, PingFlood, TestCluster } from './cluster.js';

const LONG_MS = 240_000;

interface ControllerLine {
  name: string;
  state: string;
  etcd: string;
  nodes: number;
}

describe('three controllers on three nodes', () => {
  const cluster = new TestCluster('h');
  let flood: PingFlood;
  let before: string[];

  const controllers = () => cluster.json<ControllerLine[]>('controller', 'ls');
  const leader = async (): Promise<string> => (await controllers()).find((c) => c.state === 'leader')?.name ?? '';
  const places = async (): Promise<string[]> =>
    (await cluster.tasks('s'))
      .filter((t) => t.service === 'web')
      .map((t) => `${t.id} ${t.node}`)
      .sort();
  /** All three are there, and members of etcd. */
  const allWell = () =>
    eventually(40_000, async () => {
      const waiting = (await controllers()).filter((c) => c.state === 'away' || !['leader', 'member'].includes(c.etcd));
      if (waiting.length > 0) throw new Error(JSON.stringify(waiting));
    });
  const downs = (): string =>
    cluster
      .logs(10_000)
      .split('\n')
      .filter((line) => /"node\d is down"/.test(line))
      .join('\n');
  const stack = (replicas: number): string =>
    cluster.write(
      's.yaml',
      `name: s
services:
  web: { image: weft-demo:latest, command: [sleep, infinity], init: true, deploy: { replicas: 3 } }
  more: { image: weft-demo:latest, command: [sleep, infinity], init: true, deploy: { replicas: ${replicas} } }
`,
    );

  beforeAll(async () => {
    await cluster.up(3, 1);
    await cluster.ctl('up', '-f', stack(0));
    const tasks = (await cluster.tasks('s')).filter((t) => t.service === 'web').sort((a, b) => (a.node < b.node ? -1 : 1));
    const [from, to] = [tasks[0], tasks.at(-1)];
    if (!from || !to || from.node === to.node) throw new Error('two tasks on two nodes are needed');
    before = await places();
    flood = new PingFlood(cluster.taskNetns(from.id), Object.values(to.addresses)[0] ?? '');
  }, LONG_MS);

  afterAll(async () => {
    await cluster.down();
  }, LONG_MS);

  it(
    'grow from one, live; every agent and ctl know all of them',
    async () => {
      await cluster.ctl('dev', 'up', '--name', cluster.name, '--controllers', '3');
      expect((await controllers()).map((c) => [c.name, ['leader', 'member'].includes(c.etcd)])).toEqual([
        ['node1', true],
        ['node2', true],
        ['node3', true],
      ]);
      const [context] = await cluster.json<{ endpoints: string }[]>('context', 'ls');
      expect(context?.endpoints.split(',')).toHaveLength(3);
      expect(await places()).toEqual(before);
    },
    LONG_MS,
  );

  it(
    'each leader in turn is killed, then one frozen: ctl up works after each, no task moves, nobody is declared dead',
    async () => {
      for (const [i, how] of (['SIGKILL', 'SIGKILL', 'SIGSTOP'] as const).entries()) {
        const victim = await eventually(20_000, async () => {
          const name = await leader();
          if (name === '') throw new Error('no controller leads');
          return name;
        });
        const pids = cluster.pids(`/${victim}/controller`);
        expect(pids.length).toBeGreaterThan(1);
        for (const pid of pids) process.kill(pid, how);
        // While etcd elects a leader a write may be refused: a person tries again.
        await eventually(40_000, () => cluster.ctl('up', '-f', stack(i + 1), '--timeout', '40'));
        await eventually(20_000, async () => {
          const name = await leader();
          if (name === '' || name === victim) throw new Error('no other controller leads');
        });
        await pause(10_000);
        expect(await places()).toEqual(before);
        if (how === 'SIGSTOP') for (const pid of pids) process.kill(pid, 'SIGCONT');
        else await cluster.repair();
        await allWell();
      }
      expect(downs()).toBe('');
    },
    LONG_MS,
  );

  it(
    'a follower is killed, another frozen: the leader goes on, ctl up works, no task moves, nobody is declared dead',
    async () => {
      for (const [i, how] of (['SIGKILL', 'SIGSTOP'] as const).entries()) {
        const leading = await leader();
        const victim = (await controllers()).find((c) => c.state !== 'leader')?.name ?? '';
        const pids = cluster.pids(`/${victim}/controller`);
        expect(pids.length).toBeGreaterThan(1);
        for (const pid of pids) process.kill(pid, how);
        await eventually(40_000, () => cluster.ctl('up', '-f', stack(2 - i), '--timeout', '40'));
        // As long as a death takes.
        await pause(7_000);
        expect(await leader()).toBe(leading);
        expect(await places()).toEqual(before);
        if (how === 'SIGSTOP') for (const pid of pids) process.kill(pid, 'SIGCONT');
        else await cluster.repair();
        await allWell();
      }
      await cluster.ctl('up', '-f', stack(3));
      expect(downs()).toBe('');
    },
    LONG_MS,
  );

  it('no packet was lost in all that, and the last change runs', async () => {
    const { sent, received } = await flood.stop();
    expect(sent).toBeGreaterThan(500);
    expect(received).toBe(sent);
    expect(await places()).toEqual(before);
    expect((await cluster.tasks('s')).filter((t) => t.service === 'more' && t.state === 'running')).toHaveLength(3);
  });
});
