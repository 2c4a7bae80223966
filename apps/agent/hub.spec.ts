import { silentLog } from '#base/log.js';
import { systemClock } from '#base/clock.js';
import { ManualClock } from '#base/manual-clock.js';
import { Queue } from '#base/streams.js';
import type { TaskStatus } from '#model/task.js';
import type { HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import { createCa, issue } from '#trust/ca.js';
import { nodeFactsSchema } from '#model/node.js';
import { deltaMessage, FakeController, snapshotMessage } from '../../test/fixtures/fake-controller.js';
import { Believer } from './believer.js';
import { DesiredStore } from './desired-store.js';
import { dialAs, startHub, type Hub } from './loops/hub.js';
import { StatusBoard } from './status-board.js';
import { makeSnapshot, makeTask, NODE_ID, taskResource, until, withTempDir } from './spec-kit.js';

const a = makeTask('aaaaaaaa');
const running = (taskId: string): Omit<TaskStatus, 'at' | 'nodeId'> => ({ taskId, state: 'running', message: '', restarts: 0 });

interface Rig {
  controller: FakeController;
  store: DesiredStore;
  believer: Believer;
  board: StatusBoard;
  hub: Hub;
  /** When what controllers have heard was sent. */
  heardAt: number[];
  certify: () => Promise<Awaited<ReturnType<typeof issue>>>;
}

async function withRig(use: (rig: Rig) => Promise<void>, deadController = false): Promise<void> {
  const ca = await createCa('c1c1c1c1');
  const certify = () => issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1c1c1c1' });
  const controller = new FakeController();
  controller.greeting = () => [snapshotMessage(makeSnapshot(5, [a]))];
  await controller.start(await certify());
  await withTempDir(async (dir) => {
    const store = await DesiredStore.open(dir, silentLog);
    const board = new StatusBoard(NODE_ID, systemClock);
    const late: { hub?: Hub } = {};
    const believer: Believer = new Believer(
      store,
      () => [],
      () => late.hub?.factsChanged(),
      silentLog,
    );
    const facts = () => nodeFactsSchema.parse({ nodeId: NODE_ID, hostname: 'h', quarantine: believer.quarantine, at: 1 });
    const identity = await issue(ca, { role: 'node', id: NODE_ID, clusterId: 'c1c1c1c1' });
    const controllers = () => [...(deadController ? ['127.0.0.1:1'] : []), `127.0.0.1:${controller.port}`];
    const heardAt: number[] = [];
    const hub = startHub({
      controllers,
      address: '127.0.0.9',
      dial: dialAs(identity),
      store,
      believer,
      board,
      facts,
      onHeard: (sentAt) => heardAt.push(sentAt),
      clock: systemClock,
      log: silentLog,
    });
    late.hub = hub;
    try {
      await use({ controller, store, believer, board, hub, heardAt, certify });
    } finally {
      await hub.stop();
      await controller.stop();
      await store.flush();
    }
  });
}

describe('the stream to a controller', () => {
  it('says hello first, takes snapshot and deltas, and beats with the revision applied', () =>
    withRig(async ({ controller, store }) => {
      await until(() => store.view.revision === 5);
      expect(controller.heard[0]?.message).toMatchObject({
        $case: 'hello',
        value: { revision: 0, clusterId: '', facts: { nodeId: NODE_ID } },
      });
      controller.say(
        deltaMessage({ clusterId: 'c1c1c1c1', revision: 8, upserts: [taskResource(makeTask('bbbbbbbb'))], removals: [], tombstones: [] }),
      );
      await until(() => store.byKind.tasks.length === 2);
      await until(() => controller.of('heartbeat').some((h) => h.appliedRevision === 8));
    }));

  it('sends statuses that come together together, and each again after a new stream', () =>
    withRig(async ({ controller, board, store }) => {
      await until(() => store.isKnown);
      for (const id of ['aaaaaaaa', 'bbbbbbbb', 'cccccccc']) board.set(running(id));
      board.set(running('aaaaaaaa'));
      await until(() => controller.of('status').length > 0);
      expect(controller.of('status').map((s) => s.statuses.map((t) => t.taskId))).toEqual([['aaaaaaaa', 'bbbbbbbb', 'cccccccc']]);
      controller.hangUp();
      await until(() => controller.of('hello').length === 2);
      expect(controller.of('hello')[1]).toMatchObject({ revision: 5, clusterId: 'c1c1c1c1' });
      expect(
        controller
          .of('hello')[1]
          ?.tasks.map((t) => t.taskId)
          .sort(),
      ).toEqual(['aaaaaaaa', 'bbbbbbbb', 'cccccccc']);
    }));

  it('goes to another controller when one does not answer', () => withRig(async ({ store }) => until(() => store.isKnown, 10_000), true));

  it('knows by its number when a heartbeat that was heard had been sent', () =>
    withRig(async ({ controller, heardAt }) => {
      await until(() => controller.of('heartbeat').length >= 2);
      const [first, second] = controller.of('heartbeat');
      expect([first?.number, second?.number]).toEqual([1, 2]);
      const now = systemClock.monotonic();
      // 0 says of nobody that it was heard; what is not known of this stream proves nothing.
      for (const heard of [0, 99, 2, 1, 2]) controller.say({ message: { $case: 'alive', value: { intervalMs: 10_000, heard } } });
      await until(() => heardAt.length > 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(heardAt).toEqual([expect.any(Number)]);
      expect(heardAt[0]).toBeLessThanOrEqual(now);
    }));

  it('goes to another stream when the controller falls silent after it promised to be heard', () =>
    withRig(async ({ controller, store, hub }) => {
      await until(() => store.isKnown);
      await until(() => hub.isConnected());
      expect(controller.streams).toBe(1);
      controller.say({ message: { $case: 'alive', value: { intervalMs: 60, heard: 0 } } });
      await until(() => controller.streams > 1, 5_000);
      // No promise on the new stream: silence is normal.
      const { streams } = controller;
      await new Promise((resolve) => setTimeout(resolve, 600));
      expect(controller.streams).toBe(streams);
    }));

  it(
    'comes back to a controller that was gone',
    () =>
      withRig(async ({ controller, store, hub, certify }) => {
        await until(() => store.isKnown);
        await controller.stop();
        await until(() => !hub.isConnected());
        controller.greeting = () => [snapshotMessage(makeSnapshot(9, [a]))];
        await controller.start(await certify());
        await until(() => store.view.revision === 9, 15_000);
      }),
    20_000,
  );

  it('reports a quarantine at once, keeps its view, and is released by accept', () =>
    withRig(async ({ controller, store }) => {
      await until(() => store.isKnown);
      const emptied = snapshotMessage(makeSnapshot(2, [], { clusterId: 'dddddddd' }));
      controller.greeting = () => [emptied];
      controller.hangUp();
      await until(() => controller.of('facts').length > 0);
      expect(controller.of('facts')[0]?.quarantine).toContain('dddddddd');
      expect(store.byKind.tasks.map((t) => t.id)).toEqual([a.id]);
      controller.say({ message: { $case: 'accept', value: { clusterId: 'dddddddd' } } });
      controller.say(emptied);
      await until(() => store.view.clusterId === 'dddddddd');
      await until(() => controller.of('facts').length > 1);
      expect(controller.of('facts')[1]?.quarantine).toBeUndefined();
      expect(store.byKind.tasks).toEqual([]);
    }));

  it('asks for a snapshot again when accept comes alone', () =>
    withRig(async ({ controller, store }) => {
      await until(() => store.isKnown);
      controller.greeting = () => [snapshotMessage(makeSnapshot(2, []))];
      controller.hangUp();
      await until(() => controller.of('facts').length > 0);
      controller.say({ message: { $case: 'accept', value: { clusterId: 'c1c1c1c1' } } });
      await until(() => store.view.revision === 2, 10_000);
    }));

  it('begins anew when it hears what it cannot read', () =>
    withRig(async ({ controller, store }) => {
      await until(() => store.isKnown);
      controller.say({ message: { $case: 'delta', value: { clusterId: '', revision: 6, upserts: [], removals: [], tombstones: [] } } });
      await until(() => controller.streams === 2);
      expect(store.view.revision).toBe(5);
    }));
});

const TARGETS = ['192.0.2.1:4780', '192.0.2.2:4780', '192.0.2.3:4780'];

interface Dialled {
  target: string;
  at: number;
}

/** What is dialled, and when: controllers that take every connection and say what `greet` says, and then never a word. */
async function dialledIn(
  ms: number,
  controllers: string[],
  greet: (dialled: readonly Dialled[]) => HubMessage[] = () => [],
): Promise<Dialled[]> {
  const clock = new ManualClock();
  const dialled: Dialled[] = [];
  await withTempDir(async (dir) => {
    const store = await DesiredStore.open(dir, silentLog);
    const hub = startHub({
      controllers: () => controllers,
      address: '192.0.2.9',
      dial: (target, signal) => {
        dialled.push({ target, at: clock.monotonic() });
        const said = new Queue<HubMessage>();
        for (const message of greet(dialled)) said.push(message);
        signal.addEventListener('abort', () => said.end(), { once: true });
        const messages = said[Symbol.asyncIterator]();
        const ignore = () => undefined;
        return { bidi: { send: () => Promise.resolve(), end: ignore, messages, cancel: ignore }, close: ignore };
      },
      store,
      believer: new Believer(store, () => [], ignored, silentLog),
      board: new StatusBoard(NODE_ID, clock),
      facts: () => nodeFactsSchema.parse({ nodeId: NODE_ID, hostname: 'h', at: 1 }),
      clock,
      log: silentLog,
    });
    await clock.advance(ms);
    const stopped = hub.stop();
    await clock.advance(10_000);
    await stopped;
    await store.flush();
  });
  return dialled.filter(({ at }) => at <= ms);
}

describe('an agent that no controller answers', () => {
  it('asks all of them, one soon after another, before it makes a pause', async () => {
    const first = (await dialledIn(5_000, TARGETS)).slice(0, 3);
    expect(first.map((d) => d.target).sort()).toEqual(TARGETS);
    expect(first[2]?.at).toBeLessThan(2_500);
  });

  it('waits longer for each in the next round, for the machine may be slow', async () => {
    const times = (await dialledIn(20_000, TARGETS)).map((d) => d.at);
    expect((times[4] ?? 0) - (times[3] ?? 0)).toBeGreaterThan(3_000);
  });

  it('waits long for the only one', async () => {
    const times = (await dialledIn(6_000, TARGETS.slice(0, 1))).map((d) => d.at);
    expect(times[1]).toBeGreaterThan(5_000);
  });
});

describe('an agent whose controller fell silent', () => {
  /** All that is said on a stream that worked: the promise to be heard each 100 ms, which is then broken, and a snapshot. */
  const PROMISE: HubMessage[] = [
    { message: { $case: 'alive', value: { intervalMs: 100, heard: 0 } } },
    snapshotMessage(makeSnapshot(5, [a])),
  ];

  it('asks it once more at once, and soon the others', async () => {
    const [first, second, third] = await dialledIn(5_000, TARGETS, (dialled) => (dialled.length === 1 ? PROMISE : []));
    expect(second).toEqual({ target: first?.target, at: 500 });
    expect(third?.target).not.toBe(first?.target);
    expect(third?.at).toBeGreaterThan(1_000);
    expect(third?.at).toBeLessThan(1_300);
  });

  it('stays with it when it answers', async () => {
    const dialled = await dialledIn(5_000, TARGETS, () => PROMISE);
    expect(dialled.length).toBeGreaterThan(5);
    expect(new Set(dialled.map((d) => d.target)).size).toBe(1);
  });

  it('goes to another when it answers, and has nothing to tell', async () => {
    const dialled = await dialledIn(5_000, TARGETS, ({ length }) => (length === 1 ? PROMISE : PROMISE.slice(0, 1)));
    expect(dialled[1]?.target).toBe(dialled[0]?.target);
    expect(dialled[2]?.target).not.toBe(dialled[0]?.target);
  });
});

const ignored = (): void => undefined;
