import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { silentLog } from '#base/log.js';
import { EXAMPLE } from '#dns/example-zone.js';
import type { NameConfig } from '#dns/name-config.js';
import { connectNameServer } from '#dns-server/control-client.js';
import { NameServer } from '#dns-server/name-server.js';
import { listenControl } from './control.js';
import { readState, writeState } from './state-file.js';

let directory: string;
const stops: (() => void)[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), `weft-names-${process.pid}-`));
});
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) stop();
  await rm(directory, { recursive: true, force: true });
});

/** No network: nothing is opened but the control socket. */
const CONFIG: NameConfig = { ...EXAMPLE, networks: [] };

async function start(set?: (config: NameConfig) => Promise<void>): Promise<string> {
  const path = join(directory, 'control.sock');
  const server = new NameServer();
  const verbs = {
    set: set ?? (async (config: NameConfig) => server.set(config)),
    status: () => ({ ...server.status(), pid: process.pid }),
  };
  stops.push(await listenControl(path, verbs, silentLog));
  return path;
}

async function client(path: string, deadlineMs?: number) {
  const connection = await connectNameServer(path, deadlineMs);
  stops.push(() => connection.close());
  return connection;
}

async function failureOf(promise: Promise<unknown>): Promise<WeftError> {
  const error: unknown = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof WeftError) return error;
  throw new Error(`no WeftError but ${String(error)}`);
}

describe('the control socket', () => {
  it('takes a configuration and tells what is in force', async () => {
    const path = await start();
    const { set, status } = await client(path);
    await set(CONFIG);
    expect(await status()).toMatchObject({ upstreams: EXAMPLE.upstreams, networks: [], records: 0, pid: process.pid });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('refuses what is no configuration, says why, and goes on', async () => {
    const { set, status } = await client(await start());
    await set(CONFIG);
    const error = await failureOf(set({ ...CONFIG, upstreams: ['nowhere'] }));
    expect([error.code, error.why]).toEqual(['BAD_VALUE', 'upstreams.0 is not the address of a resolver']);
    expect((await status()).upstreams).toEqual(EXAMPLE.upstreams);
  });

  it.each([
    ['no JSON', 'hello', { id: null, error: { code: 'BAD_VALUE' } }],
    ['no object', '[1]', { id: null, error: { code: 'BAD_VALUE' } }],
    ['no verb', '{"id":7}', { id: 7, error: { code: 'BAD_VALUE' } }],
  ])('answers a line that is %s', async (_what, line, expected) => {
    const socket = connect(await start());
    stops.push(() => socket.destroy());
    const answer = new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())));
    socket.write(`${line}\n`);
    expect(JSON.parse(await answer)).toMatchObject(expected);
  });

  it('is not taken from a name server that lives, but from one that is dead', async () => {
    const path = await start();
    expect((await failureOf(start())).code).toBe('CONFLICT');
    stops.pop()?.();
    await writeFile(path, '');
    await start();
    expect(await (await client(path)).status()).toMatchObject({ records: 0 });
  });
});

describe('the client', () => {
  it('does not wait for ever', async () => {
    const { set } = await client(await start(() => new Promise(() => undefined)), 100);
    expect((await failureOf(set(CONFIG))).code).toBe('TIMEOUT');
  });

  it('fails when nobody is there, and when the other end goes', async () => {
    expect((await failureOf(connectNameServer(join(directory, 'nobody')))).code).toBe('UNAVAILABLE');
    const connection = await client(await start(() => new Promise(() => undefined)));
    const waiting = failureOf(connection.set(CONFIG));
    stops.shift()?.();
    expect((await waiting).code).toBe('UNAVAILABLE');
    await connection.closed;
    expect((await failureOf(connection.status())).code).toBe('UNAVAILABLE');
  });
});

describe('the state file', () => {
  it('gives back what was written, nothing if there is none, and CORRUPT otherwise', async () => {
    const path = join(directory, 'sub', 'names.json');
    expect(await readState(path)).toBeUndefined();
    await writeState(path, EXAMPLE);
    expect(await readState(path)).toEqual(EXAMPLE);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFile(path, (await readFile(path)).subarray(0, 20));
    expect((await failureOf(readState(path))).code).toBe('CORRUPT');
  });
});
