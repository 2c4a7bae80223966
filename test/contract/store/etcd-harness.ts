/** A real etcd of the test's own, in a temporary directory, on free loopback ports. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { EtcdHandle } from '#store/etcd-process.js';
import { startEtcd } from '#store/etcd-process.js';
import { openEtcdStore } from '#store/etcd-store.js';
import type { Store } from '#store/store.js';
import type { Harness } from './harness.js';
import { FAST } from './harness.js';
import { eventually } from './recorder.js';
import { freePort } from '../../fixtures/free-ports.js';
import { freezeProcess } from '../../fixtures/freeze-process.js';

/** A heartbeat of 50 ms and elections of 500 ms let etcd grant leases of 1 s (its minimum is 1.5 elections). */
const QUICK_ETCD = ['--heartbeat-interval=50', '--election-timeout=500'];

export async function etcdHarness(): Promise<Harness> {
  const base = await mkdtemp(join(tmpdir(), `weft-store-${process.pid}-`));
  const dataDir = join(base, 'data');
  const [clientPort, peerPort] = [await freePort(), await freePort()];
  let identity = 1;
  const start = () =>
    startEtcd({
      dataDir,
      clientUrl: `http://127.0.0.1:${clientPort}`,
      peerUrl: `http://127.0.0.1:${peerPort}`,
      name: 'test',
      logFile: join(base, 'etcd.log'),
      restart: false,
      extraArgs: [...QUICK_ETCD, `--initial-cluster-token=test-${identity}`],
    });
  const stores: Store[] = [];
  let etcd: EtcdHandle = await start();
  const kill = async () => {
    const { pid } = etcd;
    process.kill(pid, 'SIGKILL');
    await eventually('etcd is gone', () => !isAlive(pid));
  };
  return {
    open: async ({ timing = FAST, clock } = {}) => {
      const store = await openEtcdStore({ endpoints: etcd.endpoints, timing, clock });
      stores.push(store);
      return store;
    },
    kill,
    restart: async () => {
      etcd = await start();
    },
    freeze: () => freezeProcess(etcd.pid),
    thaw: async () => void process.kill(etcd.pid, 'SIGCONT'),
    compact: () => compact(etcd.endpoints[0] ?? ''),
    empty: async ({ sameIdentity = false } = {}) => {
      await kill();
      await rm(dataDir, { recursive: true });
      if (!sameIdentity) identity++;
      etcd = await start();
    },
    stop: async () => {
      for (const store of stores) await store.close();
      await etcd.stop();
      await rm(base, { recursive: true, force: true });
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function compact(endpoint: string): Promise<void> {
  const etcdctl = async (...args: string[]) => (await promisify(execFile)('etcdctl', [`--endpoints=${endpoint}`, ...args])).stdout;
  const answer = JSON.parse(await etcdctl('get', '/', '--limit=1', '-w', 'json')) as { header: { revision: number } };
  await etcdctl('compact', String(answer.header.revision));
}
