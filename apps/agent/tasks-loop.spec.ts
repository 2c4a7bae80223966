import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mkdir, writeFile } from 'node:fs/promises';
import { WeftError } from '#base/errors.js';
import { silentLog } from '#base/log.js';
import type { Task } from '#model/task.js';
import { FakeRuntime } from '#runtime/fake-runtime.js';
import { containerSpec } from './container-spec.js';
import { layout } from './layout.js';
import { Ledger } from './ledger.js';
import { sweep } from './loops/cleaning.js';
import { handClock, until, withTempDir } from './spec-kit.js';

import {
  a,
  b,
  FakeKeeper,
  NO_FILES,
  NO_VOLUMES,
  state,
  strangeSteps,
  verbs,
  withCommand,
  withRig,
  type Rig,
} from './tasks-rig.contract.js';

afterEach(() => expect(strangeSteps.splice(0)).toEqual([]));

describe('the tasks loop', () => {
  it('makes and starts what is wanted, log first', () =>
    withRig(async (rig) => {
      rig.want(a, b);
      await until(() => state(rig, a) === 'running' && state(rig, b) === 'running');
      expect(verbs(rig, a)).toEqual(['create', 'start']);
      expect([...rig.keeper.open_].sort()).toEqual([a.id, b.id]);
      expect(rig.board.get(a.id)).toMatchObject({ restarts: 0, message: '', startedAt: expect.any(Number) });
      expect(existsSync(join(rig.paths.taskDir(a.id), 'hosts'))).toBe(true);
    }));

  it('sends the signal when the drain time is over and every node has taken the task out', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      const going: Task = { ...a, desired: 'stop', drainMs: 20 };
      rig.want(going);
      await until(() => rig.board.get(a.id)?.message === 'draining; not every node has taken it out yet');
      expect(verbs(rig, a)).not.toContain('stop');
      rig.want({ ...going, drained: true });
      await until(() => state(rig, a) === 'stopped');
    }));

  it('waits for the network, and says why when it does not come', () =>
    withRig(async (rig) => {
      let tries = 0;
      rig.network.ready = async () => {
        if (++tries < 3) throw new WeftError('KERNEL', { what: 'no bridge', why: 'the kernel said no' });
        return '/run/netns/x';
      };
      rig.want(a);
      await until(() => state(rig, a) === 'failed');
      expect(rig.board.get(a.id)?.message).toMatch(/^no bridge: the kernel said no; trying again in 0\.\d s$/);
      expect(verbs(rig, a)).not.toContain('start');
      expect(await rig.runtime.list()).toEqual([]);
      await until(() => state(rig, a) === 'running');
      expect(rig.board.get(a.id)?.restarts).toBe(0);
    }));

  it('starts again what ended, and counts', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      rig.runtime.crash(a.id, 3);
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)).toMatchObject({ exitCode: 3, message: 'exited with code 3; restarting in 0.1 s' });
      await until(() => state(rig, a) === 'running');
      expect(rig.board.get(a.id)?.restarts).toBe(1);
      expect(verbs(rig, a)).toEqual(['create', 'start', 'recreate', 'start']);
    }));

  it('says that a container ran out of memory, and not of the next one', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      rig.runtime.oom(a.id);
      rig.runtime.crash(a.id, 137);
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)?.message).toMatch(/^ran out of memory and exited with code 137; restarting in /);
      await until(() => state(rig, a) === 'running');
      rig.runtime.crash(a.id, 137);
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)?.message).toMatch(/^exited with code 137; /);
    }));

  it('sees the end of a program that ends at once', () =>
    withRig(async (rig) => {
      rig.want(withCommand(a, 'false'));
      await until(() => (rig.board.get(a.id)?.restarts ?? 0) >= 2);
      expect(rig.board.get(a.id)?.exitCode).toBe(1);
    }));

  it('adopts what runs and touches nothing', () =>
    withRig(async (rig) => {
      rig.want(a, b);
      await until(() => state(rig, a) === 'running' && state(rig, b) === 'running');
      rig.runtime.crash(b.id, 1);
      await until(() => rig.board.get(b.id)?.restarts === 1);
      const startedAt = rig.board.get(a.id)?.startedAt;
      rig.runtime.calls.length = 0;
      const next = await rig.again();
      await until(() => state(next, a) === 'running' && state(next, b) === 'running');
      expect(next.board.get(a.id)?.startedAt).toBe(startedAt);
      expect(next.board.get(b.id)?.restarts).toBe(1);
      expect(verbs(next, a)).toEqual([]);
      expect([...next.keeper.open_].sort()).toEqual([a.id, b.id]);
      return next;
    }));

  it('starts what ended while no agent was there', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      await rig.loop.stop();
      rig.runtime.crash(a.id, 9);
      const next = await rig.again();
      await until(() => state(next, a) === 'running' && next.board.get(a.id)?.restarts === 1);
      expect(next.board.get(a.id)?.exitCode).toBe(9);
      return next;
    }));

  it('stops with grace, removes, and says so', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      rig.want({ ...a, desired: 'stop', stopReason: 'scaled down' });
      await until(() => state(rig, a) === 'stopped');
      expect(rig.board.get(a.id)).toMatchObject({ message: 'scaled down', exitCode: 137 });
      expect(await rig.runtime.list()).toEqual([]);
      expect([...rig.keeper.open_]).toEqual([]);
      rig.want();
      await until(() => rig.board.get(a.id) === undefined);
    }));

  it('says stopped of a task that never was', () =>
    withRig(async (rig) => {
      rig.want({ ...a, desired: 'stop' });
      await until(() => state(rig, a) === 'stopped');
      expect(verbs(rig, a)).toEqual([]);
    }));

  it('runs its hooks after the start and before the stop; one that fails after the start fails the start', () =>
    withRig(async (rig) => {
      const hooked = (command: string[]): Task => ({
        ...a,
        container: { ...a.container, postStart: [{ command }], preStop: [{ command: ['true'] }] },
      });
      rig.want(hooked(['false']));
      await until(() => state(rig, a) === 'failed');
      expect(rig.board.get(a.id)?.message).toMatch(/the post_start hook "false" exited with code 1; trying again in/);
      expect(rig.ledger.get(a.id)?.hooksPending).toBe(true);
      expect(verbs(rig, a)).not.toContain('recreate');
      rig.want(hooked(['true']));
      await until(() => state(rig, a) === 'running');
      expect(rig.ledger.get(a.id)?.hooksPending).toBeUndefined();
      rig.runtime.calls.length = 0;
      rig.want({ ...hooked(['true']), desired: 'stop' });
      await until(() => state(rig, a) === 'stopped');
      expect(rig.runtime.calls.filter((call) => /^(exec|stop) /.test(call))).toEqual([`exec ${a.id}`, `stop ${a.id}`]);
    }));

  it('tries a stop again that failed', () =>
    withRig(async (rig) => {
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      rig.runtime.failNext('remove');
      rig.want({ ...a, desired: 'stop' });
      await until(() => state(rig, a) === 'failed');
      await until(() => state(rig, a) === 'stopped');
    }));

  it('removes a container without a task, but only once a controller was believed', () =>
    withRig(async (rig) => {
      rig.confirmed.is = false;
      const prepared = { image: 'busybox', mounts: [], netnsPath: '/x', stdio: { stdout: '/o', stderr: '/e' } };
      await rig.runtime.create(containerSpec(b, prepared));
      await rig.runtime.create({ ...containerSpec(b, prepared), id: 'not-ours', labels: {} });
      rig.runtime.resync();
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      expect((await rig.runtime.list()).length).toBe(3);
      rig.confirmed.is = true;
      rig.loop.kick();
      await until(() => !rig.loop.containerIds().includes(b.id));
      expect((await rig.runtime.list()).map((c) => c.id).sort()).toEqual([a.id, 'not-ours'].sort());
    }));

  it('makes anew what is half made, and finds what it was not told of', () =>
    withRig(async (rig) => {
      rig.runtime.leaveHalfMade(containerSpec(a, { image: 'busybox', mounts: [], netnsPath: '/x', stdio: { stdout: '/o', stderr: '/e' } }));
      rig.runtime.resync();
      await until(() => rig.loop.containerIds().length === 1);
      rig.want(a);
      await until(() => state(rig, a) === 'running');
      // Somebody removes it behind the agent's back: no event tells.
      await rig.runtime.remove(a.id);
      rig.runtime.resync();
      await until(() => rig.board.get(a.id)?.restarts === 1);
    }));

  it('names the image it cannot get', () =>
    withRig(async (rig) => {
      rig.want({ ...a, container: { ...a.container, image: 'nowhere/none:1' } });
      await until(() => state(rig, a) === 'failed');
      expect(rig.board.get(a.id)?.message).toMatch(/^image nowhere\/none:1 is not on node n1: it cannot be pulled either: /);
    }));
});

