import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog } from '#base/log.js';
import { Believer } from './believer.js';
import { DesiredStore } from './desired-store.js';
import { makeSnapshot, makeTask, taskResource, withTempDir } from './spec-kit.js';

const a = makeTask('aaaaaaaa');
const b = makeTask('bbbbbbbb', { slot: 2, name: 'shop-web-2' });
const tombstone = (taskId: string) => ({ taskId, nodeId: a.nodeId, reason: 'scaled down', at: 1 });

async function withBeliever(
  use: (believer: Believer, store: DesiredStore, changes: (string | undefined)[], dir: string) => Promise<void> | void,
  containers: string[] = [],
) {
  await withTempDir(async (dir) => {
    const store = await DesiredStore.open(dir, silentLog);
    const changes: (string | undefined)[] = [];
    const believer: Believer = new Believer(
      store,
      () => containers,
      () => changes.push(believer.quarantine),
      silentLog,
    );
    believer.streamBegan();
    await use(believer, store, changes, dir);
    await store.flush();
  });
}

const ids = (store: DesiredStore) => store.byKind.tasks.map((t) => t.id);

describe('what an agent believes', () => {
  it('takes a first snapshot and the deltas that follow', () =>
    withBeliever((believer, store) => {
      expect([store.isKnown, believer.isConfirmed]).toEqual([false, false]);
      believer.snapshot(makeSnapshot(5, [a]));
      believer.delta({
        clusterId: 'c1c1c1c1',
        revision: 6,
        upserts: [taskResource(b)],
        removals: [`task/${a.id}`],
        tombstones: [tombstone(a.id)],
      });
      expect(ids(store)).toEqual([b.id]);
      expect([store.view.revision, believer.isConfirmed, believer.quarantine]).toEqual([6, true, undefined]);
    }));

  const refused: [string, Parameters<typeof makeSnapshot>][] = [
    ['another cluster', [9, [a], { clusterId: 'dddddddd' }]],
    ['the past', [4, [a]]],
    ['an emptied store', [9, []]],
  ];
  it.each(refused)('keeps its view and says why when a snapshot speaks of %s', (_what, args) =>
    withBeliever((believer, store, changes) => {
      believer.snapshot(makeSnapshot(5, [a]));
      believer.streamBegan();
      believer.snapshot(makeSnapshot(...args));
      expect(ids(store)).toEqual([a.id]);
      expect(changes).toEqual([expect.any(String)]);
      expect(believer.isConfirmed).toBe(false);
      // What builds on a refused snapshot means nothing.
      believer.delta({ clusterId: 'c1c1c1c1', revision: 10, upserts: [taskResource(b)], removals: [], tombstones: [] });
      expect(ids(store)).toEqual([a.id]);
    }),
  );

  it('refuses a delta that drops a task without a reason, and recovers with a good snapshot', () =>
    withBeliever((believer, store, changes) => {
      believer.snapshot(makeSnapshot(5, [a, b]));
      believer.delta({ clusterId: 'c1c1c1c1', revision: 6, upserts: [], removals: [`task/${a.id}`], tombstones: [] });
      expect(ids(store)).toEqual([a.id, b.id]);
      believer.streamBegan();
      believer.snapshot(makeSnapshot(7, [b], { tombstones: [tombstone(a.id)] }));
      expect(ids(store)).toEqual([b.id]);
      expect(changes).toEqual([expect.stringContaining(a.id), undefined]);
    }));

  it('takes anything once after it was told to accept', () =>
    withBeliever((believer, store) => {
      believer.snapshot(makeSnapshot(5, [a]));
      believer.snapshot(makeSnapshot(1, [], { clusterId: 'dddddddd' }));
      believer.accept();
      believer.snapshot(makeSnapshot(1, [], { clusterId: 'dddddddd' }));
      expect([ids(store), store.view.clusterId, believer.quarantine]).toEqual([[], 'dddddddd', undefined]);
      believer.snapshot(makeSnapshot(1, [], { clusterId: 'eeeeeeee' }));
      expect(store.view.clusterId).toBe('dddddddd');
    }));

  it('asks a first snapshot to explain the containers that are here', () =>
    withBeliever(
      (believer, store) => {
        believer.snapshot(makeSnapshot(5, []));
        expect([store.isKnown, believer.quarantine]).toEqual([false, expect.stringContaining(a.id)]);
        believer.snapshot(makeSnapshot(6, [a]));
        expect([ids(store), believer.quarantine]).toEqual([[a.id], undefined]);
      },
      [a.id],
    ));
});

describe('the desired state on disk', () => {
  it('is there for the next agent', () =>
    withBeliever(async (believer, store, _changes, dir) => {
      believer.snapshot(makeSnapshot(5, [a]));
      await store.flush();
      const next = await DesiredStore.open(dir, silentLog);
      expect(next.view).toEqual(store.view);
      expect(next.isKnown).toBe(true);
    }));

  it('is set aside when it cannot be read', () =>
    withTempDir(async (dir) => {
      await writeFile(join(dir, 'view.json'), '{"clusterId":"c1","revi');
      const store = await DesiredStore.open(dir, silentLog);
      expect(store.isKnown).toBe(false);
      expect(await readFile(join(dir, 'view.json.unreadable'), 'utf8')).toContain('revi');
    }));
});
