import fc from 'fast-check';
import { ManualClock } from '#base/manual-clock.js';
import { MemoryEtcd } from './memory-etcd.js';
import { MemoryStore } from './memory-store.js';
import type { Compare, Feed, Write } from './store.js';

/** Many runs on a busy machine. */
const TEST_MS = 60_000;

/** The simplest thing that could be right: a map and a counter. */
class Model {
  entries = new Map<string, { value: string; createRevision: number; modRevision: number }>();
  revision = 1;

  txn(compares: Compare[], writes: Write[]): boolean {
    for (const c of compares) {
      const entry = this.entries.get(c.key);
      if ('exists' in c && c.exists !== (entry !== undefined)) return false;
      if ('modRevision' in c && c.modRevision !== (entry?.modRevision ?? 0)) return false;
      if ('createRevision' in c && c.createRevision !== (entry?.createRevision ?? 0)) return false;
    }
    const next = this.revision + 1;
    for (const w of writes) {
      if ('put' in w) {
        const createRevision = this.entries.get(w.put)?.createRevision ?? next;
        this.entries.set(w.put, { value: w.value, createRevision, modRevision: next });
        this.revision = next;
      } else {
        const gone = [...this.entries.keys()].filter((k) => ('delete' in w ? k === w.delete : k.startsWith(w.deletePrefix)));
        for (const key of gone) this.entries.delete(key);
        if (gone.length > 0) this.revision = next;
      }
    }
    return true;
  }

  listing() {
    return [...this.entries].map(([key, e]) => ({ key, ...e })).sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

const key = fc.constantFrom('/a', '/a/1', '/a/2', '/b');
const compare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({ key, exists: fc.boolean() }),
  fc.record({ key, modRevision: fc.nat(6) }),
  fc.record({ key, createRevision: fc.nat(6) }),
);
const write: fc.Arbitrary<Write> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ put: key, value: fc.string({ maxLength: 3 }) }) },
  fc.record({ delete: key }),
  fc.record({ deletePrefix: fc.constantFrom('/a', '/a/', '/') }),
);
const transaction = fc.record({
  compares: fc.array(compare, { maxLength: 2 }),
  // One write on its own, or puts of different keys: what touches a key twice is refused, and is a case of the contract suite.
  writes: fc.oneof(
    write.map((w) => [w]),
    fc.uniqueArray(key, { maxLength: 4 }).map((keys) => keys.map((put) => ({ put, value: 'v' }))),
  ),
});
const step = fc.oneof(
  { weight: 6, arbitrary: transaction.map((t) => ({ kind: 'txn' as const, ...t })) },
  fc.constantFrom(...(['outage', 'freeze', 'compact', 'wait', 'empty'] as const)).map((kind) => ({ kind })),
);

function applyFeed(state: Map<string, string>, feed: Feed): void {
  if (feed.type === 'snapshot') {
    state.clear();
    for (const e of feed.entries) state.set(e.key, e.value);
  } else if (feed.type === 'changes') {
    for (const d of feed.deletes) state.delete(d.key);
    for (const p of feed.puts) state.set(p.key, p.value);
  }
}

const FAULTS: Record<'outage' | 'freeze' | 'compact' | 'wait' | 'empty', (server: MemoryEtcd, clock: ManualClock) => Promise<void>> = {
  outage: async (server, clock) => {
    server.kill();
    await clock.advance(700);
    server.restart();
  },
  freeze: async (server, clock) => {
    server.freeze();
    await clock.advance(6_000);
    server.thaw();
  },
  compact: async (server) => server.compact(),
  wait: (_, clock) => clock.advance(2_000),
  empty: async (server) => server.empty(),
};

