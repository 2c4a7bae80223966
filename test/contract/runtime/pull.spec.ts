/** Images from a registry: real containerd, real docker-registry with a password, on loopback. */
import { jest } from '@jest/globals';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { systemClock } from '#base/clock.js';
import type { WeftError } from '#base/errors.js';
import type { PullProgress } from '#runtime/runtime.js';
import { run } from '../../../apps/ctl/run.js';
import { RealHarness } from './real-harness.js';
import { freePort } from '../../fixtures/free-ports.js';
import { startRegistry } from './registry-process.js';
import type { RegistryProcess } from './registry-process.js';

/** Each case starts real processes, on a machine that may be busy. */
jest.setTimeout(60_000);

let h: RealHarness;
let registry: RegistryProcess;
let digest: string;
let layers: string[];
beforeAll(async () => {
  h = await RealHarness.start();
  registry = await startRegistry();
  ({ digest, layers } = await registry.push('team/app', '1.0', { 'etc/mark': 'pulled' }));
}, 60_000);
afterAll(async () => {
  await registry?.destroy();
  await h?.destroy();
}, 60_000);

const quiet = () => undefined;
const WRONG = { username: 'reader', password: 'not-it-9871' };
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error as WeftError,
  );

test('pulled with a password, by tag; it runs; progress is told', async () => {
  const seen: PullProgress[] = [];
  const name = `${registry.host}/team/app:1.0`;
  const image = await h.runtime.pullImage(name, registry.auth, (p) => seen.push(p));
  expect(image).toMatchObject({ name, digest });
  expect(await h.runtime.resolveImage(name)).toEqual(image);
  expect((await h.sh('cat /etc/mark /etc/second', { image: name })).stdout).toBe('pulledtwo');
  expect(seen.some((p) => p.totalBytes && p.doneBytes === p.totalBytes)).toBe(true);
  expect(seen.at(-1)?.message).toContain('ready');
});

test('tag to digest without pulling; then by digest alone, under the name that was asked for', async () => {
  const tagged = `${registry.host}/team/app:1.0`;
  expect(await h.runtime.resolveRemote(tagged, registry.auth)).toEqual({ digest });
  for (const name of [`${registry.host}/team/app@${digest}`, `${registry.host}/team/app:1.0@${digest}`]) {
    expect(await h.runtime.resolveRemote(name, registry.auth)).toEqual({ digest });
    expect(await h.runtime.pullImage(name, registry.auth, quiet)).toMatchObject({ name, digest });
    expect((await h.sh('cat /etc/mark', { image: name })).stdout).toBe('pulled');
  }
});

