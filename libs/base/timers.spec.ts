import { systemClock, type Clock } from './clock.js';
import { ManualClock } from './manual-clock.js';
import { after, every, pause, within } from './timers.js';

/** The same clock without timers of its own: `after` sleeps. */
const asleep = (clock: Clock): Clock => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
  sleep: (ms, s) => clock.sleep(ms, s),
});

describe('timers', () => {
  it('fire once, or again and again, until they are called off', async () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    after(clock, 10, () => seen.push('once'));
    const off = after(clock, 20, () => seen.push('never'));
    const end = every(clock, 15, () => seen.push('again'));
    await clock.advance(12);
    off();
    await clock.advance(33);
    end();
    await clock.advance(100);
    expect(seen).toEqual(['once', 'again', 'again', 'again']);
  });

  it.each([
    ['with timers of its own', systemClock],
    ['without', asleep(systemClock)],
  ])('bound a wait, on a clock %s', async (_, clock) => {
    const late = () => new Error('late');
    expect(await within(clock, 1_000, Promise.resolve(1), late)).toBe(1);
    await expect(within(clock, 5, new Promise(() => undefined), late)).rejects.toThrow('late');
    await expect(within(clock, 1_000, Promise.reject(new Error('broken')), late)).rejects.toThrow('broken');
  });

  it('sleep for nothing lets others run first', async () => {
    const seen: number[] = [];
    void Promise.resolve().then(() => seen.push(1));
    await systemClock.sleep(0);
    expect(seen).toEqual([1]);
  });

  it('pauses end with their time, when they are told to, and with a signal', async () => {
    const clock = new ManualClock();
    const ended: string[] = [];
    const signal = new AbortController();
    const waits = { time: pause(clock, 10), told: pause(clock, 100), signal: pause(clock, 100, signal.signal) };
    for (const [name, { over }] of Object.entries(waits)) void over.then(() => ended.push(name));
    await clock.advance(10);
    expect(ended).toEqual(['time']);
    waits.told.end();
    waits.told.end();
    await clock.advance(1);
    expect(ended).toEqual(['time', 'told']);
    signal.abort();
    await clock.advance(1);
    expect(ended).toEqual(['time', 'told', 'signal']);
    await pause(clock, 100, signal.signal).over;
  });
});