describe('sweeping', () => {
  it('removes files and logs of a task a minute after it is gone, and of nobody else', () =>
    withTempDir(async (dir) => {
      const clock = handClock();
      const ledger = await Ledger.open(dir, silentLog);
      const paths = layout(dir, join(dir, 'run'));
      const keeper = new FakeKeeper();
      for (const id of [a.id, b.id, 'cccccccc']) {
        await mkdir(paths.taskDir(id), { recursive: true });
        await mkdir(dirname(paths.logFile(id)), { recursive: true });
        await writeFile(paths.logFile(id), 'x');
      }
      ledger.note(a.id, { name: 'a', restarts: 0 });
      ledger.note(b.id, { name: 'b', restarts: 0 });
      const pass = () =>
        sweep({
          ledger,
          layout: paths,
          keeper,
          fileMounts: NO_FILES,
          treeMounts: NO_FILES,
          volumeMounts: NO_VOLUMES,
          desired: () => [],
          isAlive: (id) => id === b.id,
          clock,
          log: silentLog,
        });
      expect(await pass()).toEqual([]);
      clock.set(clock.now() + 59_999);
      expect(await pass()).toEqual([]);
      clock.set(clock.now() + 2);
      expect(await pass()).toEqual([a.id]);
      expect([a.id, b.id, 'cccccccc'].map((id) => [existsSync(paths.taskDir(id)), existsSync(dirname(paths.logFile(id)))])).toEqual([
        [false, false],
        [true, true],
        [true, true],
      ]);
      await ledger.flush();
      expect((await Ledger.open(dir, silentLog)).ids()).toEqual([b.id]);
    }));
});

