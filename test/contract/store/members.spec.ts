/** Three etcd members: one that dies or hangs must not take a client down with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTicksOf } from '#store/etcd-child.js';
import type { EtcdHandle } from '#store/etcd-process.js';
import { startEtcd } from '#store/etcd-process.js';
import { openEtcdStore } from '#store/etcd-store.js';
import type { Session, Store } from '#store/store.js';
import { freePort } from '../../fixtures/free-ports.js';
import { codeOf, put, TEST_MS } from './given.js';
import { FAST } from './harness.js';
import { eventually, Recorder } from './recorder.js';

const SESSION_TTL_MS = 4_000;
const NAMES = ['a', 'b', 'c'];

describe('a store on three members', () => {
  let base: string;
  let members: EtcdHandle[];
  let store: Store;
  let session: Session;
  let recorder: Recorder;

  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), `weft-members-${process.pid}-`));
    const peers: string[] = [];
    for (const _ of NAMES) peers.push(`http://127.0.0.1:${await freePort()}`);
    const cluster = NAMES.map((name, i) => `${name}=${peers[i]}`).join(',');
    members = await Promise.all(
      NAMES.map(async (name, i) =>
        startEtcd({
          dataDir: join(base, name),
          clientUrl: `http://127.0.0.1:${await freePort()}`,
          peerUrl: peers[i] ?? '',
          name,
          logFile: join(base, `${name}.log`),
          restart: false,
          extraArgs: [
            `--initial-cluster=${cluster}`,
            '--initial-cluster-token=members',
            '--heartbeat-interval=50',
            '--election-timeout=500',
          ],
        }),
      ),
    );
    store = await openEtcdStore({ endpoints: members.flatMap((m) => m.endpoints), timing: FAST });
    session = await store.openSession(SESSION_TTL_MS);
    recorder = new Recorder();
    store.follow('/m/', recorder.see);
    await recorder.until('the snapshot', (r) => r.count('snapshot') === 1);
  }, TEST_MS);
  afterAll(async () => {
    await store.close();
    // Asked politely, members wait for one another to take over.
    for (const { pid } of members) if (startTicksOf(pid) !== undefined) process.kill(pid, 'SIGKILL');
    await Promise.all(members.map((m) => m.stop()));
    rmSync(base, { recursive: true });
  }, TEST_MS);

  /** The same put again is harmless, so an unknown outcome is tried again. */
  async function writeOnce(key: string): Promise<void> {
    await eventually(`${key} is written`, async () => (await codeOf(put(store, key, 'v'))) === 'no error');
  }

  it.each([
    ['frozen', 'SIGSTOP'],
    ['killed', 'SIGKILL'],
  ] as const)(
    'reads, writes, follows and keeps its session while one is %s',
    async (fault, signal) => {
      const victim = members[fault === 'frozen' ? 0 : 1] as EtcdHandle;
      process.kill(victim.pid, signal);
      for (let i = 0; i < 10; i++) await writeOnce(`/m/${fault}/${i}`);
      expect((await store.list(`/m/${fault}/`)).entries).toHaveLength(10);
      await recorder.until('all ten followed', (r) => [...r.state.keys()].filter((k) => k.startsWith(`/m/${fault}/`)).length === 10);
      if (fault === 'frozen') await new Promise((resolve) => setTimeout(resolve, SESSION_TTL_MS));
      expect(session.lost.aborted).toBe(false);
      if (fault === 'frozen') process.kill(victim.pid, 'SIGCONT');
      await recorder.until('live', (r) => ['changes', 'live', 'snapshot'].includes(r.feeds.at(-1)?.type ?? ''));
      expect(recorder.faults).toEqual([]);
    },
    TEST_MS,
  );
});
