/** Elections: one leader at most, quickly replaced, and refused by its own fence once it is not. */
import type { Leadership, Store } from '#store/store.js';
import type { Given } from './given.js';
import { TEST_MS } from './given.js';
import type { Harness } from './harness.js';
import { aborted, eventually } from './recorder.js';

export function elections(given: Given): void {
  describe('elections', () => {
    it(
      'have one leader; when it resigns the next one leads at once, and the old fence refuses',
      async () => {
        const { harness, root } = given();
        const race = await candidates(harness, `${root}leader`, 3);
        const first = await race.next();
        expect(race.leaders).toHaveLength(1);
        const write = { put: `${root}data`, value: first.id };
        expect((await first.store.txn([first.leadership.fence], [write])).ok).toBe(true);
        expect((await first.store.get(`${root}leader`))?.value).toBe(first.id);
        const resignedAt = performance.now();
        await first.leadership.resign();
        expect(first.leadership.lost.aborted).toBe(true);
        const second = await race.next();
        expect(performance.now() - resignedAt).toBeLessThan(1_500);
        expect((await first.store.txn([first.leadership.fence], [write])).ok).toBe(false);
        expect((await second.store.txn([second.leadership.fence], [{ put: `${root}data`, value: second.id }])).ok).toBe(true);
        expect(second.id).not.toBe(first.id);
        await race.end();
      },
      TEST_MS,
    );

    it(
      'pass on when the leader dies without a word',
      async () => {
        const { harness, root } = given();
        const race = await candidates(harness, `${root}leader`, 2);
        const first = await race.next();
        await first.store.close();
        expect(first.leadership.lost.aborted).toBe(true);
        const second = await race.next();
        expect((await second.store.txn([first.leadership.fence], [{ put: `${root}x`, value: '' }])).ok).toBe(false);
        await race.end();
      },
      TEST_MS,
    );

    it(
      'end the leadership when the leader key is taken away',
      async () => {
        const { harness, store, root } = given();
        const race = await candidates(harness, `${root}leader`, 1);
        const { leadership } = await race.next();
        await store.txn([], [{ delete: `${root}leader` }]);
        await aborted(leadership.lost);
        await race.end();
      },
      TEST_MS,
    );

    it(
      'never have two leaders through a freeze that outlives the leases',
      async () => {
        const { harness, root } = given();
        const race = await candidates(harness, `${root}leader`, 2);
        const first = await race.next();
        await harness.freeze();
        await aborted(first.leadership.lost);
        expect(race.leaders.filter((l) => !l.leadership.lost.aborted)).toEqual([]);
        await new Promise((resolve) => setTimeout(resolve, 500));
        await harness.thaw();
        await eventually('the old fence refuses', async () => {
          const answer = await first.store.txn([first.leadership.fence], [{ put: `${root}x`, value: '' }]).catch(() => undefined);
          return answer?.ok === false;
        });
        await race.end();
      },
      TEST_MS,
    );

    it(
      'reject when the candidate gives up, leaving no key behind',
      async () => {
        const { harness, store, root } = given();
        const race = await candidates(harness, `${root}leader`, 1);
        const first = await race.next();
        const session = await store.openSession(2_000);
        const giveUp = new AbortController();
        const waiting = store.campaign(`${root}leader`, 'second', session, giveUp.signal);
        setTimeout(() => giveUp.abort(new Error('enough')), 200);
        await expect(waiting).rejects.toThrow('enough');
        await first.leadership.resign();
        await race.end();
        await session.close();
        expect(await store.get(`${root}leader`)).toBeUndefined();
      },
      TEST_MS,
    );
  });
}

interface Leader {
  id: string;
  store: Store;
  leadership: Leadership;
}

/** `count` clients that all stand for election; `next` gives the leaders in the order in which they came to lead. */
async function candidates(harness: Harness, key: string, count: number) {
  const leaders: Leader[] = [];
  const giveUp = new AbortController();
  const stores = await Promise.all(Array.from({ length: count }, () => harness.open()));
  const running = stores.map(async (store, i) => {
    const session = await store.openSession(1_000);
    const leadership = await store.campaign(key, `candidate-${i}`, session, giveUp.signal);
    leaders.push({ id: `candidate-${i}`, store, leadership });
  });
  const settled = Promise.allSettled(running);
  let taken = 0;
  return {
    leaders,
    next: async (): Promise<Leader> => {
      await eventually('somebody leads', () => leaders.length > taken);
      return leaders[taken++] as Leader;
    },
    end: async () => {
      giveUp.abort(new Error('the test is over'));
      await settled;
      for (const store of stores) await store.close();
    },
  };
}
