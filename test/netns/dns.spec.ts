/**
 * The name server as it runs on a node: the compiled process, in a node's namespace, asked by `dig` from other namespaces.
 * The LAN of the lab carries two networks of tasks and the way to a resolver outside.
 */
import { jest } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { systemClock } from '#base/clock.js';
import type { NameConfig, NetworkNamesConfig } from '#dns/name-config.js';
import { connectNameServer, type NameServerClient } from '#dns-server/control-client.js';
import { NetnsLab } from '../fixtures/netns-lab.js';

const MAIN = resolve('dist/apps/agent/name-server/main.js');
const PORT = 7753;
const [NODE, OUTSIDE] = ['192.168.77.1', '192.168.77.53'];
const [FRONT_GATEWAY, BACK_GATEWAY] = ['10.77.0.1', '10.78.0.1'];
const [WEB, DB_FRONT, DB_BACK, VAULT, STRANGER] = ['10.77.0.20', '10.77.0.30', '10.78.0.30', '10.78.0.40', '10.77.0.99'];
const PATIENCE_MS = 15_000;

jest.setTimeout(60_000);
const lab = new NetnsLab();
const ns = { node: '', outside: '', web: '', db: '', vault: '', stranger: '' };
let temp: string;
let server: ChildProcess;
let control: NameServerClient;

const many = (base: string): string[] => Array.from({ length: 100 }, (_, i) => `${base}.${i}`);

function network(
  id: string,
  more: Pick<NetworkNamesConfig, 'listen' | 'subnet' | 'clients' | 'records'> & Partial<NetworkNamesConfig>,
): NetworkNamesConfig {
  return { id, name: `shop_${id}`, stack: 'shop', internal: false, nodeAddresses: [], ptr: [], ...more };
}

const CONFIG: NameConfig = {
  ttlSeconds: 5,
  networks: [
    network('front', {
      listen: { address: FRONT_GATEWAY, port: PORT },
      subnet: '10.77.0.0/24',
      clients: [WEB, DB_FRONT],
      records: [
        { name: 'web', addresses: ['10.77.0.200'] },
        { name: 'tasks.web', addresses: [WEB, '10.77.0.21'] },
        { name: 'many', addresses: many('10.77.2') },
      ],
      ptr: [{ address: WEB, name: 'web-1.shop_front' }],
    }),
    network('back', {
      internal: true,
      listen: { address: BACK_GATEWAY, port: PORT },
      subnet: '10.78.0.0/24',
      clients: [DB_BACK, VAULT],
      records: [{ name: 'vault', addresses: [VAULT] }],
    }),
  ],
  tasks: [{ id: 'db', addresses: [DB_FRONT, DB_BACK] }],
  upstreams: [OUTSIDE],
};

/** What the resolver outside knows; it is a name server, too. */
const OUTSIDE_CONFIG: NameConfig = {
  ttlSeconds: 300,
  networks: [
    network('outside', {
      listen: { address: OUTSIDE, port: 53 },
      subnet: '192.168.77.0/24',
      clients: [NODE],
      records: [
        { name: 'www.example.com', addresses: ['192.0.2.80'] },
        { name: 'many.example.com', addresses: many('192.0.2') },
      ],
    }),
  ],
  tasks: [],
  upstreams: [],
};

interface Answer {
  status: string;
  flags: string;
  answers: string[];
  authority: string;
}

/** Asks with dig: `from` a namespace, `@gateway name type +flags`. */
async function dig(from: string, gateway: string, ...args: string[]): Promise<Answer> {
  const argv = ['dig', '+tries=1', '+time=5', '+noall', '+comments', '+answer', '+authority', '-p', String(PORT), `@${gateway}`, ...args];
  const { stdout } = await lab.attempt(from, argv);
  const section = (name: string): string[] =>
    (stdout.split(`;; ${name} SECTION:\n`)[1] ?? '')
      .split('\n\n')[0]
      ?.split('\n')
      .filter((line) => line !== '' && !line.startsWith(';')) ?? [];
  return {
    status: /status: (\w+)/.exec(stdout)?.[1] ?? stdout,
    flags: /flags: ([\w ]+);/.exec(stdout)?.[1] ?? '',
    answers: section('ANSWER').map((line) => line.split(/\s+/).slice(4).join(' ')),
    authority: section('AUTHORITY').join('\n'),
  };
}

