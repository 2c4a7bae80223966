import { macOfIp } from '#base/address.js';
import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import { FakeKernel } from '#linux/fake-kernel.js';
import { KernelReconciler } from '#linux/reconciler.js';
import type { Resource } from '#model/node-view.js';
import { applySnapshot } from '#model/view-state.js';
import { bridgeName, taskNamespace } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';
import { DesiredStore } from './desired-store.js';
import { NetworkLoop } from './loops/network.js';
import { makeNetwork, makeSnapshot, makeTask, NODE_ID, taskResource, until, withTempDir } from './spec-kit.js';

const network = makeNetwork('abcdef01');
const task = makeTask('aaaaaaaaaaaaaaaa', {
  endpoints: [{ networkId: network.id, ipv4: '10.1.0.7', mac: macOfIp('10.1.0.7'), aliases: [] }],
});
const resources: Resource[] = [{ kind: 'network', value: network }, taskResource(task)];

interface Rig {
  loop: NetworkLoop;
  kernel: FakeKernel;
  store: DesiredStore;
  may: { program: boolean };
  noted: string[];
  /** How often it was said that backends were taken out. */
  takenOut: { times: number };
  want(resources: Resource[]): void;
}

async function withRig(use: (rig: Rig) => Promise<void>, kernel = new FakeKernel()): Promise<void> {
  await withTempDir(async (dir) => {
    const store = await DesiredStore.open(dir, silentLog);
    const may = { program: true };
    const noted: string[] = [];
    const takenOut = { times: 0 };
    const loop = new NetworkLoop({
      kernel: new KernelReconciler({ kernel }),
      store,
      host: { nodeId: NODE_ID, address: '192.0.2.1' },
      mayProgram: () => may.program,
      onTasks: async (ids) => void noted.push(...ids),
      onTakenOut: () => void takenOut.times++,
      onDrift: () => undefined,
      clock: systemClock,
      log: silentLog,
    });
    loop.start();
    let revision = 1;
    const want = (r: Resource[]) => store.set(applySnapshot(makeSnapshot(++revision, [], { resources: r })));
    try {
      await use({ loop, kernel, store, may, noted, takenOut, want });
    } finally {
      await loop.stop();
      await store.flush();
    }
  });
}

describe('the network loop', () => {
  it('lets a task go on when its namespace is finished', () =>
    withRig(async ({ loop, kernel, want, noted }) => {
      const ready = loop.ready(task.id, 5_000);
      want(resources);
      expect(await ready).toBe(`/run/netns/${taskNamespace(task.id)}`);
      expect(Object.keys(kernel.state.namespaces[taskNamespace(task.id)]?.links ?? {})).toEqual(['lo', 'eth0']);
      expect(noted).toContain(task.id);
      want([]);
      await until(() => kernel.state.namespaces[taskNamespace(task.id)] === undefined);
      await expect(loop.ready(task.id, 20)).rejects.toMatchObject({ code: 'KERNEL' });
    }));

  it('says so when the kernel leads nobody any more to a backend that left, and which view that was', () =>
    withRig(async ({ loop, want, store, takenOut }) => {
      const vip = (...backends: string[]): Resource => ({
        kind: 'vip',
        value: { networkId: network.id, service: 'web', ipv4: '10.1.0.200', backends },
      });
      expect(loop.programmedRevision).toBe(0);
      want([...resources, vip('10.1.0.7', '10.1.0.8')]);
      await loop.ready(task.id, 5_000);
      expect(loop.programmedRevision).toBe(store.view.revision);
      expect(takenOut.times).toBe(0);
      want([...resources, vip('10.1.0.8')]);
      await until(() => takenOut.times === 1);
      expect(loop.programmedRevision).toBe(store.view.revision);
    }));

  it('touches nothing before a view is known, or while more may run than it knows', () =>
    withRig(async ({ kernel, may, want, loop }) => {
      may.program = false;
      want(resources);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(kernel.applied).toEqual([]);
      may.program = true;
      want(resources);
      await loop.ready(task.id, 5_000);
    }));

  it('says what the kernel refused, tries again, and lets nobody in before', async () => {
    class Stubborn extends FakeKernel {
      refusals = 2;
      override async apply(operations: readonly Operation[]) {
        const isBridge = (o: Operation) => o.op === 'addLink' && o.name === bridgeName(network.vni);
        if (!operations.some(isBridge) || this.refusals-- <= 0) return super.apply(operations);
        return { failed: operations.map((operation) => ({ operation, error: 'no memory' })) };
      }
    }
    await withRig(async ({ loop, want }) => {
      want(resources);
      await expect(loop.ready(task.id, 100)).rejects.toMatchObject({ why: expect.stringContaining('no memory') });
      await loop.ready(task.id, 5_000);
    }, new Stubborn());
  });
});