const checked = (test: string[], more: object = {}): Task => ({
  ...a,
  container: {
    ...a.container,
    healthcheck: { test, intervalMs: 20, timeoutMs: 300, retries: 2, startPeriodMs: 0, startIntervalMs: 5, ...more },
  },
});
const health = (rig: Rig, task: Task) => rig.board.get(task.id)?.health;

describe('health checks', () => {
  it('run in the container and are told when they change; output of a failure with them', () =>
    withRig(async (rig) => {
      const told: (string | undefined)[] = [];
      rig.board.onChange(() => void told.push(health(rig, a)));
      rig.want(checked(['CMD', 'true']));
      await until(() => health(rig, a) === 'healthy');
      expect(told.filter((h) => h !== undefined)).toEqual(['starting', 'healthy']);
      rig.runtime.programs.set('true', { exitCode: 1, stdout: 'disk full\n' });
      await until(() => health(rig, a) === 'unhealthy');
      expect(rig.board.get(a.id)).toMatchObject({
        state: 'running',
        message: 'its health check exited with code 1: disk full',
      });
      rig.runtime.programs.delete('true');
      await until(() => health(rig, a) === 'healthy');
      expect(rig.board.get(a.id)?.message).toBe('');
    }));

  it('a check that takes too long is killed and counts as failed', () =>
    withRig(async (rig) => {
      rig.want(checked(['CMD', 'sleep', '60'], { timeoutMs: 30, retries: 1 }));
      await until(() => health(rig, a) === 'unhealthy');
      expect(rig.board.get(a.id)?.message).toBe('its health check took longer than 0.1 s');
    }));

  it("is the image's own, unless the task says none", async () => {
    const runtime = new FakeRuntime();
    runtime.addImage('busybox', { healthcheck: { test: ['CMD-SHELL', 'exit 3'], intervalMs: 10, retries: 1 } });
    await withRig(async (rig) => {
      rig.want(a, { ...b, container: { ...b.container, healthcheck: { test: ['NONE'] } } });
      await until(() => health(rig, a) === 'unhealthy');
      await until(() => state(rig, b) === 'running');
      expect(health(rig, b)).toBeUndefined();
    }, runtime);
  });

  it('goes on after a restart of the agent, with the health it had', () =>
    withRig(async (rig) => {
      rig.want(checked(['CMD', 'true']));
      await until(() => health(rig, a) === 'healthy');
      const next = await rig.again();
      const told: (string | undefined)[] = [];
      next.board.onChange(() => void told.push(health(next, a)));
      await until(() => state(next, a) === 'running');
      expect(health(next, a)).toBe('healthy');
      next.runtime.programs.set('true', { exitCode: 1 });
      await until(() => health(next, a) === 'unhealthy');
      expect(told).not.toContain('starting');
      return next;
    }));

  it('begins anew with the next container', () =>
    withRig(async (rig) => {
      rig.want(checked(['CMD', 'true']));
      await until(() => health(rig, a) === 'healthy');
      rig.runtime.crash(a.id, 1);
      await until(() => state(rig, a) === 'restarting');
      expect(health(rig, a)).toBeUndefined();
      await until(() => health(rig, a) === 'starting');
      await until(() => health(rig, a) === 'healthy');
    }));
});

