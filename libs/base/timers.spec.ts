import { systemClock, type Clock } from './clock.js';
import { ManualClock } from './manual-clock.js';
import { after, every, within } from './timers.js';

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
});
