/** Configs and secrets on real etcd: who gets them, and where a secret cannot be found. */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CHUNK_BYTES, type ContentKind, type FileKind } from '#model/content.js';
import type { Stack } from '#model/stack.js';
import { callUnary, connect, readStream } from '#rpc/client.js';
import { AgentHubClient } from '#rpc/gen/weft/v1/agent_hub.js';
import type { ApiClient } from '#rpc/gen/weft/v1/api.js';
import { stackToWire } from '#rpc/wire.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, TestController, up, watchUntil } from './harness.js';

/** Every file below a directory, one after another. */
function bytesBelow(dir: string): Buffer[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [readFileSync(join(entry.parentPath, entry.name))] : [],
  );
}

describe('configs and secrets on a controller with real etcd', () => {
  let controller: TestController;
  let api: ApiClient;
  let one: FakeAgent;
  let two: FakeAgent;

  beforeAll(async () => {
    controller = await TestController.start();
    api = await controller.api();
    one = await FakeAgent.join(controller, 'n1');
    two = await FakeAgent.join(controller, 'n2');
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
  }, 60_000);

  afterAll(async () => {
    one?.detach();
    two?.detach();
    await controller?.dispose();
  });

  const store = async (kind: FileKind, text: string, dryRun = false): Promise<string> =>
    (await callUnary(api, 'storeFile', { kind, content: Buffer.from(text), dryRun })).contentId;

  const fetch = async (agent: FakeAgent, kind: ContentKind, id: string): Promise<string> => (await fetchBytes(agent, kind, id)).toString();

  async function fetchBytes(agent: FakeAgent, kind: ContentKind, id: string): Promise<Buffer> {
    const client = connect(AgentHubClient, controller.target, agent.identity, 'controller');
    try {
      const pieces: Buffer[] = [];
      for await (const { data } of readStream(client.fetchContent({ kind, id }))) pieces.push(data);
      return Buffer.concat(pieces);
    } finally {
      client.close();
    }
  }

  const stack = (secretId: string, configId: string): Stack =>
    makeStack(
      'vault',
      {
        web: {
          placement: { constraints: ['node.hostname == n1'] },
          container: {
            image: 'busybox',
            files: [
              { kind: 'secret', source: 's', target: '/run/secrets/s' },
              { kind: 'config', source: 'c', target: '/c' },
            ],
          },
        },
      },
      {
        secrets: { s: { key: 's', name: 'vault_s', contentId: secretId } },
        configs: { c: { key: 'c', name: 'vault_c', contentId: configId } },
      },
    );

  it('reach the node whose task needs them, and no other', async () => {
    const [secret, config] = [await store('secret', 'swordfish-1'), await store('config', 'plain text')];
    await up(api, stack(secret, config));
    await watchUntil(api, 'vault', isUp);
    const [on, off] = one.kinds.tasks.length > 0 ? [one, two] : [two, one];
    expect(await fetch(on, 'secret', secret)).toBe('swordfish-1');
    expect(await fetch(on, 'config', config)).toBe('plain text');
    await expect(fetch(off, 'secret', secret)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(fetch(off, 'config', config)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    // What an agent keeps on its disk is its view: no bytes of any of them are in it.
    expect(JSON.stringify([...on.view.resources.values()])).not.toMatch(/swordfish|plain text/);
    await expect(fetch(on, 'secret', 'x')).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });

  it('are known by the same id for the same bytes; a dry run stores nothing', async () => {
    expect(await store('secret', 'swordfish-1', true)).toBe(await store('secret', 'swordfish-1'));
    const dry = await store('config', 'only asked', true);
    await expect(up(api, stack(await store('secret', 'swordfish-1'), dry))).rejects.toMatchObject({
      code: 'CONFLICT',
      why: expect.stringContaining('is not in the cluster'),
    });
    await expect(store('config', 'x'.repeat(500_001))).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });

  it('that change replace the tasks that use them', async () => {
    const before = one.kinds.tasks.concat(two.kinds.tasks).map((t) => t.id);
    const [secret, config] = [await store('secret', 'swordfish-2'), await store('config', 'plain text')];
    const plan = await callUnary(api, 'planStack', { stack: stackToWire(stack(secret, config)) });
    expect(plan.steps.find((s) => s.name === 'web')).toMatchObject({ action: 'recreate', details: ['secret s changed (content)'] });
    expect(JSON.stringify(plan.steps)).not.toContain(secret);
    await up(api, stack(secret, config));
    const state = await watchUntil(api, 'vault', (s) => isUp(s) && s.tasks.every((t) => !before.includes(t.task?.id ?? '')));
    expect(state.tasks).toHaveLength(1);
  });

  it('that are external are made, listed, changed and removed by name', async () => {
    const content = Buffer.from('swordfish-3');
    const request = { kind: 'secret', name: 'shared', content, labels: { tier: 'db' }, replace: false };
    await callUnary(api, 'createFile', request);
    await expect(callUnary(api, 'createFile', request)).rejects.toMatchObject({ code: 'CONFLICT' });
    const user = {
      ...makeStack('user', { a: { container: { image: 'busybox', files: [{ kind: 'secret', source: 's', target: '/s' }] } } }),
    };
    const wanted = { ...user, secrets: { s: { key: 's', name: 'shared', external: true, labels: {} } } };
    await up(api, wanted);
    await watchUntil(api, 'user', isUp);
    const { files } = await callUnary(api, 'listFiles', { kind: 'secret' });
    expect(files).toMatchObject([
      { name: 'shared', stack: '', sizeBytes: 11, labels: { tier: 'db' }, users: ['user'] },
      { name: 'vault_s', stack: 'vault', sizeBytes: 11, users: ['vault'] },
    ]);
    const { users } = await callUnary(api, 'createFile', { ...request, content: Buffer.from('swordfish-4'), replace: true });
    expect(users).toEqual(['user']);
    const { steps } = await callUnary(api, 'planStack', { stack: stackToWire(wanted) });
    expect(steps.find((s) => s.name === 'a')).toMatchObject({ action: 'recreate' });
    await expect(callUnary(api, 'removeFile', { kind: 'secret', name: 'shared' })).rejects.toMatchObject({ code: 'CONFLICT' });
    await callUnary(api, 'removeStack', { name: 'user' });
    await watchUntil(api, 'user', (s) => !s.exists);
    await callUnary(api, 'removeFile', { kind: 'secret', name: 'shared' });
    await expect(callUnary(api, 'removeFile', { kind: 'secret', name: 'shared' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('may be larger: trees come in chunks, are checked as a whole, and reach their node', async () => {
    const archive = randomBytes(2 * CHUNK_BYTES + 100);
    const id = createHash('sha256').update(archive).digest('hex');
    const chunk = (index: number, of = id, data = archive.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)) =>
      callUnary(api, 'storeTreeChunk', { id: of, sizeBytes: archive.length, index, data });
    expect(await callUnary(api, 'findTrees', { ids: [id] })).toEqual({ missing: [id] });
    await expect(chunk(1)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(chunk(0, id, archive.subarray(0, 10))).rejects.toMatchObject({ code: 'BAD_VALUE' });
    await chunk(0);
    await chunk(1);
    const mount = { type: 'tree', source: 'conf', target: '/conf', readOnly: true, contentId: id };
    const half = makeStack('tree', { web: { container: { image: 'busybox', mounts: [mount] } } });
    await expect(up(api, half)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await callUnary(api, 'findTrees', { ids: [id] })).toEqual({ missing: [id] });
    await chunk(2);
    expect(await callUnary(api, 'findTrees', { ids: [id] })).toEqual({ missing: [] });
    await up(api, half);
    await watchUntil(api, 'tree', isUp);
    const [on, off] = one.task('tree-web-1') ? [one, two] : [two, one];
    expect(
      createHash('sha256')
        .update(await fetchBytes(on, 'tree', id))
        .digest('hex'),
    ).toBe(id);
    await expect(fetchBytes(off, 'tree', id)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const wrong = '0'.repeat(64);
    await chunk(0, wrong);
    await chunk(1, wrong);
    await expect(chunk(2, wrong)).rejects.toMatchObject({ code: 'BAD_VALUE' });
    expect(await callUnary(api, 'findTrees', { ids: [wrong] })).toEqual({ missing: [wrong] });
  });

  it('survive the controller; another one with the same keys hands them out too', async () => {
    await controller.end('SIGKILL');
    await controller.run();
    const second = await TestController.start({ name: 'c2', besides: controller });
    try {
      const other = await second.api();
      const id = await store('secret', 'swordfish-2', true);
      const again = await callUnary(other, 'storeFile', { kind: 'secret', content: Buffer.from('swordfish-2'), dryRun: true });
      expect(again.contentId).toBe(id);
      const agent = one.kinds.tasks.length > 0 ? one : two;
      const client = connect(AgentHubClient, second.target, agent.identity, 'controller');
      const pieces: Buffer[] = [];
      for await (const { data } of readStream(client.fetchContent({ kind: 'secret', id }))) pieces.push(data);
      client.close();
      expect(Buffer.concat(pieces).toString()).toBe('swordfish-2');
    } finally {
      await second.dispose();
    }
  }, 60_000);

  it('are nowhere in clear, secrets: not in etcd, not in a log, not in any file but where configs are', async () => {
    expect(statSync(join(controller.dir, 'pki/secret-keys.json')).mode & 0o777).toBe(0o600);
    const all = bytesBelow(controller.dir);
    const finds = (text: string) => all.some((bytes) => bytes.includes(text));
    // base64 of any three bytes in a row, in each of its three alignments.
    const encoded = (text: string) => [0, 1, 2].map((i) => Buffer.from(text.slice(i, i + 9)).toString('base64'));
    // What would be seen if it were there: a config is.
    expect(encoded('plain text').some(finds)).toBe(true);
    for (const secret of ['swordfish-1', 'swordfish-2', 'swordfish-3', 'swordfish-4'])
      expect([secret, ...encoded(secret)].filter(finds)).toEqual([]);
  });
});