describe('restart policies', () => {
  const ending = (code: number, restart: Task['restart']): Task => ({ ...withCommand(a, 'sh', '-c', `exit ${code}`), restart });

  it.each([
    ['none, code 0', 0, { condition: 'none' }, 'complete', 0],
    ['none, code 4', 4, { condition: 'none' }, 'failed', 0],
    ['on-failure, code 0', 0, { condition: 'on-failure' }, 'complete', 0],
    ['on-failure twice, code 4', 4, { condition: 'on-failure', maxAttempts: 2 }, 'failed', 2],
    ['any once, code 0', 0, { condition: 'any', maxAttempts: 1 }, 'complete', 1],
  ] as [string, number, Task['restart'], string, number][])('%s', (_, code, restart, end, restarts) =>
    withRig(async (rig) => {
      rig.want(ending(code, restart));
      await until(() => state(rig, a) === end && rig.board.get(a.id)?.nextTryAt === undefined);
      expect(rig.board.get(a.id)).toMatchObject({ exitCode: code, restarts });
      const calls = verbs(rig, a).length;
      // It stays so, also for the next agent; and it can be stopped.
      const next = await rig.again();
      await until(() => state(next, a) === end);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(verbs(next, a)).toHaveLength(calls);
      next.want({ ...ending(code, restart), desired: 'stop' });
      await until(() => state(next, a) === 'stopped');
      return next;
    }),
  );

  it('says when it tries again', () =>
    withRig(async (rig) => {
      rig.want(ending(4, { condition: 'any', delayMs: 60_000 }));
      await until(() => state(rig, a) === 'restarting');
      expect(rig.board.get(a.id)).toMatchObject({ message: 'exited with code 4; restarting in 60 s', exitCode: 4 });
      expect(rig.board.get(a.id)?.nextTryAt).toBeGreaterThan(Date.now() + 50_000);
    }));
});
