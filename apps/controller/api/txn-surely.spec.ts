import { WeftError } from '#base/errors.js';
import { MemoryEtcd } from '#store/memory-etcd.js';
import { MemoryStore } from '#store/memory-store.js';
import type { Store } from '#store/store.js';
import { txnSurely } from './txn-surely.js';

/** A store whose answers to the first transactions are lost: whether they were applied is the test's choice. */
function forgetful(store: Store, applied: boolean[]): Pick<Store, 'txn' | 'get'> {
  return {
    get: (key) => store.get(key),
    async txn(compares, writes) {
      const fate = applied.shift();
      if (fate === undefined) return store.txn(compares, writes);
      if (fate) await store.txn(compares, writes);
      throw new WeftError('OUTCOME_UNKNOWN', 'no answer');
    },
  };
}

describe('a transaction whose outcome is found out', () => {
  const server = new MemoryEtcd();
  const store = new MemoryStore(server);
  afterAll(async () => {
    await store.close();
    server.close();
  });

  it.each([
    ['was applied', [true]],
    ['was not applied', [false]],
    ['was applied at the second try', [false, true]],
  ])('says ok once when it %s', async (what, fates) => {
    const key = `/t/${what}`;
    const { ok } = await txnSurely(forgetful(store, fates), [{ key, exists: false }], [{ put: key, value: what }]);
    expect(ok).toBe(true);
    expect(await store.get(key)).toMatchObject({ value: what });
  });

  it('says no when somebody else was first, and what it is when etcd stays silent', async () => {
    const write = { put: '/t/k', value: 'mine' };
    await store.txn([], [{ put: '/t/k', value: 'theirs' }]);
    expect((await txnSurely(forgetful(store, [false]), [{ key: '/t/k', exists: false }], [write])).ok).toBe(false);
    const silent = txnSurely(forgetful(store, [false, false, false]), [], [write]);
    await expect(silent).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(await store.get('/t/k')).toMatchObject({ value: 'theirs' });
  });
});
