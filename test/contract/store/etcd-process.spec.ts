/** A real etcd child through what happens to it and to its parent. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WeftError } from '#base/errors.js';
import { pidFileOf, startTicksOf } from '#store/etcd-child.js';
import type { EtcdHandle, EtcdOptions } from '#store/etcd-process.js';
import { clientOptions, startEtcd } from '#store/etcd-process.js';
import { openEtcdStore } from '#store/etcd-store.js';
import { createCa, issue } from '#trust/ca.js';
import { freePort } from '../../fixtures/free-ports.js';
import { eventually } from './recorder.js';

const TEST_MS = 60_000;
/** A zombie does not count: this process reaps its children when its event loop comes to it. */
const isRunning = (pid: number) => startTicksOf(pid) !== undefined;

describe('an etcd child', () => {
  let base: string;
  let options: EtcdOptions;
  let handles: EtcdHandle[];
  const start = async (more: Partial<EtcdOptions> = {}) => {
    const handle = await startEtcd({ ...options, ...more });
    handles.push(handle);
    return handle;
  };
  const withStore = async <T>(use: (store: Awaited<ReturnType<typeof openEtcdStore>>) => Promise<T>): Promise<T> => {
    const store = await openEtcdStore({ endpoints: [options.clientUrl] });
    try {
      return await use(store);
    } finally {
      await store.close();
    }
  };

  beforeEach(async () => {
    base = mkdtempSync(join(tmpdir(), `weft-etcd-${process.pid}-`));
    handles = [];
    options = {
      dataDir: join(base, 'data'),
      clientUrl: `http://127.0.0.1:${await freePort()}`,
      peerUrl: `http://127.0.0.1:${await freePort()}`,
      name: 'one',
      logFile: join(base, 'etcd.log'),
      extraArgs: ['--heartbeat-interval=50', '--election-timeout=500'],
    };
  });
  afterEach(async () => {
    await Promise.all(handles.map((h) => h.stop()));
    rmSync(base, { recursive: true });
  }, TEST_MS);

  it(
    'runs in a process group of its own, with a log file and no pipe, and ends when told to',
    async () => {
      const etcd = await start();
      const pgid = execFileSync('ps', ['-o', 'pgid=', '-p', String(etcd.pid)], { encoding: 'utf8' }).trim();
      expect(pgid).toBe(String(etcd.pid));
      expect([0, 1, 2].map((fd) => readlinkSync(`/proc/${etcd.pid}/fd/${fd}`))).toEqual(['/dev/null', options.logFile, options.logFile]);
      expect(await withStore((store) => store.health())).toMatchObject({ ok: true, alarms: [] });
      const { pid } = etcd;
      await etcd.stop();
      expect(isRunning(pid)).toBe(false);
      expect(existsSync(pidFileOf(options.dataDir))).toBe(false);
    },
    TEST_MS,
  );

  it(
    'is adopted, not doubled, and looked after by the one who adopted it',
    async () => {
      const first = await start();
      const { pid } = first;
      await withStore((store) => store.txn([], [{ put: '/k', value: 'kept' }]));
      first.detach();
      const second = await start();
      expect({ pid: second.pid, adopted: second.adopted }).toEqual({ pid, adopted: true });
      process.kill(pid, 'SIGKILL');
      await eventually('it is restarted', () => second.pid !== pid);
      expect(await withStore((store) => store.get('/k'))).toMatchObject({ value: 'kept' });
      const third = await start();
      expect(third.pid).toBe(second.pid);
    },
    TEST_MS,
  );

  it(
    'is replaced when it hangs, and restarted when its settings changed',
    async () => {
      const first = await start({ restart: false });
      await withStore((store) => store.txn([], [{ put: '/k', value: 'kept' }]));
      process.kill(first.pid, 'SIGSTOP');
      const second = await start({ restart: false, adoptWithinMs: 500 });
      expect(isRunning(first.pid)).toBe(false);
      const third = await start({ restart: false, extraArgs: [...(options.extraArgs ?? []), '--snapshot-count=5000'] });
      expect(isRunning(second.pid)).toBe(false);
      expect(third.adopted).toBe(false);
      expect(await withStore((store) => store.get('/k'))).toMatchObject({ value: 'kept' });
    },
    TEST_MS,
  );

  it(
    'is not taken for a process that got its pid later, and that process is left alone',
    async () => {
      const first = await start({ restart: false });
      const record = JSON.parse(readFileSync(pidFileOf(options.dataDir), 'utf8')) as object;
      await first.stop();
      writeFileSync(pidFileOf(options.dataDir), JSON.stringify({ ...record, pid: process.pid }));
      const second = await start({ restart: false });
      expect(second.adopted).toBe(false);
      expect(second.pid).not.toBe(process.pid);
      await second.stop();
      writeFileSync(pidFileOf(options.dataDir), '{"pid":');
      expect((await start({ restart: false })).adopted).toBe(false);
    },
    TEST_MS,
  );

  it(
    'is not restarted empty when its data are gone',
    async () => {
      const errors: string[] = [];
      const nothing = () => undefined;
      const log = { debug: nothing, info: nothing, warn: nothing, error: (_: object, message: string) => void errors.push(message) };
      const etcd = await start({ log });
      process.kill(etcd.pid, 'SIGKILL');
      await eventually('it is gone', () => !isRunning(etcd.pid));
      rmSync(options.dataDir, { recursive: true });
      await eventually('the keeper refuses', () => errors.length > 0);
      expect(errors[0]).toMatch('data of etcd are gone');
      await expect(openEtcdStore({ endpoints: [options.clientUrl] })).rejects.toMatchObject({ code: 'STORE' });
    },
    TEST_MS,
  );

  it(
    'says which port is taken',
    async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(Number(new URL(options.peerUrl).port), '127.0.0.1', resolve));
      const error = await start().catch((e: WeftError) => e);
      await new Promise((resolve) => server.close(resolve));
      expect(error).toMatchObject({ code: 'PORT_TAKEN', what: `etcd cannot listen on ${options.peerUrl}` });
    },
    TEST_MS,
  );

  it(
    'shows the last log lines when it exits',
    async () => {
      const error = await start({ extraArgs: [`--initial-cluster=other=${options.peerUrl}`] }).catch((e: WeftError) => e);
      expect(error).toMatchObject({ code: 'STORE', why: expect.stringContaining('find local name') });
      expect(existsSync(pidFileOf(options.dataDir))).toBe(false);
    },
    TEST_MS,
  );

  it(
    'serves, with certificates, only clients that carry the allowed name',
    async () => {
      const ca = await createCa('c1');
      const loopback: { type: 'ip'; value: string }[] = [{ type: 'ip', value: '127.0.0.1' }];
      const file = (name: string, text: string) => (writeFileSync(join(base, name), text, { mode: 0o600 }), join(base, name));
      const files = async (role: 'controller' | 'node') => {
        const { certPem, keyPem } = await issue(ca, { id: role, role, clusterId: 'c1' }, loopback);
        return { caFile: file('ca.pem', ca.certPem), certFile: file(`${role}.pem`, certPem), keyFile: file(`${role}.key`, keyPem) };
      };
      options.clientUrl = options.clientUrl.replace('http:', 'https:');
      options.peerUrl = options.peerUrl.replace('http:', 'https:');
      const tls = { ...(await files('controller')), allowedName: 'controller.weft' };
      await start({ tls });
      const store = await openEtcdStore(clientOptions({ ...options, tls }));
      expect((await store.txn([], [{ put: '/k', value: 'v' }])).ok).toBe(true);
      await store.close();
      const node = openEtcdStore(clientOptions({ ...options, tls: await files('node') }));
      await expect(node).rejects.toMatchObject({ code: 'STORE' });
      await expect(openEtcdStore({ endpoints: [options.clientUrl] })).rejects.toMatchObject({ code: 'STORE' });
    },
    TEST_MS,
  );
});
