/** Following: nothing lost, nothing twice, nothing out of order, and no silence taken for peace. */
import type { Store } from '#store/store.js';
import type { Given } from './given.js';
import { put, TEST_MS } from './given.js';
import { FAST } from './harness.js';
import { PausableClock } from './pausable-clock.js';
import { eventually, Recorder } from './recorder.js';

export function following(given: Given): void {
  describe('following', () => {
    let recorder: Recorder;
    beforeEach(() => {
      recorder = new Recorder();
    });
    afterEach(() => expect(recorder.faults).toEqual([]));

    it(
      'delivers a snapshot, then every change in order, then nothing after stop',
      async () => {
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
      },
      TEST_MS,
    );

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
        let staleAfterMs = Infinity;
        const written = await writeThrough(store, `${root}k`, async () => {
          const frozenAt = performance.now();
          await harness.freeze();
          await recorder.until('stale', (r) => r.count('stale') === 1);
          staleAfterMs = performance.now() - frozenAt;
          await harness.thaw();
        });
        expect(staleAfterMs).toBeLessThan(5_000);
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

    it(
      'finds by itself that all is well: audits make no noise, not even behind a compaction',
      async () => {
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
      },
      TEST_MS,
    );

    it(
      'gives a consumer that threw a new snapshot',
      async () => {
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
      },
      TEST_MS,
    );
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
