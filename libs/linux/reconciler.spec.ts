import { emptyNamespace, type KernelState } from '#overlay/kernel-state.js';
import { NODE_VIP_TABLE, spareNamespace } from '#overlay/names.js';
import { spareNamespaceState } from '#overlay/task-namespace.js';
import type { VipRecord } from '#overlay/vip-table.js';
import { FakeKernel } from './fake-kernel.js';
import type { ObserveOptions } from './kernel.js';
import { KernelReconciler } from './reconciler.js';

/** A kernel that takes its time to be read: what it says is what it held when the reading began. */
class SlowKernel extends FakeKernel {
  readonly #waiting: (() => void)[] = [];
  isSlow = false;

  override async observe(like: KernelState, options?: ObserveOptions): Promise<KernelState> {
    const seen = await super.observe(like, options);
    if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return seen;
  }

  override async tables(ns: string) {
    const seen = await super.tables(ns);
    if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return seen;
  }

  /** Readings under way end. */
  go(): void {
    this.isSlow = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

const wish = (vips: VipRecord, links: KernelState['namespaces'][string]['links'] = {}): KernelState => ({
  namespaces: { '': { ...emptyNamespace(), links, nft: { [NODE_VIP_TABLE]: 'maps' }, vips: { [NODE_VIP_TABLE]: vips } } },
});
const bridge = { wfb1: { kind: 'bridge', up: true, mac: '02:42:0a:01:00:fb', mtu: 1450 } } as const;
const [one, two, three] = [wish({ '10.1.0.200': '10.1.0.7' }), wish({ '10.1.0.200': '10.1.0.8' }), wish({})];

async function withRig(use: (kernel: SlowKernel, reconciler: KernelReconciler) => Promise<void>): Promise<void> {
  const kernel = new SlowKernel();
  const reconciler = new KernelReconciler({ kernel });
  expect((await reconciler.set(one)).failed).toEqual([]);
  await use(kernel, reconciler);
}

const vipsIn = (kernel: FakeKernel) => kernel.state.namespaces['']?.vips[NODE_VIP_TABLE];
/** Lets what can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a look beside changes', () => {
  it('holds up no change, and takes it for no drift', () =>
    withRig(async (kernel, reconciler) => {
      kernel.isSlow = true;
      const repairing = reconciler.repair();
      await settle();
      await reconciler.set(two);
      expect(vipsIn(kernel)).toEqual({ '10.1.0.200': '10.1.0.8' });
      kernel.go();
      expect(await repairing).toEqual({ repaired: [], failed: [] });
      expect(vipsIn(kernel)).toEqual({ '10.1.0.200': '10.1.0.8' });
    }));

  it('reads again, undisturbed, when several changes came or there is drift besides', () =>
    withRig(async (kernel, reconciler) => {
      kernel.isSlow = true;
      const first = reconciler.repair();
      await settle();
      await reconciler.set(two);
      await reconciler.set(three);
      kernel.go();
      expect(await first).toEqual({ repaired: [], failed: [] });

      await reconciler.set(wish({}, bridge));
      delete kernel.state.namespaces['']?.links['wfb1'];
      kernel.isSlow = true;
      const second = reconciler.repair();
      await settle();
      await reconciler.set(wish({ '10.1.0.200': '' }, bridge));
      kernel.go();
      const { repaired, wrong } = await second;
      expect(repaired).toEqual([expect.stringContaining('wfb1')]);
      expect(wrong).toHaveLength(1);
      expect(kernel.state.namespaces['']?.links).toEqual(bridge);
      expect(vipsIn(kernel)).toEqual({ '10.1.0.200': '' });
    }));

  it('says nothing at a glance of what was just changed, and finds drift elsewhere', () =>
    withRig(async (kernel, reconciler) => {
      kernel.isSlow = true;
      const glancing = reconciler.glance(['']);
      await settle();
      await reconciler.set(two);
      kernel.go();
      expect(await glancing).toEqual([]);
      const space = kernel.state.namespaces[''];
      if (space) space.nft[NODE_VIP_TABLE] = 'foreign';
      expect(await reconciler.glance([''])).toEqual(['']);
    }));

  it('fails as reading fails, unless a change explains it', () =>
    withRig(async (kernel, reconciler) => {
      const read = kernel.observe.bind(kernel);
      kernel.observe = () => Promise.reject(new Error('no such namespace'));
      await expect(reconciler.repair()).rejects.toThrow('no such namespace');
      await expect(reconciler.faults()).rejects.toThrow('no such namespace');
      let times = 0;
      kernel.observe = async (like, options) => {
        if (times++ > 0) return read(like, options);
        await reconciler.set(two);
        throw new Error('no such namespace');
      };
      expect(await reconciler.repair()).toEqual({ repaired: [], failed: [] });
      expect(times).toBe(2);
    }));
});

describe('spare namespaces', () => {
  const spares = Object.fromEntries([0, 1].map((n) => [spareNamespace('11111111', n), spareNamespaceState()]));
  const tasks = (...names: string[]): KernelState => ({
    namespaces: {
      '': emptyNamespace(),
      ...spares,
      ...Object.fromEntries(names.map((n) => [`weft-${n.repeat(12)}`, spareNamespaceState()])),
    },
  });
  const rig = () => {
    const kernel = new FakeKernel();
    return { kernel, reconciler: new KernelReconciler({ kernel }) };
  };

  it('are made behind what is waited for, and what is not there yet is no drift', async () => {
    const { kernel, reconciler } = rig();
    const setting = reconciler.set(tasks('a'));
    const looking = reconciler.repair();
    expect((await setting).operations.map((o) => o.ns)).toEqual(expect.not.arrayContaining(Object.keys(spares)));
    expect(await looking).toEqual({ repaired: [], failed: [] });
    expect(await reconciler.plan(tasks('a'))).toEqual([]);
    expect(kernel.state.namespaces).toEqual(tasks('a').namespaces);

    const { operations } = await reconciler.set(tasks('a', 'b'));
    expect(operations.map((o) => o.op)).toEqual(['takeNamespace']);
    expect(await reconciler.plan(tasks('a', 'b'))).toEqual([]);
    expect(kernel.state.namespaces).toEqual(tasks('a', 'b').namespaces);
  });

  it('are as wished also when one wish follows another at once, and drift of theirs is put right', async () => {
    const { kernel, reconciler } = rig();
    const sets = [tasks('a'), tasks('a', 'b'), tasks('b', 'c')].map((wish) => reconciler.set(wish));
    for (const { failed } of await Promise.all(sets)) expect(failed).toEqual([]);
    expect(await reconciler.plan(tasks('b', 'c'))).toEqual([]);
    expect(kernel.state.namespaces).toEqual(tasks('b', 'c').namespaces);
    const [first = ''] = Object.keys(spares);
    delete kernel.state.namespaces[first];
    expect((await reconciler.repair()).wrong).toEqual([`namespace ${first} was missing`]);
    expect(kernel.state.namespaces).toEqual(tasks('b', 'c').namespaces);
  });

  it('go with all of ours', async () => {
    const { kernel, reconciler } = rig();
    await reconciler.set(tasks('a'));
    expect((await reconciler.removeAll()).failed).toEqual([]);
    expect(Object.keys(kernel.state.namespaces)).toEqual(['']);
    expect(await reconciler.plan({ namespaces: {} })).toEqual([]);
  });
});
