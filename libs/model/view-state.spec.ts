import type { Resource, ViewSnapshot } from './node-view.js';
import { applyDelta, applySnapshot, byKind, emptyView, judge, toSnapshot } from './view-state.js';
import { taskSchema } from './task.js';

const task = (id: string): Resource => ({
  kind: 'task',
  value: taskSchema.parse({
    id,
    stack: 's',
    service: 'web',
    slot: 1,
    nodeId: 'aabbccdd',
    name: 's-web-1',
    specHash: 'h',
    container: { image: 'x' },
    createdAt: 1,
  }),
});
const A = 'aaaaaaaa';
const B = 'bbbbbbbb';
const base: ViewSnapshot = { clusterId: 'c1', revision: 10, resources: [task(A), task(B)], tombstones: [] };
const held = applySnapshot(base);
const grave = (taskId: string) => ({ taskId, nodeId: 'aabbccdd', reason: 'removed', at: 1 });

describe('a view', () => {
  it('is the same after a delta as after the snapshot of the same state', () => {
    const delta = { clusterId: 'c1', revision: 11, upserts: [task('cccccccc')], removals: [`task/${A}`], tombstones: [grave(A)] };
    const after = applyDelta(held, delta);
    expect(byKind(after).tasks.map((t) => t.id)).toEqual([B, 'cccccccc']);
    expect(applySnapshot(toSnapshot(after))).toEqual(after);
  });
});

describe('judge', () => {
  const snapshot = (change: Partial<ViewSnapshot>) => ({ ...base, ...change });

  it('believes anything when nothing is held yet', () => {
    expect(judge(emptyView, snapshot({ clusterId: 'c9' }))).toEqual({ believe: true });
  });
  it('believes the same cluster going on', () => {
    expect(judge(held, snapshot({ revision: 10 }))).toEqual({ believe: true });
    expect(judge(held, snapshot({ revision: 12, resources: [task(B)], tombstones: [grave(A)] }))).toEqual({ believe: true });
  });
  it('does not believe another cluster, an older state, or tasks gone without a reason', () => {
    expect(judge(held, snapshot({ clusterId: 'c2', revision: 99 }))).toMatchObject({
      believe: false,
      reason: expect.stringContaining('c2'),
    });
    expect(judge(held, snapshot({ revision: 9 }))).toMatchObject({ believe: false, reason: expect.stringContaining('older') });
    expect(judge(held, snapshot({ revision: 12, resources: [task(B)] }))).toMatchObject({
      believe: false,
      reason: expect.stringContaining(A),
    });
  });
  it('holds deltas to the same rule', () => {
    const delta = { clusterId: 'c1', revision: 11, upserts: [], removals: [`task/${A}`], tombstones: [] };
    expect(judge(held, delta).believe).toBe(false);
    expect(judge(held, { ...delta, tombstones: [grave(A)] }).believe).toBe(true);
  });
});
