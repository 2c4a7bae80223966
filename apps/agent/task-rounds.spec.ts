import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import { until } from './spec-kit.js';
import { nextOf, pauseMs, TaskRounds } from './task-rounds.js';

describe('going round the namespaces', () => {
  it('takes up where it was, begins again at the end, and misses none when some come and go', () => {
    const names = ['c', 'a', 'e', 'b', 'd'];
    expect(nextOf(names, '', 2)).toEqual(['a', 'b']);
    expect(nextOf(names, 'b', 2)).toEqual(['c', 'd']);
    expect(nextOf(names, 'd', 2)).toEqual(['e', 'a']);
    expect(nextOf(['a', 'c'], 'b', 4)).toEqual(['c', 'a']);
    expect(nextOf([], 'b', 4)).toEqual([]);
  });

  it('comes by each every two seconds, and takes a tenth of the time at most', () => {
    expect(pauseMs(0, 0)).toBe(2_000);
    expect(pauseMs(4, 12)).toBe(2_000);
    expect(pauseMs(40, 12)).toBe(200);
    expect(pauseMs(400, 12)).toBe(120);
  });

  it('tells of what is wrong, waits while something else is under way, and goes on after a failure', async () => {
    const state = { busy: true, fails: true };
    const asked: string[] = [];
    const wrong: string[] = [];
    const rounds = new TaskRounds({
      namespaces: () => ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p'],
      glance: (names) => {
        asked.push(...names);
        if (!state.fails) return Promise.resolve(names.filter((n) => n === 'f'));
        state.fails = false;
        return Promise.reject(new Error('no nft'));
      },
      isBusy: () => state.busy,
      onWrong: (names) => void wrong.push(...names),
      clock: systemClock,
      log: silentLog,
    });
    rounds.start();
    try {
      await new Promise((resolve) => setTimeout(resolve, 2_300));
      expect(asked).toEqual([]);
      state.busy = false;
      await until(() => wrong.length > 0);
      expect(asked).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
      expect(wrong).toEqual(['f']);
    } finally {
      rounds.stop();
    }
  });
});
