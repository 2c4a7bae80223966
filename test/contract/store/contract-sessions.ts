/** Sessions: a lease that its holder gives up before the server can. */
import type { Given } from './given.js';
import { TEST_MS } from './given.js';
import { aborted, eventually } from './recorder.js';

export function sessions(given: Given): void {
  describe('sessions', () => {
    it(
      'stay alive past their time to live, and take their keys with them when closed',
      async () => {
        const { store, root } = given();
        const session = await store.openSession(1_000);
        await store.txn([], [{ put: `${root}k`, value: '', lease: session.leaseId }]);
        await new Promise((resolve) => setTimeout(resolve, 1_800));
        expect(session.lost.aborted).toBe(false);
        expect(session.remainingMs()).toBeGreaterThan(0);
        expect(await store.get(`${root}k`)).toBeDefined();
        await session.close();
        expect(session.lost.aborted).toBe(true);
        expect(session.remainingMs()).toBe(0);
        expect(await store.get(`${root}k`)).toBeUndefined();
      },
      TEST_MS,
    );

    it.each(['freeze', 'kill'] as const)(
      'fence themselves before the lease can expire: %s',
      async (fault) => {
        const { harness, store } = given();
        const ttlMs = 3_000;
        const from = performance.now();
        const session = await store.openSession(ttlMs);
        await harness[fault]();
        await aborted(session.lost);
        // The server granted the lease after `from`, and so cannot let it expire before `from` + `ttlMs`.
        const lostAfterMs = performance.now() - from;
        await (fault === 'freeze' ? harness.thaw() : harness.restart());
        expect(lostAfterMs).toBeLessThan(ttlMs);
        expect(session.remainingMs()).toBe(0);
      },
      TEST_MS,
    );

    it(
      'are lost when the server was emptied',
      async () => {
        const { harness, store } = given();
        const session = await store.openSession(2_000);
        await harness.empty();
        await aborted(session.lost);
      },
      TEST_MS,
    );

    it(
      'leave their keys to expiry when the process just ends',
      async () => {
        const { harness, store, root } = given();
        const other = await harness.open();
        const session = await other.openSession(1_000);
        await other.txn([], [{ put: `${root}k`, value: '', lease: session.leaseId }]);
        await other.close();
        expect(session.lost.aborted).toBe(true);
        expect(await store.get(`${root}k`)).toBeDefined();
        await eventually('the key expires', async () => !(await store.get(`${root}k`)));
      },
      TEST_MS,
    );
  });
}
