/** Restarts that somebody asks for: of the process, in the container that the task has. */
import type { Task } from '#model/task.js';
import type { LedgerEntry } from './ledger.js';
import { until } from './spec-kit.js';
import { a, b, state, strangeSteps, verbs, withRig, type Rig } from './tasks-rig.contract.js';

afterEach(() => expect(strangeSteps.splice(0)).toEqual([]));

describe('a restart that is asked for', () => {
  const never: Task = { ...a, restart: { condition: 'none' } };
  const started = async (rig: Rig, task: Task): Promise<void> => {
    rig.want(task);
    await until(() => state(rig, task) === 'running');
    rig.runtime.calls.length = 0;
  };

  it('drains, ends the process with its hooks and grace, and starts it again in its container; its policy has no say, and counts nothing', () =>
    withRig(async (rig) => {
      const hooked: Task = { ...never, container: { ...a.container, preStop: [{ command: ['true'] }], stopGraceMs: 10 } };
      await started(rig, hooked);
      const began = performance.now();
      await rig.loop.restart(a.id, { drainMs: 150 });
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)).toMatchObject({ message: 'draining: restarted by command', restarts: 0 });
      expect(verbs(rig, a)).toEqual([]);
      await until(() => state(rig, a) === 'running');
      expect(performance.now() - began).toBeGreaterThan(149);
      expect(verbs(rig, a)).toEqual(['exec', 'stop', 'recreate', 'start']);
      expect(rig.board.get(a.id)).toMatchObject({ restarts: 1, restartsAsked: 1, exitCode: 137, message: '' });
      expect(rig.ledger.get(a.id)).toMatchObject({ restarts: 1, tries: 0 });
      expect(rig.ledger.get(a.id)?.restartAsked).toBeUndefined();
      // The next end is its own, and judged.
      rig.runtime.crash(a.id, 0);
      await until(() => state(rig, a) === 'complete');
    }));

  it('checks its health anew: it serves when it is healthy', () =>
    withRig(async (rig) => {
      const times = { intervalMs: 20, timeoutMs: 300, retries: 2, startPeriodMs: 0, startIntervalMs: 5 };
      const health = (rig: Rig, task: Task) => rig.board.get(task.id)?.health;
      rig.want({ ...a, container: { ...a.container, healthcheck: { test: ['CMD', 'true'], ...times } } });
      await until(() => health(rig, a) === 'healthy');
      const told: string[] = [];
      rig.board.onChange(() => void told.push(`${state(rig, a)} ${health(rig, a) ?? ''}`.trim()));
      await rig.loop.restart(a.id, { drainMs: 20, graceMs: 0 });
      await until(() => rig.board.get(a.id)?.restarts === 1 && health(rig, a) === 'healthy');
      expect(told).toEqual(['restarting', 'running starting', 'running healthy']);
    }));

  it('is tried again when it fails, and is the restart of a task that ended just then', () =>
    withRig(async (rig) => {
      await started(rig, never);
      rig.runtime.failNext('recreate');
      await rig.loop.restart(a.id, { drainMs: 100 });
      await until(() => state(rig, a) === 'restarting');
      rig.runtime.crash(a.id, 1);
      await until(() => state(rig, a) === 'failed');
      expect(rig.board.get(a.id)).toMatchObject({ message: expect.stringContaining('trying again in'), nextTryAt: expect.any(Number) });
      await until(() => state(rig, a) === 'running');
      expect(rig.board.get(a.id)?.restarts).toBe(1);
    }));

  it('gives way to a stop, and is refused for what is not to run', () =>
    withRig(async (rig) => {
      await started(rig, never);
      await rig.loop.restart(a.id, { drainMs: 60_000 });
      await until(() => state(rig, a) === 'restarting');
      rig.want({ ...never, desired: 'stop' });
      await until(() => state(rig, a) === 'stopped');
      await expect(rig.loop.restart(a.id, { drainMs: 0 })).rejects.toMatchObject({ code: 'CONFLICT', why: 'it was told to stop' });
      await expect(rig.loop.restart(b.id, { drainMs: 0 })).rejects.toMatchObject({ code: 'CONFLICT' });
      rig.want({ ...b, awaitsCaller: true });
      await expect(rig.loop.restart(b.id, { drainMs: 0 })).rejects.toMatchObject({
        code: 'CONFLICT',
        why: 'it runs once, for whoever is attached to it',
      });
    }));

  it('waits for the start that is under way', () =>
    withRig(async (rig) => {
      const slow: Task = { ...never, container: { ...a.container, postStart: [{ command: ['sleep', '60'] }] } };
      rig.runtime.programs.set('sleep', { runsMs: 150 });
      rig.want(slow);
      await until(() => rig.runtime.calls.includes(`exec ${a.id}`));
      await rig.loop.restart(a.id, { drainMs: 0, graceMs: 0 });
      await until(() => rig.board.get(a.id)?.restarts === 1 && state(rig, a) === 'running');
      expect(verbs(rig, a)).toEqual(['create', 'start', 'exec', 'stop', 'recreate', 'start', 'exec']);
    }));

  it.each([
    ['while it drains, and the process runs on', false, ['stop', 'recreate', 'start']],
    ['while it drains, and the process ends before the next agent is there', true, ['recreate', 'start']],
  ])('comes about though the agent dies %s', (_, ends, calls) =>
    withRig(async (rig) => {
      await started(rig, never);
      await rig.loop.restart(a.id, { drainMs: 400, graceMs: 0 });
      await until(() => state(rig, a) === 'restarting');
      await rig.loop.stop();
      if (ends) rig.runtime.crash(a.id, 0);
      const next = await rig.again();
      await until(() => next.board.get(a.id)?.restarts === 1 && state(next, a) === 'running');
      expect(verbs(next, a)).toEqual(calls);
      await next.ledger.flush();
      const last = await next.again();
      await until(() => state(last, a) === 'running');
      expect(verbs(last, a)).toEqual(calls);
      return last;
    }),
  );

  it('comes about once though the agent dies before it has noted that', () =>
    withRig(async (rig) => {
      await started(rig, never);
      await rig.loop.restart(a.id, { drainMs: 0, graceMs: 0 });
      const order = rig.ledger.get(a.id);
      await until(() => rig.board.get(a.id)?.restarts === 1);
      rig.ledger.note(a.id, order as LedgerEntry);
      const next = await rig.again();
      await until(() => state(next, a) === 'running');
      expect(next.board.get(a.id)).toMatchObject({ restarts: 1, restartsAsked: 1 });
      expect(next.ledger.get(a.id)?.restartAsked).toBeUndefined();
      expect(verbs(next, a)).toEqual(['stop', 'recreate', 'start']);
      return next;
    }));

  it('comes about though the agent dies when the process has ended and none has begun', () =>
    withRig(async (rig) => {
      await started(rig, never);
      rig.network.ready = () => new Promise(() => undefined);
      await rig.loop.restart(a.id, { drainMs: 0, graceMs: 0 });
      await until(() => verbs(rig, a).includes('recreate'));
      const next = await rig.again();
      await until(() => next.board.get(a.id)?.restarts === 1 && state(next, a) === 'running');
      expect(verbs(next, a)).toEqual(['stop', 'recreate', 'recreate', 'start']);
      return next;
    }));
});
