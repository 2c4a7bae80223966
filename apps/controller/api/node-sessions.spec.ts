import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { nodeStateSchema } from '#model/node.js';
import { MemoryEtcd } from '#store/memory-etcd.js';
import { MemoryStore } from '#store/memory-store.js';
import { ClusterFollower } from '../cluster/follower.js';
import { NodeSessions } from './node-sessions.js';

const NODE = 'aaaaaaa1';
const SESSION = keys.nodeSession(NODE);

/** Its transactions wait, as those of one that is cut off. */
class GatedStore extends MemoryStore {
  gate: Promise<void> = Promise.resolve();

  override async txn(...args: Parameters<MemoryStore['txn']>): ReturnType<MemoryStore['txn']> {
    await this.gate;
    return super.txn(...args);
  }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('it did not become so');
    await sleep(10);
  }
}

describe('sessions of nodes', () => {
  const etcd = new MemoryEtcd();
  const ends: (() => void | Promise<void>)[] = [() => etcd.close()];
  const controller = async (id: string) => {
    const store = new GatedStore(etcd);
    const follower = new ClusterFollower(store, silentLog, systemClock);
    const sessions = new NodeSessions(store, follower, id, silentLog, systemClock);
    ends.unshift(async () => {
      sessions.stop();
      await follower.stop();
      await store.close();
    });
    follower.start();
    await until(() => follower.current);
    sessions.start();
    return { store, follower, sessions };
  };
  afterAll(async () => {
    for (const end of ends) await end();
  });

  it('vouch for an agent that knows what was decided, once the leader has seen its node alive', async () => {
    const { store, follower, sessions } = await controller('ccccccc1');
    const say = async (state: 'ready' | 'down') => {
      const value = encode(nodeStateSchema.parse({ nodeId: NODE, state, since: 0 }));
      const { revision } = await store.txn([], [{ put: keys.nodeState(NODE), value }]);
      await follower.reached(revision, 5_000);
    };
    await say('down');
    sessions.attached(NODE);
    await until(() => sessions.fence(NODE) !== undefined);
    const { modRevision = 0 } = sessions.fence(NODE) ?? {};
    expect(sessions.vouches(NODE, modRevision)).toBe(false);
    await say('ready');
    sessions.heard(NODE);
    expect([modRevision - 1, modRevision].map((shown) => sessions.vouches(NODE, shown))).toEqual([false, true]);
    expect(sessions.vouches('aaaaaaa2', modRevision)).toBe(false);
  });

  it('are not taken back by a controller that could not write one while the agent went on to another', async () => {
    const [late, other] = [await controller('ccccccc2'), await controller('ccccccc3')];
    const taken: string[] = [];
    late.sessions.onTaken = (nodeId) => taken.push(nodeId);
    let open: () => void = () => undefined;
    late.store.gate = new Promise((resolve) => (open = resolve));
    late.sessions.attached(NODE);
    other.sessions.attached(NODE);
    await until(async () => (await other.store.get(SESSION))?.value === 'ccccccc3');
    const { modRevision } = (await other.store.get(SESSION)) ?? {};
    open();
    await until(() => {
      other.sessions.heard(NODE);
      return taken.length > 0;
    });
    expect(taken).toEqual([NODE]);
    expect(late.sessions.fence(NODE)).toBeUndefined();
    expect(await other.store.get(SESSION)).toMatchObject({ value: 'ccccccc3', modRevision });
  });
});
