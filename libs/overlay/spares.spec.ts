import fc from 'fast-check';
import { applyOperation } from './apply.js';
import { diff } from './diff.js';
import type { KernelState } from './kernel-state.js';
import { emptyKernel } from './kernel-state.js';
import { isSpareNamespace, spareNamespace, taskNamespace } from './names.js';
import { nodeKernel } from './node-kernel.js';
import { sparesIn, withoutSpares } from './spares.js';
import { arbitraryView, HOST, view } from '../../test/fixtures/netns-small-views.js';

const SPARES = 2;
const [spare = '', other = ''] = [0, 1].map((n) => spareNamespace(HOST.nodeId, n)).sort();
const wishOf = (view: Parameters<typeof nodeKernel>[0], spares = SPARES) => nodeKernel(view, { ...HOST, spares });

function applied(from: KernelState, to: KernelState): KernelState {
  const state = structuredClone(from);
  for (const operation of diff(to, from)) applyOperation(state, operation);
  return state;
}

describe('spare namespaces', () => {
  it('are taken for new tasks and made anew, whatever the states are', () => {
    fc.assert(
      fc.property(arbitraryView, arbitraryView, (a, b) => {
        const before = applied(emptyKernel(), wishOf(a));
        const to = wishOf(b);
        const plan = diff(to, before);
        const state = applied(before, to);
        expect(diff(to, state)).toEqual([]);
        expect(Object.keys(state.namespaces).sort()).toEqual(Object.keys(to.namespaces).sort());
        const added = Object.keys(to.namespaces).filter((ns) => !before.namespaces[ns]);
        const taken = plan.flatMap((o) => (o.op === 'takeNamespace' ? [o.ns] : []));
        expect(taken).toEqual(added.sort().slice(0, SPARES));
      }),
    );
  });

  it('go when none are wished any more', () => {
    fc.assert(
      fc.property(arbitraryView, (any) => {
        const state = applied(applied(emptyKernel(), wishOf(any)), wishOf(any, 0));
        expect(Object.keys(state.namespaces).filter(isSpareNamespace)).toEqual([]);
      }),
    );
  });

  it('are not taken when somebody changed them', () => {
    const before = applied(emptyKernel(), { namespaces: { ...emptyKernel().namespaces, ...onlySpares() } });
    const changed = structuredClone(before);
    (changed.namespaces[spare] as { nft: object }).nft = { 'ip weft': 'foreign' };
    const to = { namespaces: { ...before.namespaces, [taskNamespace('a'.repeat(12))]: emptyTask() } };
    expect(diff(to, before)[0]).toEqual({ op: 'takeNamespace', ns: taskNamespace('a'.repeat(12)), from: spare });
    expect(diff(to, changed).filter((o) => o.op === 'takeNamespace')).toEqual([
      { op: 'takeNamespace', ns: taskNamespace('a'.repeat(12)), from: other },
    ]);
  });

  it('are what a plan can do without, and all else of it holds', () => {
    fc.assert(
      fc.property(arbitraryView, arbitraryView, (a, b) => {
        const before = applied(emptyKernel(), wishOf(a));
        const plan = diff(wishOf(b), before);
        const { operations, desired } = withoutSpares(sparesIn(plan), plan, wishOf(b));
        const state = structuredClone(before);
        for (const operation of operations) applyOperation(state, operation);
        expect(diff(desired, state)).toEqual([]);
      }),
    );
  });
});

const onlySpares = () => Object.fromEntries(Object.entries(wishOf(view()).namespaces).filter(([ns]) => isSpareNamespace(ns)));
const emptyTask = () => structuredClone(wishOf(view()).namespaces[spare] as KernelState['namespaces'][string]);