describe('MemoryStore against a model', () => {
  it(
    'answers as the model does, and a follower ends up with the same state, whatever happens',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const clock = new ManualClock();
          const server = new MemoryEtcd({ clock });
          const store = new MemoryStore(server);
          let model = new Model();
          const followed = new Map<string, string>();
          const types: Feed['type'][] = [];
          store.follow('/', (feed) => (types.push(feed.type), applyFeed(followed, feed)));
          for (const s of steps) {
            if (s.kind === 'txn') {
              const ok = model.txn(s.compares, s.writes);
              expect(await store.txn(s.compares, s.writes)).toEqual({ ok, revision: model.revision });
            } else {
              await FAULTS[s.kind](server, clock);
              if (s.kind === 'empty') model = new Model();
            }
          }
          expect((await store.list('/')).entries).toEqual(model.listing());
          await clock.advance(10_000);
          expect([...followed].sort()).toEqual(model.listing().map((e) => [e.key, e.value]));
          expect(types[0]).toBe('snapshot');
          expect(types.lastIndexOf('stale')).toBeLessThanOrEqual(Math.max(types.lastIndexOf('live'), types.lastIndexOf('snapshot')));
          await store.close();
          server.close();
        }),
        { numRuns: 60 },
      );
    },
    TEST_MS,
  );

  it(
    'reads every revision since the compaction as it was',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(transaction, { minLength: 1, maxLength: 12 }), fc.nat(12), async (transactions, compactAfter) => {
          const server = new MemoryEtcd({ clock: new ManualClock() });
          const past = new Map<number, unknown>();
          let floor = 0;
          for (const [i, t] of transactions.entries()) {
            server.txn(t.compares, t.writes);
            const { revision, entries } = server.range({ prefix: '/' });
            past.set(revision, entries);
            if (i === compactAfter) {
              server.compact();
              floor = revision;
            }
          }
          for (const [revision, entries] of past) {
            if (revision >= floor) expect(server.range({ prefix: '/', revision }).entries).toEqual(entries);
            else expect(() => server.range({ prefix: '/', revision })).toThrow('compacted');
          }
        }),
      );
    },
    TEST_MS,
  );
});

describe('with a clock that only the test moves', () => {
  it('a lease expires at its time and not before', async () => {
    const clock = new ManualClock();
    const server = new MemoryEtcd({ clock });
    const store = new MemoryStore(server);
    const { leaseId } = server.grantLease(3);
    await store.txn([], [{ put: '/k', value: '', lease: leaseId }]);
    await clock.advance(2_999);
    expect(await store.get('/k')).toBeDefined();
    await clock.advance(1);
    expect(await store.get('/k')).toBeUndefined();
    await store.close();
    server.close();
  });

  it('a session holds as long as its keep-alives are answered, and is lost before its lease is', async () => {
    const clock = new ManualClock();
    const server = new MemoryEtcd({ clock });
    const store = new MemoryStore(server);
    const session = await store.openSession(3_000);
    await store.txn([], [{ put: '/k', value: '', lease: session.leaseId }]);
    await clock.advance(60_000);
    expect({ lost: session.lost.aborted, held: session.remainingMs() > 0 }).toEqual({ lost: false, held: true });
    // A keep-alive goes out every second, the last one now: nine tenths of 3 s are left.
    server.freeze();
    await clock.advance(2_699);
    expect(session.lost.aborted).toBe(false);
    await clock.advance(1);
    expect(session.lost.aborted).toBe(true);
    server.thaw();
    expect(await store.get('/k')).toBeDefined();
    await store.close();
    server.close();
  });

  it('a deadline that passed unnoticed counts at once', async () => {
    const clock = new ManualClock();
    let skippedMs = 0;
    const blocked = { now: () => clock.now(), monotonic: () => clock.monotonic() + skippedMs, sleep: clock.sleep.bind(clock) };
    const server = new MemoryEtcd({ clock });
    const store = new MemoryStore(server, { clock: blocked });
    const session = await store.openSession(3_000);
    // As when the event loop was blocked: time has passed and no timer has run.
    skippedMs = 2_700;
    expect(session.remainingMs()).toBe(0);
    expect(session.lost.aborted).toBe(true);
    await store.close();
    server.close();
  });
});
