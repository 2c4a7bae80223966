import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#base/log.js';
import { Loop } from './loop.js';

const until = async (holds: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !holds(); i++) await sleep(10);
  expect(holds()).toBe(true);
};

describe('a loop', () => {
  it('ticks at its start, once for many marks, and ends with its signal', async () => {
    let ticks = 0;
    const stop = new AbortController();
    const loop = new Loop({ name: 'x', log: silentLog, everyMs: 60_000, debounceMs: 20, tick: async () => void ticks++ });
    const running = loop.run(stop.signal);
    await until(() => ticks === 1);
    for (let i = 0; i < 50; i++) loop.mark();
    await until(() => ticks === 2);
    await sleep(60);
    expect(ticks).toBe(2);
    stop.abort();
    await running;
    loop.mark();
    await sleep(40);
    expect(ticks).toBe(2);
  });

  it('does not lose a mark that comes while it ticks', async () => {
    let ticks = 0;
    const stop = new AbortController();
    const loop: Loop = new Loop({
      name: 'x',
      log: silentLog,
      everyMs: 60_000,
      tick: async () => {
        if (++ticks === 1) loop.mark();
      },
    });
    const running = loop.run(stop.signal);
    await until(() => ticks === 2);
    stop.abort();
    await running;
  });

  it('comes back when the tick wants it to, and at its interval', async () => {
    let ticks = 0;
    const stop = new AbortController();
    const running = new Loop({ name: 'x', log: silentLog, everyMs: 60_000, tick: async () => (++ticks < 3 ? 5 : undefined) }).run(
      stop.signal,
    );
    await until(() => ticks === 3);
    await sleep(50);
    expect(ticks).toBe(3);
    stop.abort();
    await running;
    const again = new AbortController();
    const periodic = new Loop({ name: 'x', log: silentLog, everyMs: 10, tick: async () => void ticks++ }).run(again.signal);
    await until(() => ticks >= 6);
    again.abort();
    await periodic;
  });

  it('logs a tick that throws and tries again, marked or not', async () => {
    let ticks = 0;
    const warnings: object[] = [];
    const stop = new AbortController();
    const loop = new Loop({
      name: 'x',
      log: { ...silentLog, warn: (fields) => void warnings.push(fields) },
      tick: async () => {
        if (++ticks < 3) throw new Error('no');
      },
    });
    const running = loop.run(stop.signal);
    await until(() => ticks === 3);
    expect(warnings).toEqual([
      { loop: 'x', error: 'no', failures: 1 },
      { loop: 'x', error: 'no', failures: 2 },
    ]);
    stop.abort();
    await running;
  });
});
