import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import type { Log } from '#base/log.js';
import { callUnary, connect, openBidi, readStream } from '#rpc/client.js';
import {
  NodeClient,
  type ExecRequest,
  type ExecResponse,
  type ImageProgress,
  type LoadImageRequest,
  type LogsRequest,
} from '#rpc/gen/weft/v1/api.js';
import { FakeRuntime } from '#runtime/fake-runtime.js';
import { createCa, issue, type Ca } from '#trust/ca.js';
import { Callers } from './callers.js';
import { startNodeServer } from './node-service/server.js';
import { NODE_ID, withTempDir } from './spec-kit.js';

const TASK = 'aaaaaaaa';
const auth = { username: 'me', password: 'secret-word' };

interface Rig {
  client: NodeClient;
  runtime: FakeRuntime;
  dir: string;
  ca: Ca;
  port: number;
  logged: string[];
  restarted: unknown[];
}

async function withRig(use: (rig: Rig) => Promise<void>): Promise<void> {
  const ca = await createCa('c1c1c1c1');
  const runtime = new FakeRuntime({ images: ['busybox'], remote: [{ name: 'r.test/private:1', auth }, { name: 'busybox' }] });
  const logged: string[] = [];
  const restarted: unknown[] = [];
  const note = (fields: object, message: string) => void logged.push(JSON.stringify([fields, message]));
  const log: Log = { ...silentLog, info: note, warn: note, error: note };
  await withTempDir(async (dir) => {
    const server = await startNodeServer(
      { address: '127.0.0.1', port: 0, identity: await issue(ca, { role: 'node', id: NODE_ID, clusterId: 'c1c1c1c1' }) },
      {
        runtime,
        nodeName: 'n1',
        log,
        taskName: (id) => (id === TASK || id === 'bbbbbbbb' ? `shop-${id}` : undefined),
        logFile: (id) => join(dir, id, 'container.log'),
        volumes: '/nonexistent',
        volumeUsers: () => [],
        flush: async () => undefined,
        callers: new Callers(systemClock),
        tap: () => Promise.reject(new Error('nothing is attached to here')),
        task: () => undefined,
        restart: async (...asked) => void restarted.push(asked),
        container: (id) => (id === TASK ? { id, image: 'busybox', labels: {}, state: 'running' } : undefined),
      },
    );
    const client = connect(
      NodeClient,
      `127.0.0.1:${server.port}`,
      await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1c1c1c1' }),
      'node',
    );
    try {
      await use({ client, runtime, dir, ca, port: server.port, logged, restarted });
    } finally {
      client.close();
      await server.stop();
    }
  });
}

async function load(client: NodeClient, bytes: Buffer): Promise<ImageProgress[]> {
  const stream = openBidi<LoadImageRequest, ImageProgress>(client.loadImage());
  const seen: ImageProgress[] = [];
  const reading = (async () => {
    for await (const p of stream.messages) seen.push(p);
  })();
  await stream.send({ part: { $case: 'fileName', value: 'x.tar' } });
  await stream.send({ part: { $case: 'chunk', value: bytes } });
  stream.end();
  await reading;
  return seen;
}

async function prepare(
  client: NodeClient,
  ...images: { reference: string; refresh?: boolean; auth?: typeof auth }[]
): Promise<ImageProgress[]> {
  const request = {
    images: images.map(({ reference, refresh = false, auth }) => ({ reference, refresh, auth, digest: '', offline: false })),
  };
  const seen: ImageProgress[] = [];
  for await (const p of readStream(client.prepareImages(request))) seen.push(p);
  return seen;
}