test('ctl config --resolve-image-digests asks the registry itself, with the login of docker', async () => {
  const host = registry.host;
  const auth = Buffer.from(`${registry.auth.username}:${registry.auth.password}`).toString('base64');
  const dir = await mkdtemp(join(tmpdir(), 'weft-config-'));
  const ctl = async (...flags: string[]) => {
    const stdout = new PassThrough();
    const streams = { stdin: new PassThrough(), stdout, stderr: new PassThrough() };
    const env = { WEFT_CONFIG_DIR: join(dir, 'none'), DOCKER_CONFIG: dir, HOME: dir };
    const rest = { cwd: dir, clock: systemClock, setExitCode: quiet, setRaw: quiet, onSignal: () => quiet };
    const code = await run(['config', ...flags], { ...streams, ...rest, env });
    stdout.end();
    streams.stderr.end();
    return { code, out: await readAll(stdout), err: await readAll(streams.stderr) };
  };
  try {
    await writeFile(join(dir, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
    const pinnedAlready = `${host}/team/app@${digest}`;
    const file = `name: shop\nservices:\n  web: { image: "${host}/team/app:1.0", scale: 2 }\n  old: { image: "${pinnedAlready}" }\n  made: { build: . }\n`;
    await writeFile(join(dir, 'compose.yaml'), file);
    expect(await ctl('--images', '--resolve-image-digests')).toMatchObject({
      code: 0,
      out: `${host}/team/app:1.0@${digest}\n${pinnedAlready}\nshop-made\n`,
    });
    expect(await ctl('--lock-image-digests')).toMatchObject({
      code: 0,
      out: `services:\n  made: {}\n  old:\n    image: ${pinnedAlready}\n  web:\n    image: ${host}/team/app:1.0@${digest}\n`,
    });
    await writeFile(join(dir, 'compose.yaml'), `services: { web: { image: "${host}/team/none:1" } }\n`);
    expect(await ctl('--resolve-image-digests')).toMatchObject({ code: 1, out: '', err: expect.stringContaining('team/none') });
  } finally {
    await rm(dir, { recursive: true });
  }
});

test('what is here already is not fetched again', async () => {
  const second = await registry.push('team/other', '1', { 'etc/mark': 'pulled', 'etc/more': 'x' });
  const shared = second.layers.filter((layer) => layers.includes(layer));
  expect(shared).toHaveLength(1);
  await h.runtime.pullImage(`${registry.host}/team/other:1`, registry.auth, quiet);
  const gets = (await registry.requests()).filter((line) => line.includes(`team/other/blobs/${shared[0]}`) && line.includes('GET'));
  expect(gets).toEqual([]);
});

describe('refusals', () => {
  test.each([
    ['no password', undefined],
    ['a wrong password', WRONG],
  ])('%s', async (_, auth) => {
    const name = `${registry.host}/team/app:1.0`;
    for (const attempt of [() => h.runtime.pullImage(name, auth, quiet), () => h.runtime.resolveRemote(name, auth)]) {
      const error = await failure(attempt());
      expect(error.code).toBe('UNAUTHENTICATED');
      expect([error.message, error.hint, String(error.cause)].join()).not.toContain(WRONG.password);
    }
  });
  test.each(['team/app:2.0', 'team/none:1', `team/app@sha256:${'e'.repeat(64)}`])('%s does not exist', async (name) => {
    expect(await failure(h.runtime.pullImage(`${registry.host}/${name}`, registry.auth, quiet))).toMatchObject({ code: 'IMAGE_UNKNOWN' });
    expect(await failure(h.runtime.resolveRemote(`${registry.host}/${name}`, registry.auth))).toMatchObject({ code: 'IMAGE_UNKNOWN' });
  });
  test('a registry that is not there', async () => {
    expect(await failure(h.runtime.pullImage(`127.0.0.1:${await freePort()}/x:1`, registry.auth, quiet))).toMatchObject({
      code: 'RUNTIME',
      why: expect.stringContaining('ECONNREFUSED'),
    });
  });
  test('a damaged layer', async () => {
    const bad = await registry.push('team/bad', '1', { 'etc/mark': 'damaged' });
    const path = registry.blobPath(bad.layers[0] as string);
    const bytes = await readFile(path);
    bytes.writeUInt8((bytes[bytes.length - 100] as number) ^ 0xff, bytes.length - 100);
    await writeFile(path, bytes);
    const error = await failure(h.runtime.pullImage(`${registry.host}/team/bad:1`, registry.auth, quiet));
    expect(error).toMatchObject({ code: 'IMAGE_INVALID', message: expect.stringContaining(bad.layers[0] as string) });
    expect(await h.runtime.resolveImage(`${registry.host}/team/bad:1`)).toBeUndefined();
  });
});

/** Registries that docker-registry cannot play: token servers, redirects, liars. */
describe('a scripted registry', () => {
  let server: Server;
  let host: string;
  let handle: (request: IncomingMessage, response: ServerResponse) => void;
  const authorizations: (string | undefined)[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      authorizations.push(`${request.url?.split('?')[0]} ${request.headers.authorization?.split(' ')[0] ?? '-'}`);
      handle(request, response);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => void authorizations.splice(0));
  afterAll(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const proxy = async (request: IncomingMessage, response: ServerResponse) => {
    const headers = {
      authorization: `Basic ${Buffer.from(`${registry.auth.username}:${registry.auth.password}`).toString('base64')}`,
      accept: String(request.headers.accept),
    };
    const answer = await fetch(`http://${registry.host}${request.url}`, { method: request.method, headers });
    response.writeHead(answer.status, {
      'content-type': answer.headers.get('content-type') ?? '',
      'docker-content-digest': answer.headers.get('docker-content-digest') ?? '',
    });
    response.end(Buffer.from(await answer.arrayBuffer()));
  };

  test('a token for the one repository, from a token server', async () => {
    let query = '';
    handle = (request, response) => {
      if (request.url?.startsWith('/token')) {
        query = request.url;
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token: 'abc' }));
      } else if (request.headers.authorization === 'Bearer abc') void proxy(request, response);
      else
        response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="http://${host}/token",service="reg, istry",scope="repository:team/app:pull"`,
          })
          .end();
    };
    expect(await h.runtime.pullImage(`${host}/team/app:1.0`, registry.auth, quiet)).toMatchObject({ digest });
    expect(new URL(query, 'http://x').searchParams.get('service')).toBe('reg, istry');
    expect(new URL(query, 'http://x').searchParams.get('scope')).toBe('repository:team/app:pull');
    // The password goes to the token server alone.
    expect(authorizations.filter((line) => line?.endsWith('Basic'))).toEqual(['/token Basic']);
    await h.runtime.removeImage(`${host}/team/app:1.0`);
  });

  test('a token server that is neither https nor this machine gets no password', async () => {
    handle = (_, response) => response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://auth.example.test/token"' }).end();
    expect(await failure(h.runtime.pullImage(`${host}/team/app:1.0`, registry.auth, quiet))).toMatchObject({
      code: 'UNAUTHENTICATED',
      why: expect.stringContaining('auth.example.test'),
    });
  });

  test('blobs elsewhere are fetched without our password', async () => {
    const elsewhere: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      elsewhere.push(request.headers.authorization);
      void proxy(request, response);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const otherHost = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    handle = (request, response) => {
      if (!request.headers.authorization) response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else if (request.url?.includes('/blobs/')) response.writeHead(307, { location: `http://${otherHost}${request.url}` }).end();
      else void proxy(request, response);
    };
    const pushed = await registry.push('team/moved', '1', { 'etc/mark': `moved-${Date.now()}` });
    expect(await h.runtime.pullImage(`${host}/team/moved:1`, registry.auth, quiet)).toMatchObject({ digest: pushed.digest });
    expect(elsewhere.length).toBeGreaterThan(0);
    expect(elsewhere.every((header) => header === undefined)).toBe(true);
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
  });

  test('a manifest that is not what was asked for', async () => {
    handle = (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"manifests":[]}');
    expect(await failure(h.runtime.pullImage(`${host}/team/app@${digest}`, undefined, quiet))).toMatchObject({
      code: 'IMAGE_INVALID',
      why: expect.stringContaining(digest),
    });
  });

  test('a stumble is tried again', async () => {
    let stumbles = 0;
    handle = (request, response) => (stumbles++ < 1 ? void response.writeHead(503).end() : void proxy(request, response));
    expect(await h.runtime.resolveRemote(`${host}/team/app:1.0`)).toEqual({ digest });
  });
});
