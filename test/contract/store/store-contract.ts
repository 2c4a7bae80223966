/**
 * The contract of the Store port. Every implementation runs all of it: what holds for the real etcd holds for the twin that
 * other tests build on, and the other way round.
 */
import type { WeftError } from '#base/errors.js';
import type { Compare, Leadership, Store } from '#store/store.js';
import { MAX_TXN_OPS, MAX_VALUE_BYTES } from '#store/store.js';
import type { Harness } from './harness.js';
import { FAST } from './harness.js';
import { PausableClock } from './pausable-clock.js';
import { aborted, eventually, Recorder } from './recorder.js';

const TEST_MS = 60_000;
const put = (store: Store, key: string, value: string) => store.txn([], [{ put: key, value }]);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: WeftError) => error.code,
  );

export function storeContract(name: string, makeHarness: () => Promise<Harness>): void {
  describe(`store contract: ${name}`, () => {
    let harness: Harness;
    let store: Store;
    let root: string;
    let nth = 0;
    beforeAll(async () => {
      harness = await makeHarness();
    }, TEST_MS);
    afterAll(() => harness.stop(), TEST_MS);
    beforeEach(async () => {
      root = `/contract/${++nth}/`;
      store = await harness.open();
    });
    afterEach(() => store.close());

    transactions(() => ({ harness, store, root }));
    following(() => ({ harness, store, root }));
    sessions(() => ({ harness, store, root }));
    elections(() => ({ harness, store, root }));
  });
}

type Given = () => { harness: Harness; store: Store; root: string };