describe('the node service', () => {
  it('answers controllers only', () =>
    withRig(async ({ ca, port }) => {
      for (const role of ['node', 'admin'] as const) {
        const stranger = connect(NodeClient, `127.0.0.1:${port}`, await issue(ca, { role, id: 'x1', clusterId: 'c1c1c1c1' }), 'node');
        await expect(callUnary(stranger, 'listImages', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
        stranger.close();
      }
    }));

  it('loads archives, and refuses what is none', () =>
    withRig(async ({ client }) => {
      expect((await load(client, Buffer.from('["web:1"]'))).at(-1)).toMatchObject({
        node: 'n1',
        message: 'loaded',
        image: { name: 'docker.io/library/web:1' },
      });
      await expect(load(client, Buffer.from('nonsense'))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
      expect((await callUnary(client, 'listImages', {})).nodes[0]?.images.map((i) => i.name)).toContain('docker.io/library/web:1');
    }));

  it('prepares images: what is here, what is pulled, and what fails, each in its own lines', () =>
    withRig(async ({ client, logged }) => {
      const seen = await prepare(client, { reference: 'busybox' }, { reference: 'r.test/private:1', auth }, { reference: 'r.test/none:1' });
      const end = (reference: string) => seen.filter((p) => p.reference === reference).at(-1);
      expect(end('busybox')).toMatchObject({ message: 'ready', image: { name: 'docker.io/library/busybox:latest' } });
      expect(end('r.test/private:1')?.image?.digest).toMatch(/^sha256:/);
      expect(end('r.test/none:1')).toMatchObject({ error: { code: 'IMAGE_UNKNOWN' } });
      expect(logged.join()).not.toContain(auth.password);
    }));

  it('refuses to pull with a wrong password', () =>
    withRig(async ({ client }) => {
      const seen = await prepare(client, { reference: 'r.test/private:1', auth: { ...auth, password: 'wrong' } });
      expect(seen.at(-1)).toMatchObject({ error: { code: 'UNAUTHENTICATED' } });
    }));

  it('asks the registry again only when told to, and keeps what is here when there is none', () =>
    withRig(async ({ client, runtime }) => {
      await load(client, Buffer.from('["local/only:1"]'));
      runtime.calls.length = 0;
      await prepare(client, { reference: 'busybox' });
      expect(runtime.calls.some((c) => c.startsWith('resolveRemote'))).toBe(false);
      const seen = await prepare(client, { reference: 'local/only:1', refresh: true });
      expect(seen.at(-1)).toMatchObject({ message: 'ready', image: { name: 'docker.io/local/only:1' } });
      expect(seen[0]?.message).toContain('could not be asked');
    }));

  it('reads logs of several tasks in the order of time, with tail, and follows', () =>
    withRig(async ({ client, dir }) => {
      for (const [id, lines] of Object.entries({ [TASK]: ['00:00:01', '00:00:03'], bbbbbbbb: ['00:00:02'] })) {
        await mkdir(join(dir, id));
        await writeFile(join(dir, id, 'container.log'), lines.map((t) => `2026-01-01T${t}.000Z stdout F at ${t}\n`).join(''));
      }
      const read = async (request: Partial<LogsRequest>, atMost = 100) => {
        const lines: string[] = [];
        for await (const r of readStream(client.logs({ stack: '', services: [], tasks: [TASK, 'bbbbbbbb'], follow: false, ...request }))) {
          lines.push(...r.lines.map((l) => `${l.taskName} ${l.text}`));
          if (lines.length >= atMost) break;
        }
        return lines;
      };
      expect(await read({})).toEqual(['shop-aaaaaaaa at 00:00:01', 'shop-bbbbbbbb at 00:00:02', 'shop-aaaaaaaa at 00:00:03']);
      expect(await read({ tail: 1 })).toEqual(['shop-bbbbbbbb at 00:00:02', 'shop-aaaaaaaa at 00:00:03']);
      expect((await read({ follow: true }, 3)).sort()).toEqual((await read({})).sort());
      await expect(read({ tasks: ['cccccccc'] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(read({ tasks: ['../../etc'] })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    }));

  it('has tasks that run restarted, and none of them where one does not', () =>
    withRig(async ({ client, restarted }) => {
      const both = { tasks: [TASK, 'bbbbbbbb'], drainMs: {} };
      await expect(callUnary(client, 'restartTasks', both)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(callUnary(client, 'restartTasks', { tasks: [TASK], graceMs: -1, drainMs: {} })).rejects.toMatchObject({
        code: 'BAD_VALUE',
      });
      expect(restarted).toEqual([]);
      const request = { tasks: [TASK], graceMs: 5, drainMs: { [TASK]: 700 } };
      expect(await callUnary(client, 'restartTasks', request)).toEqual({ tasks: [`shop-${TASK}`] });
      await callUnary(client, 'restartTasks', { tasks: [TASK], drainMs: {} });
      expect(restarted).toEqual([
        [TASK, { drainMs: 700, graceMs: 5 }],
        [TASK, { drainMs: 0 }],
      ]);
    }));

  it('runs a process: input, output, exit code last', () =>
    withRig(async ({ client, runtime }) => {
      await runtime.create({
        id: TASK,
        image: 'busybox',
        env: {},
        hostname: 'h',
        labels: {},
        mounts: [],
        netnsPath: '/x',
        stdio: { stdout: '/o', stderr: '/e' },
        command: ['sleep', 'infinity'],
      });
      await runtime.start(TASK);
      const start = (argv: string[], task = TASK): ExecRequest => ({
        message: {
          $case: 'start',
          value: { task, stack: '', service: '', index: 0, argv, tty: false, stdin: true, env: {}, columns: 0, rows: 0 },
        },
      });
      const run = async (first: ExecRequest, input?: string) => {
        const stream = openBidi<ExecRequest, ExecResponse>(client.exec());
        await stream.send(first);
        if (input !== undefined) await stream.send({ message: { $case: 'stdin', value: Buffer.from(input) } });
        stream.end();
        const seen: unknown[] = [];
        for await (const { message } of stream.messages)
          seen.push(message?.$case === 'exitCode' ? message.value : message?.value.toString());
        return seen;
      };
      expect(await run(start(['cat']), 'typed')).toEqual(['typed', 0]);
      expect(await run(start(['sh', '-c', 'echo hi; exit 4']))).toEqual(['hi\n', 4]);
      await expect(run(start(['true'], 'bbbbbbbb'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(run(start([]))).rejects.toMatchObject({ code: 'BAD_VALUE' });
      await expect(run({ message: { $case: 'stdin', value: Buffer.from('x') } })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    }));
});
