/** Transactions: comparisons, limits, races, and what a fault makes of a write. */
import type { Compare, Store } from '#store/store.js';
import { MAX_TXN_OPS, MAX_VALUE_BYTES } from '#store/store.js';
import type { Given } from './given.js';
import { codeOf, put, TEST_MS } from './given.js';
import { eventually } from './recorder.js';

export function transactions(given: Given): void {
  describe('transactions', () => {
    it(
      'write, read back and list in order of key, with etcd revisions',
      async () => {
        const { store, root } = given();
        const first = await put(store, `${root}b`, 'one');
        const second = await store.txn(
          [],
          [
            { put: `${root}b`, value: 'two' },
            { put: `${root}a`, value: 'ä\n€' },
          ],
        );
        expect(second).toEqual({ ok: true, revision: first.revision + 1 });
        const b = { key: `${root}b`, value: 'two', createRevision: first.revision, modRevision: second.revision };
        const a = { key: `${root}a`, value: 'ä\n€', createRevision: second.revision, modRevision: second.revision };
        expect(await store.get(`${root}b`)).toEqual(b);
        const listing = await store.list(root);
        expect(listing).toEqual({ clusterId: expect.stringMatching(/^[0-9a-f]+$/), revision: second.revision, entries: [a, b] });
        expect(await store.get(`${root}c`)).toBeUndefined();
        expect(await store.get(root.slice(0, -1))).toBeUndefined();
      },
      TEST_MS,
    );

    it(
      'delete one key, a prefix, and nothing at all',
      async () => {
        const { store, root } = given();
        for (const key of ['a', 'p/1', 'p/2', 'q']) await put(store, root + key, '');
        await store.txn([], [{ delete: `${root}a` }, { deletePrefix: `${root}p/` }]);
        const left = await store.list(root);
        expect(left.entries.map((e) => e.key)).toEqual([`${root}q`]);
        expect(await store.txn([], [{ delete: `${root}a` }])).toEqual({ ok: true, revision: left.revision });
      },
      TEST_MS,
    );

    it(
      'hold or refuse by every kind of comparison, all or nothing',
      async () => {
        const { store, root } = given();
        const key = `${root}k`;
        const { revision: created } = await put(store, key, '1');
        const { revision: changed } = await put(store, key, '2');
        const table: [Compare, boolean][] = [
          [{ key, exists: true }, true],
          [{ key, exists: false }, false],
          [{ key, modRevision: changed }, true],
          [{ key, modRevision: created }, false],
          [{ key, modRevision: 0 }, false],
          [{ key, createRevision: created }, true],
          [{ key, createRevision: changed }, false],
          [{ key: `${root}none`, exists: false }, true],
          [{ key: `${root}none`, exists: true }, false],
          [{ key: `${root}none`, modRevision: 0 }, true],
          [{ key: `${root}none`, createRevision: 0 }, true],
          [{ key: `${root}none`, modRevision: 1 }, false],
        ];
        for (const [i, [compare, holds]] of table.entries()) {
          const writes = [
            { put: `${root}x${i}`, value: '' },
            { put: `${root}y${i}`, value: '' },
          ];
          expect({ compare, ok: (await store.txn([{ key, exists: true }, compare], writes)).ok }).toEqual({ compare, ok: holds });
          expect((await store.list(`${root}x${i}`)).entries).toHaveLength(holds ? 1 : 0);
        }
      },
      TEST_MS,
    );

    it(
      'refuse, and write nothing, what etcd does not take',
      async () => {
        const { store, root } = given();
        const key = `${root}k`;
        const many = Array.from({ length: MAX_TXN_OPS + 1 }, (_, i) => ({ put: `${root}${i}`, value: '' }));
        expect(await codeOf(store.txn([], many))).toBe('STORE');
        expect(
          await codeOf(
            store.txn(
              many.map((w) => ({ key: w.put, exists: false })),
              [],
            ),
          ),
        ).toBe('STORE');
        expect(await codeOf(put(store, key, 'x'.repeat(MAX_VALUE_BYTES + 1)))).toBe('STORE');
        const twice = [
          { put: key, value: '1' },
          { put: key, value: '2' },
        ];
        expect(await codeOf(store.txn([], twice))).toBe('STORE');
        expect(await codeOf(store.txn([], [{ put: key, value: '1' }, { deletePrefix: root }]))).toBe('STORE');
        expect(await codeOf(store.txn([], [{ put: key, value: '1', lease: '4242' }]))).toBe('STORE');
        expect((await store.list(root)).entries).toEqual([]);
        expect((await store.txn([], many.slice(1))).ok).toBe(true);
      },
      TEST_MS,
    );

    it(
      'list more than a page',
      async () => {
        const { store, root } = given();
        const keys = Array.from({ length: 4_100 }, (_, i) => `${root}${String(i).padStart(5, '0')}`);
        for (let i = 0; i < keys.length; i += MAX_TXN_OPS) {
          await store.txn(
            [],
            keys.slice(i, i + MAX_TXN_OPS).map((key) => ({ put: key, value: key })),
          );
        }
        expect((await store.list(root)).entries.map((e) => e.value)).toEqual(keys);
      },
      TEST_MS,
    );

    it(
      'give no key to two of 32 allocators that race',
      async () => {
        const { harness, root } = given();
        const clients = await Promise.all(Array.from({ length: 4 }, () => harness.open()));
        const allocate = async (id: number): Promise<string[]> => {
          const client = clients[id % clients.length] as Store;
          const mine: string[] = [];
          for (let n = 0; mine.length < 2; n++) {
            const key = `${root}address/${n}`;
            const { ok } = await client.txn([{ key, exists: false }], [{ put: key, value: String(id) }]);
            if (ok) mine.push(key);
          }
          return mine;
        };
        const all = (await Promise.all(Array.from({ length: 32 }, (_, id) => allocate(id)))).flat();
        expect(new Set(all).size).toBe(64);
        expect((await given().store.list(root)).entries).toHaveLength(64);
        await Promise.all(clients.map((c) => c.close()));
      },
      TEST_MS,
    );

    it(
      'a write to a frozen server has an unknown outcome, and reading again settles it',
      async () => {
        const { harness, store, root } = given();
        const key = `${root}k`;
        const create = () => store.txn([{ key, exists: false }], [{ put: key, value: 'once' }]);
        await harness.freeze();
        const [write, read] = await Promise.all([codeOf(create()), codeOf(store.get(key))]);
        await harness.thaw();
        expect({ write, read }).toEqual({ write: 'OUTCOME_UNKNOWN', read: 'STORE' });
        let entry = await store.get(key);
        if (!entry) {
          await create();
          entry = await store.get(key);
        }
        expect(entry).toMatchObject({ value: 'once', modRevision: entry?.createRevision });
        expect((await create()).ok).toBe(false);
      },
      TEST_MS,
    );

    it(
      'a write to a server that is down was surely not applied, and calls work as soon as it is back',
      async () => {
        const { harness, store, root } = given();
        await put(store, `${root}k`, 'before');
        await harness.kill();
        await eventually('calls are refused at once', async () => (await codeOf(put(store, `${root}k`, 'lost'))) === 'STORE');
        expect((await store.health()).ok).toBe(false);
        await harness.restart();
        await eventually(
          'the store answers',
          () =>
            store.get(`${root}k`).then(
              () => true,
              () => false,
            ),
          3_000,
        );
        expect(await store.get(`${root}k`)).toMatchObject({ value: 'before' });
        expect((await store.health()).ok).toBe(true);
      },
      TEST_MS,
    );
  });
}
