import { systemClock } from '#base/clock.js';
import { Callers } from './callers.js';

const TASK = 'aaaaaaaa';
const settled = async (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20))]);

describe('callers of tasks', () => {
  it('a task waits for its caller to listen, whoever comes first', async () => {
    const callers = new Callers(systemClock);
    for (const callerFirst of [true, false]) {
      const early = callerFirst ? callers.enter(TASK, false) : undefined;
      const started = callers.letIn(TASK, 10_000);
      const caller = early ?? callers.enter(TASK, false);
      await caller.opened;
      expect(await settled(started)).toBe(false);
      caller.begin();
      await started;
      callers.end(TASK, { exitCode: 3 });
      expect(await caller.ended).toEqual({ exitCode: 3 });
      caller.leave();
      expect(callers.has(TASK)).toBe(false);
    }
  });

  it('is not started when nobody comes, or when the one who came goes again', async () => {
    const callers = new Callers(systemClock);
    await expect(callers.letIn(TASK, 5)).rejects.toThrow(/nobody is attached/);
    const caller = callers.enter(TASK, false);
    const started = callers.letIn(TASK, 10_000);
    caller.leave();
    await expect(started).rejects.toThrow(/nobody is attached/);
    callers.enter(TASK, false);
    await expect(callers.letIn(TASK, 5)).rejects.toThrow(/nobody is attached/);
  });

  it('whoever comes to a task that runs waits for nothing', async () => {
    const caller = new Callers(systemClock).enter(TASK, true);
    await caller.opened;
  });
});