const pathOf = (name: string): string => join(temp, name);

async function startServer(namespace: string, name: string): Promise<{ process: ChildProcess; client: NameServerClient }> {
  const child = lab.background(namespace, [process.execPath, MAIN, '--control', pathOf(`${name}.sock`), '--state', pathOf(`${name}.json`)]);
  const end = systemClock.monotonic() + PATIENCE_MS;
  for (;;) {
    const client = await connectNameServer(pathOf(`${name}.sock`)).catch(() => undefined);
    if (client) return { process: child, client };
    if (child.exitCode !== null || systemClock.monotonic() > end) throw new Error(`the name server in ${namespace} does not come up`);
    await systemClock.sleep(20);
  }
}

async function until(probe: () => Promise<boolean>): Promise<void> {
  for (const end = systemClock.monotonic() + PATIENCE_MS; !(await probe()); await systemClock.sleep(50)) {
    if (systemClock.monotonic() > end) throw new Error('it did not happen in time');
  }
}

const isOpen = async (client: NameServerClient): Promise<boolean> => (await client.status()).networks.every((n) => n.udp && n.tcp);

beforeAll(async () => {
  temp = await mkdtemp(join(tmpdir(), `weft-dns-${process.pid}-`));
  await lab.start();
  ns.node = await lab.host('node', NODE);
  ns.outside = await lab.host('outside', OUTSIDE);
  ns.web = await lab.host('web', WEB);
  ns.db = await lab.host('db', DB_FRONT);
  ns.vault = await lab.host('vault', VAULT);
  ns.stranger = await lab.host('stranger', STRANGER);
  await lab.batch(ns.db, [`addr add ${DB_BACK}/24 dev eth0`]);
  const outside = await startServer(ns.outside, 'outside');
  await outside.client.set(OUTSIDE_CONFIG);
  await until(() => isOpen(outside.client));
  outside.client.close();
  ({ process: server, client: control } = await startServer(ns.node, 'node'));
});

afterAll(async () => {
  control?.close();
  await lab.stop();
  await rm(temp, { recursive: true, force: true });
});