function transactions(given: Given): void {
  describe('transactions', () => {
    it('write, read back and list in order of key, with etcd revisions', async () => {
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
    });

    it('delete one key, a prefix, and nothing at all', async () => {
      const { store, root } = given();
      for (const key of ['a', 'p/1', 'p/2', 'q']) await put(store, root + key, '');
      await store.txn([], [{ delete: `${root}a` }, { deletePrefix: `${root}p/` }]);
      const left = await store.list(root);
      expect(left.entries.map((e) => e.key)).toEqual([`${root}q`]);
      expect(await store.txn([], [{ delete: `${root}a` }])).toEqual({ ok: true, revision: left.revision });
    });

    it('hold or refuse by every kind of comparison, all or nothing', async () => {
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
    });

    it('refuse, and write nothing, what etcd does not take', async () => {
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
    });

    it('list more than a page', async () => {
      const { store, root } = given();
      const keys = Array.from({ length: 4_100 }, (_, i) => `${root}${String(i).padStart(5, '0')}`);
      for (let i = 0; i < keys.length; i += MAX_TXN_OPS) {
        await store.txn(
          [],
          keys.slice(i, i + MAX_TXN_OPS).map((key) => ({ put: key, value: key })),
        );
      }
      expect((await store.list(root)).entries.map((e) => e.value)).toEqual(keys);
    });

    it('give no key to two of 32 allocators that race', async () => {
      const { harness, root } = given();
      const clients = await Promise.all(Array.from({ length: 4 }, () => harness.open()));
      const allocate = async (id: number): Promise<string[]> => {
        const client = clients[id % clients.length] as Store;
        const mine: string[] = [];
        for (let n = 0; mine.length < 4; n++) {
          const key = `${root}address/${n}`;
          const { ok } = await client.txn([{ key, exists: false }], [{ put: key, value: String(id) }]);
          if (ok) mine.push(key);
        }
        return mine;
      };
      const all = (await Promise.all(Array.from({ length: 32 }, (_, id) => allocate(id)))).flat();
      expect(new Set(all).size).toBe(128);
      expect((await given().store.list(root)).entries).toHaveLength(128);
      await Promise.all(clients.map((c) => c.close()));
    });

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

function following(given: Given): void {
  describe('following', () => {
    let recorder: Recorder;
    beforeEach(() => {
      recorder = new Recorder();
    });
    afterEach(() => expect(recorder.faults).toEqual([]));

    it('delivers a snapshot, then every change in order, then nothing after stop', async () => {
      const { store, root } = given();
      await put(store, `${root}a`, '0');
      const following = store.follow(root, recorder.see);
      await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
      expect([...recorder.state]).toEqual([[`${root}a`, '0']]);
      await put(store, '/contract/elsewhere', '');
      for (let i = 1; i <= 20; i++) await put(store, `${root}a`, String(i));
      const { revision } = await store.txn([], [{ delete: `${root}a` }, { put: `${root}b`, value: 'b' }]);
      await recorder.until('the last change', (r) => r.revision === revision);
      expect(recorder.valuesOf(`${root}a`)).toEqual(Array.from({ length: 20 }, (_, i) => String(i + 1)));
      expect(recorder.feeds.at(-1)).toMatchObject({
        type: 'changes',
        puts: [{ key: `${root}b` }],
        deletes: [{ key: `${root}a`, modRevision: revision }],
      });
      expect(recorder.feeds.map((f) => f.type)).toEqual(['snapshot', ...Array<string>(21).fill('changes')]);
      await following.stop();
      await put(store, `${root}a`, 'late');
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(recorder.revision).toBe(revision);
    });

    it(
      'loses and repeats nothing when the server is killed and restarted under writes',
      async () => {
        const { harness, store, root } = given();
        store.follow(root, recorder.see);
        await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
        const written = await writeThrough(store, `${root}k`, async () => {
          await harness.kill();
          await recorder.until('stale', (r) => r.count('stale') === 1);
          await harness.restart();
        });
        await recorder.until('live', (r) => r.count('live') === 1);
        await recorder.until('the last write', (r) => r.state.get(`${root}k`) === written.at(-1));
        // The server's history is provably the one that was followed: no new snapshot was needed.
        expect(recorder.count('snapshot')).toBe(1);
        expect(onlyKnown(recorder.valuesOf(`${root}k`), written)).toEqual(written);
      },
      TEST_MS,
    );

    it(
      'says stale within 5 s when the server freezes, and goes on without loss when it thaws',
      async () => {
        const { harness, root } = given();
        const store = await harness.open({ timing: {} });
        store.follow(root, recorder.see);
        await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
        const frozenAt = performance.now();
        const written = await writeThrough(store, `${root}k`, async () => {
          await harness.freeze();
          await recorder.until('stale', (r) => r.count('stale') === 1);
          await harness.thaw();
        });
        expect(performance.now() - frozenAt).toBeGreaterThan(0);
        await recorder.until('live', (r) => r.count('live') === 1);
        await recorder.until('the last write', (r) => r.state.get(`${root}k`) === written.at(-1));
        expect(recorder.count('snapshot')).toBe(1);
        expect(onlyKnown(recorder.valuesOf(`${root}k`), written)).toEqual(written);
      },
      TEST_MS,
    );

    it(
      'starts with a new snapshot when its revision was compacted away',
      async () => {
        const { harness, store, root } = given();
        const clock = new PausableClock();
        const slow = await harness.open({ timing: FAST, clock });
        await put(store, `${root}old`, '');
        slow.follow(root, recorder.see);
        await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
        clock.pause();
        await harness.kill();
        await recorder.until('stale', (r) => r.count('stale') === 1);
        await harness.restart();
        await eventually('a write', () =>
          put(store, `${root}new`, 'n').then(
            () => true,
            () => false,
          ),
        );
        await store.txn([], [{ delete: `${root}old` }]);
        await harness.compact();
        clock.resume();
        await recorder.until('a second snapshot', (r) => r.count('snapshot') === 2);
        expect([...recorder.state]).toEqual([[`${root}new`, 'n']]);
        await put(store, `${root}new`, 'm');
        await recorder.until('a change after it', (r) => r.state.get(`${root}new`) === 'm');
      },
      TEST_MS,
    );

    it(
      'starts with a new snapshot under another cluster id when the server was emptied',
      async () => {
        const { harness, store, root } = given();
        await put(store, `${root}a`, 'before');
        store.follow(root, recorder.see);
        await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
        const before = recorder.clusterId;
        await harness.empty();
        await recorder.until('a second snapshot', (r) => r.count('snapshot') === 2);
        expect(recorder.clusterId).not.toBe(before);
        expect(recorder.state.size).toBe(0);
        await put(store, `${root}b`, 'after');
        await recorder.until('a change after it', (r) => r.state.get(`${root}b`) === 'after');
      },
      TEST_MS,
    );

    it(
      'is not deceived by an emptied server with the same cluster id that overtook its revision',
      async () => {
        const { harness, store, root } = given();
        const clock = new PausableClock();
        const slow = await harness.open({ timing: FAST, clock });
        await put(store, `${root}a`, 'before');
        slow.follow(root, recorder.see);
        await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
        const { clusterId, revision } = recorder;
        clock.pause();
        await harness.empty({ sameIdentity: true });
        await eventually('a write', () =>
          put(store, `${root}other`, '').then(
            () => true,
            () => false,
          ),
        );
        for (let i = 0; i < revision + 5; i++) await put(store, `${root}other`, String(i));
        clock.resume();
        await recorder.until('a second snapshot', (r) => r.count('snapshot') === 2);
        expect(recorder.clusterId).toBe(clusterId);
        expect([...recorder.state]).toEqual([[`${root}other`, String(revision + 4)]]);
      },
      TEST_MS,
    );

    it('finds by itself that all is well: audits make no noise, not even behind a compaction', async () => {
      const { harness, store, root } = given();
      const auditing = await harness.open({ timing: { ...FAST, beatMs: 50, auditMs: 50 } });
      await put(store, `${root}a`, '1');
      auditing.follow(root, recorder.see);
      await put(store, `${root}a`, '2');
      await recorder.until('the change', (r) => r.state.get(`${root}a`) === '2');
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(recorder.count('snapshot')).toBe(1);
      await put(store, '/contract/elsewhere', '');
      await harness.compact();
      await recorder.until('a fresh snapshot', (r) => r.count('snapshot') === 2);
      expect(recorder.count('stale')).toBe(0);
    });

    it('gives a consumer that threw a new snapshot', async () => {
      const { store, root } = given();
      let failures = 1;
      store.follow(root, (feed) => {
        if (feed.type === 'changes' && failures-- > 0) throw new Error('the consumer failed');
        recorder.see(feed);
      });
      await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
      await put(store, `${root}a`, '1');
      await recorder.until('a second snapshot', (r) => r.count('snapshot') === 2);
      expect([...recorder.state]).toEqual([[`${root}a`, '1']]);
    });
  });
}

/** Writes 1, 2, 3… while `fault` runs and a little longer; returns the values whose write was confirmed. */
async function writeThrough(store: Store, key: string, fault: () => Promise<void>): Promise<string[]> {
  const confirmed: string[] = [];
  let n = 0;
  let isOver = false;
  const write = async () => {
    const value = String(++n);
    await put(store, key, value).then(
      () => confirmed.push(value),
      () => new Promise((resolve) => setTimeout(resolve, 20)),
    );
  };
  for (let i = 0; i < 20; i++) await write();
  const faulting = fault().finally(() => (isOver = true));
  while (!isOver) await write();
  await faulting;
  const enough = confirmed.length + 20;
  while (confirmed.length < enough) await write();
  return confirmed;
}

/** Unconfirmed writes may have been applied, each once at most; confirmed ones exactly once, in order. */
function onlyKnown(seen: string[], confirmed: string[]): string[] {
  expect(new Set(seen).size).toBe(seen.length);
  const known = new Set(confirmed);
  return seen.filter((v) => known.has(v));
}

function sessions(given: Given): void {
  describe('sessions', () => {
    it('stay alive past their time to live, and take their keys with them when closed', async () => {
      const { store, root } = given();
      const session = await store.openSession(1_000);
      await store.txn([], [{ put: `${root}k`, value: '', lease: session.leaseId }]);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      expect(session.lost.aborted).toBe(false);
      expect(session.remainingMs()).toBeGreaterThan(0);
      expect(await store.get(`${root}k`)).toBeDefined();
      await session.close();
      expect(session.lost.aborted).toBe(true);
      expect(session.remainingMs()).toBe(0);
      expect(await store.get(`${root}k`)).toBeUndefined();
    });

    it.each(['freeze', 'kill'] as const)(
      'fence themselves before the lease can expire: %s',
      async (fault) => {
        const { harness, store, root } = given();
        const ttlMs = 3_000;
        const session = await store.openSession(ttlMs);
        await store.txn([], [{ put: `${root}k`, value: '', lease: session.leaseId }]);
        const from = performance.now();
        await harness[fault]();
        await aborted(session.lost);
        // The server last heard of the session at `from` at the latest, and keeps the lease for `ttlMs` from there.
        const lostAfterMs = performance.now() - from;
        await (fault === 'freeze' ? harness.thaw() : harness.restart());
        expect(lostAfterMs).toBeLessThan(ttlMs);
        expect(session.remainingMs()).toBe(0);
        if (fault === 'freeze')
          await eventually('the lease expires by itself', () =>
            store.get(`${root}k`).then(
              (e) => !e,
              () => false,
            ),
          );
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

    it('leave their keys to expiry when the process just ends', async () => {
      const { harness, store, root } = given();
      const other = await harness.open();
      const session = await other.openSession(1_000);
      await other.txn([], [{ put: `${root}k`, value: '', lease: session.leaseId }]);
      await other.close();
      expect(session.lost.aborted).toBe(true);
      expect(await store.get(`${root}k`)).toBeDefined();
      await eventually('the key expires', async () => !(await store.get(`${root}k`)));
    });
  });
}

function elections(given: Given): void {
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

    it('end the leadership when the leader key is taken away', async () => {
      const { harness, store, root } = given();
      const race = await candidates(harness, `${root}leader`, 1);
      const { leadership } = await race.next();
      await store.txn([], [{ delete: `${root}leader` }]);
      await aborted(leadership.lost);
      await race.end();
    });

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