describe('the name server of a node', () => {
  it('waits for gateways that are not there yet', async () => {
    await control.set(CONFIG);
    await until(async () => (await control.status()).networks[0]?.problem === 'EADDRNOTAVAIL');
    expect(await isOpen(control)).toBe(false);
    await lab.batch(ns.node, [`addr add ${FRONT_GATEWAY}/24 dev eth0`, `addr add ${BACK_GATEWAY}/24 dev eth0`]);
    await until(() => isOpen(control));
    expect((await control.status()).networks[0]?.problem).toBeUndefined();
  });

  it.each([
    ['UDP', '+notcp'],
    ['TCP', '+tcp'],
  ])('answers by %s', async (_what, transport) => {
    const ask = (...args: string[]): Promise<Answer> => dig(ns.web, FRONT_GATEWAY, transport, ...args);
    expect(await ask('web')).toMatchObject({ status: 'NOERROR', flags: 'qr aa rd ra', answers: ['10.77.0.200'] });
    expect((await ask('tasks.web')).answers.sort()).toEqual([WEB, '10.77.0.21']);
    expect(await ask('web', 'AAAA')).toMatchObject({
      status: 'NOERROR',
      answers: [],
      authority: expect.stringContaining('SOA') as unknown,
    });
    expect(await ask('nosuch')).toMatchObject({ status: 'NXDOMAIN', authority: expect.stringContaining('SOA') as unknown });
    expect((await ask('-x', WEB)).answers).toEqual(['web-1.shop_front.']);
    expect((await ask('-x', '10.78.0.40')).status).toBe('NXDOMAIN');
    expect((await ask('www.example.com')).answers).toEqual(['192.0.2.80']);
    expect((await ask('vault')).status).toBe('NXDOMAIN');
  });

  it('refuses strangers, and clients of another network', async () => {
    expect((await dig(ns.stranger, FRONT_GATEWAY, 'web')).status).toBe('REFUSED');
    expect((await dig(ns.stranger, FRONT_GATEWAY, '+tcp', 'www.example.com')).status).toBe('REFUSED');
    await lab.batch(ns.web, [`route add ${BACK_GATEWAY} dev eth0 src ${WEB}`]);
    expect((await dig(ns.web, BACK_GATEWAY, 'vault')).status).toBe('REFUSED');
  });

  it('tells nothing from outside to a task that is on internal networks only', async () => {
    expect((await dig(ns.vault, BACK_GATEWAY, 'vault')).answers).toEqual([VAULT]);
    expect((await dig(ns.vault, BACK_GATEWAY, 'www.example.com')).status).toBe('SERVFAIL');
    expect((await dig(ns.db, BACK_GATEWAY, 'www.example.com')).answers).toEqual(['192.0.2.80']);
    expect((await dig(ns.db, BACK_GATEWAY, 'web')).answers).toEqual(['10.77.0.200']);
  });

  it.each(['many', 'many.example.com'])('cuts %s by UDP; dig comes back by TCP for the whole', async (name) => {
    expect((await dig(ns.web, FRONT_GATEWAY, name, '+ignore')).flags).toContain('tc');
    expect((await dig(ns.web, FRONT_GATEWAY, name, '+ignore', '+noedns')).flags).toContain('tc');
    const whole = await dig(ns.web, FRONT_GATEWAY, name);
    expect(whole.flags).not.toContain('tc');
    expect(whole.answers).toHaveLength(100);
  });

  it('is not blocked by clients that are stuck', async () => {
    const held = Array.from({ length: 12 }, () => lab.background(ns.web, ['busybox', 'nc', FRONT_GATEWAY, String(PORT)], true));
    for (const child of held) child.stdin?.write('\0');
    const established = async (): Promise<string> => lab.exec(ns.node, ['ss', '-Htn', 'state', 'established', `sport = :${PORT}`]);
    const areHeld = async (): Promise<boolean> => (await established()).trim().split('\n').length === held.length;
    await until(areHeld);
    expect((await dig(ns.db, FRONT_GATEWAY, '+tcp', 'web')).answers).toEqual(['10.77.0.200']);
    expect((await dig(ns.web, FRONT_GATEWAY, '+notcp', 'web')).answers).toEqual(['10.77.0.200']);
    expect(await areHeld()).toBe(true);
    for (const child of held) child.kill('SIGKILL');
    await until(async () => (await established()).trim() === '');
  });

  it('survives resolvers that no route leads to', async () => {
    await control.set({ ...CONFIG, upstreams: ['203.0.113.1', '2001:db8::1'] });
    expect((await dig(ns.web, FRONT_GATEWAY, 'www.example.com')).status).toBe('SERVFAIL');
    expect((await dig(ns.web, FRONT_GATEWAY, '+tcp', 'www.example.com')).status).toBe('SERVFAIL');
    await control.set({ ...CONFIG, upstreams: ['203.0.113.1', '2001:db8::1', OUTSIDE] });
    expect((await dig(ns.web, FRONT_GATEWAY, 'www.example.com')).answers).toEqual(['192.0.2.80']);
    await control.set(CONFIG);
  });

  it('answers again after kill -9 with nobody to tell it what', async () => {
    const killed = once(server, 'exit');
    server.kill('SIGKILL');
    await killed;
    await control.closed;
    expect((await dig(ns.web, FRONT_GATEWAY, 'web', '+time=1')).answers).toEqual([]);
    ({ process: server, client: control } = await startServer(ns.node, 'node'));
    await until(() => isOpen(control));
    expect((await dig(ns.web, FRONT_GATEWAY, 'web')).answers).toEqual(['10.77.0.200']);
  });

  it('ignores SIGHUP, and ends in order on SIGTERM', async () => {
    expect((await stat(pathOf('node.sock'))).mode & 0o777).toBe(0o600);
    const pid = Number(await readFile(pathOf('node.json.pid'), 'utf8'));
    process.kill(pid, 'SIGHUP');
    expect((await dig(ns.web, FRONT_GATEWAY, 'web')).answers).toEqual(['10.77.0.200']);
    expect(await control.status()).toMatchObject({ pid, records: 4 });
    const ended = once(server, 'exit');
    process.kill(pid, 'SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(existsSync(pathOf('node.sock'))).toBe(false);
    expect(existsSync(pathOf('node.json.pid'))).toBe(false);
  });

  it.each([[['--control', '/nowhere/x']], [['--wrong', 'x']], [['--control', '/nowhere/x', '--state', '/nowhere/y', 'more']]])(
    'refuses to start with %j',
    async (args) => {
      const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore' });
      expect(await once(child, 'exit')).toEqual([2, null]);
    },
  );
});
