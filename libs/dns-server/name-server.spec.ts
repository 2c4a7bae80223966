import { jest } from '@jest/globals';
import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer, type Socket as TcpSocket } from 'node:net';
import { systemClock } from '#base/clock.js';
import { Rcode, Type } from '#dns/constants.js';
import type { Message } from '#dns/message.js';
import type { NameConfig, NetworkNamesConfig } from '#dns/name-config.js';
import { encodeOutsideQuery, failureReply } from '#dns/respond.js';
import { decodeMessage, encodeMessage, encodeQuestion } from '#dns/wire.js';
import { NameServer, type NameServerOptions } from './name-server.js';
import { framed, frameReader } from './tcp-frames.js';

/** Every address of 127.0.0.0/8 is this machine's: a network of its own for each role. */
const GATEWAY = '127.77.0.1';
const CLIENT = '127.77.0.20';
const OTHER_CLIENT = '127.77.0.21';
const STRANGER = '127.77.9.9';
const INSIDE_GATEWAY = '127.78.0.1';
const INSIDE_CLIENT = '127.78.0.20';
const UPSTREAM = '127.79.0.53';
const DEADLINE_MS = 5_000;

jest.setTimeout(20_000);
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0).reverse()) stop();
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, GATEWAY, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

function network(port: number, more: Partial<NetworkNamesConfig> = {}): NetworkNamesConfig {
  return {
    id: 'front',
    name: 'shop_front',
    stack: 'shop',
    internal: false,
    listen: { address: GATEWAY, port },
    subnet: '127.77.0.0/20',
    nodeAddresses: [],
    clients: [CLIENT, OTHER_CLIENT],
    records: [
      { name: 'web', addresses: ['10.1.0.200'] },
      { name: 'tasks.web', addresses: ['10.1.0.20', '10.1.0.21', '10.1.0.22'] },
      { name: 'many', addresses: Array.from({ length: 100 }, (_, i) => `10.1.2.${i}`) },
    ],
    ptr: [],
    ...more,
  };
}

const inside = (port: number): NetworkNamesConfig =>
  network(port, {
    id: 'back',
    internal: true,
    listen: { address: INSIDE_GATEWAY, port },
    subnet: '127.78.0.0/20',
    clients: [INSIDE_CLIENT],
  });

const configOf = (networks: NetworkNamesConfig[], upstreams: string[] = []): NameConfig => ({
  ttlSeconds: 5,
  networks,
  tasks: [],
  upstreams,
});

async function eventually<T>(what: () => T | undefined | false, deadlineMs = DEADLINE_MS): Promise<T> {
  for (const end = systemClock.monotonic() + deadlineMs; ; await systemClock.sleep(10)) {
    const value = what();
    if (value) return value;
    if (systemClock.monotonic() > end) throw new Error('it did not happen in time');
  }
}

async function start(config: NameConfig, options: NameServerOptions = {}): Promise<NameServer> {
  const server = new NameServer(options);
  stops.push(() => server.close());
  server.set(config);
  await eventually(() => server.status().networks.every((n) => n.udp && n.tcp));
  return server;
}

let lastId = 0;
function query(name: string, type: number = Type.A, udpBytes?: number): Uint8Array {
  const question = encodeQuestion({ name, type, class: 1 });
  const edns = udpBytes === undefined ? undefined : { udpBytes, dnssecOk: false };
  return encodeOutsideQuery(
    { question, recursionDesired: true, authenticData: false, checkingDisabled: false, edns, limitBytes: 0 },
    ++lastId,
  );
}

/** What comes back by UDP. */
async function askUdp(from: string, to: NetworkNamesConfig, request: Uint8Array): Promise<Message> {
  return decodeMessage(await askUdpRaw(from, to, request));
}

async function askUdpRaw(from: string, to: NetworkNamesConfig, request: Uint8Array): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer')), DEADLINE_MS);
      socket.on('message', (bytes) => {
        clearTimeout(timer);
        resolve(bytes);
      });
      socket.bind(0, from, () => socket.send(request, to.listen.port, to.listen.address));
    });
  } finally {
    socket.close();
  }
}

function openTcp(from: string, to: NetworkNamesConfig): TcpSocket {
  const socket = connect({ host: to.listen.address, port: to.listen.port, localAddress: from });
  socket.on('error', () => undefined);
  stops.push(() => socket.destroy());
  return socket;
}

/** What comes back over a connection, message by message, until there are so many. */
function replies(socket: TcpSocket, count: number): Promise<Message[]> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no answer')), DEADLINE_MS);
    const got: Message[] = [];
    const read = frameReader((bytes) => {
      got.push(decodeMessage(bytes));
      if (got.length < count) return;
      clearTimeout(timer);
      resolve(got);
    });
    socket.on('data', read);
    socket.once('close', () => reject(new Error('closed')));
  });
}

async function askTcp(from: string, to: NetworkNamesConfig, request: Uint8Array): Promise<Message> {
  const socket = openTcp(from, to);
  const answer = replies(socket, 1);
  socket.write(framed(request));
  const [message] = await answer;
  return message as Message;
}

const addresses = (message: Message): string[] => message.answers.flatMap(({ data }) => (data.kind === 'A' ? data.address.join('.') : []));

/** A resolver that answers as `behave` says; UDP and TCP on one port. */
async function startUpstream(port: number, behave: (request: Buffer, transport: 'udp' | 'tcp') => Uint8Array | undefined, at = UPSTREAM) {
  const seen: { from: number; request: Buffer; transport: 'udp' | 'tcp' }[] = [];
  const udp: Socket = createSocket('udp4');
  udp.on('message', (request, from) => {
    seen.push({ from: from.port, request, transport: 'udp' });
    const answer = behave(request, 'udp');
    if (answer) udp.send(answer, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, at, resolve));
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    const read = frameReader((request) => {
      seen.push({ from: socket.remotePort ?? 0, request, transport: 'tcp' });
      const answer = behave(request, 'tcp');
      if (answer) socket.end(framed(answer));
    });
    socket.on('data', read);
  });
  await new Promise<void>((resolve) => tcp.listen(port, at, resolve));
  stops.push(
    () => udp.close(),
    () => tcp.close(),
  );
  return seen;
}

/** An answer with one address. */
function outsideAnswer(request: Buffer, octet = 1, truncated = false): Uint8Array {
  const { id, questions } = decodeMessage(request);
  const question = questions[0] ?? { name: '', type: 1, class: 1 };
  return encodeMessage({
    ...decodeMessage(failureReply(request, Rcode.NOERROR)),
    id,
    truncated,
    question: { name: question.name, bytes: request.subarray(12, 12 + encodeQuestion(question).length) },
    answers: truncated ? [] : [{ name: question.name, ttlSeconds: 300, data: { kind: 'A', address: Uint8Array.of(192, 0, 2, octet) } }],
    authorities: [],
  });
}

describe('the name server', () => {
  it('answers its clients by UDP and TCP, refuses strangers, keeps networks apart', async () => {
    const port = await freePort();
    const [front, back] = [network(port), inside(port)];
    const server = await start(configOf([front, back]));
    for (const ask of [askUdp, askTcp]) {
      expect(addresses(await ask(CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
      expect((await ask(CLIENT, front, query('nosuch'))).rcode).toBe(Rcode.NXDOMAIN);
      expect((await ask(CLIENT, front, query('web', Type.AAAA))).rcode).toBe(Rcode.NOERROR);
      expect((await ask(STRANGER, front, query('web'))).rcode).toBe(Rcode.REFUSED);
      expect((await ask(INSIDE_CLIENT, front, query('web'))).rcode).toBe(Rcode.REFUSED);
      expect((await ask(INSIDE_CLIENT, back, query('example.com'))).rcode).toBe(Rcode.SERVFAIL);
    }
    expect(server.status().counters).toMatchObject({ udpRequests: 6, tcpRequests: 6, refused: 4, dropped: 0 });
  });

  it('gives kept answers with the id and the letters of each request, and in turn', async () => {
    const front = network(await freePort());
    await start(configOf([front]));
    const firsts: string[] = [];
    for (let i = 0; i < 6; i++) {
      const request = query('tasks.web');
      const message = await askUdp(CLIENT, front, request);
      expect(message.id).toBe(((request[0] ?? 0) << 8) | (request[1] ?? 0));
      expect([...addresses(message)].sort()).toEqual(['10.1.0.20', '10.1.0.21', '10.1.0.22']);
      firsts.push(addresses(message)[0] as string);
    }
    expect(new Set(firsts.slice(0, 3)).size).toBe(3);
    expect(new Set(firsts.slice(3)).size).toBe(3);
  });

  it('cuts a large answer by UDP, and gives the whole by TCP', async () => {
    const front = network(await freePort());
    await start(configOf([front]));
    expect(await askUdp(CLIENT, front, query('many'))).toMatchObject({ truncated: true });
    const whole = await askTcp(CLIENT, front, query('many'));
    expect(whole.truncated).toBe(false);
    expect(addresses(whole)).toHaveLength(100);
  });

  it('drops what is no request, even an empty one, and goes on', async () => {
    const front = network(await freePort());
    const server = await start(configOf([front]));
    const socket = createSocket('udp4');
    stops.push(() => socket.close());
    for (const bytes of ['', '00', '0000', '000000000000000000000000ff'])
      socket.send(Buffer.from(bytes, 'hex'), front.listen.port, front.listen.address);
    await eventually(() => server.status().counters.udpRequests === 4);
    expect(addresses(await askUdp(CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
  });

  it('changes only what changed: sockets that stay, stay', async () => {
    const port = await freePort();
    const [front, back] = [network(port), inside(port)];
    const server = await start(configOf([front]));
    const connection = openTcp(CLIENT, front);
    const two = replies(connection, 2);
    connection.write(framed(query('web')));
    await eventually(() => server.status().counters.tcpRequests === 1);
    server.set(configOf([{ ...front, records: [{ name: 'web', addresses: ['10.1.0.201'] }] }, back]));
    connection.write(framed(query('web')));
    expect((await two).map(addresses)).toEqual([['10.1.0.200'], ['10.1.0.201']]);
    await eventually(() => server.status().networks.every((n) => n.udp && n.tcp));
    server.set(configOf([back]));
    expect(server.status().networks.map((n) => n.id)).toEqual(['back']);
    await eventually(() => connection.destroyed);
    expect(addresses(await askUdp(INSIDE_CLIENT, back, query('web')))).toEqual(['10.1.0.200']);
  });

  it('waits for an address that is taken, and says so', async () => {
    const front = network(await freePort());
    const holder = createSocket('udp4');
    await new Promise<void>((resolve) => holder.bind({ port: front.listen.port, address: GATEWAY, exclusive: true }, resolve));
    const server = new NameServer();
    stops.push(() => server.close());
    server.set(configOf([front]));
    await eventually(() => server.status().networks[0]?.problem === 'EADDRINUSE');
    expect(server.status().networks[0]?.udp).toBe(false);
    holder.close();
    await eventually(() => server.status().networks[0]?.udp);
    expect(server.status().networks[0]?.problem).toBeUndefined();
  });
});

describe('over TCP', () => {
  it('answers requests sent at once, and in pieces', async () => {
    const front = network(await freePort());
    await start(configOf([front]));
    const connection = openTcp(CLIENT, front);
    const three = replies(connection, 3);
    const bytes = Buffer.concat([framed(query('web')), framed(query('nosuch')), framed(query('web'))]);
    for (const part of [bytes.subarray(0, 1), bytes.subarray(1, 20), bytes.subarray(20)]) {
      connection.write(part);
      await systemClock.sleep(20);
    }
    expect((await three).map((m) => m.rcode)).toEqual([Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.NOERROR]);
  });

  it('lets stuck clients block nobody, and ends them', async () => {
    const front = network(await freePort());
    await start(configOf([front]), { tcp: { idleMs: 2_000, maxPerClient: 4 } });
    const request = framed(query('web'));
    const stuck = Array.from({ length: 6 }, () => openTcp(CLIENT, front));
    const closed = stuck.map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())));
    for (const socket of stuck) socket.write(request.subarray(0, 5));
    // One that sends a byte now and then, so that it is never idle, but too few to be a request in time.
    const drip = setInterval(() => stuck[0]?.writable && stuck[0].write(request.subarray(5, 6)), 400);
    stops.push(() => clearInterval(drip));
    const open = (): number => stuck.filter((socket) => !socket.closed).length;
    await eventually(() => open() === 4);
    expect(addresses(await askTcp(OTHER_CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
    expect(addresses(await askUdp(CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
    expect(open()).toBe(4);
    await Promise.all(closed);
    expect(addresses(await askTcp(CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
  });

  it('ends a client that asks and never reads', async () => {
    const front = network(await freePort());
    await start(configOf([front]), { tcp: { idleMs: 600 } });
    const connection = openTcp(CLIENT, front);
    connection.pause();
    const closed = new Promise<void>((resolve) => connection.once('close', () => resolve()));
    const batch = Buffer.concat(Array.from({ length: 200 }, () => framed(query('many'))));
    const push = setInterval(() => connection.writable && connection.writableLength < 1e6 && connection.write(batch), 5);
    stops.push(() => clearInterval(push));
    await closed;
    expect(addresses(await askTcp(CLIENT, front, query('web')))).toEqual(['10.1.0.200']);
  });
});

describe('names from outside', () => {
  it('are fetched with a random id and from a random port, and passed on as they are', async () => {
    const port = await freePort();
    const front = network(port);
    const seen = await startUpstream(port, (request) => outsideAnswer(request));
    await start(configOf([front], [`${UPSTREAM}:${port}`]));
    for (let i = 0; i < 8; i++) {
      const request = query(`host${i}.example.com`);
      const message = await askUdp(CLIENT, front, request);
      expect(message.answers).toMatchObject([{ ttlSeconds: 300, name: `host${i}.example.com` }]);
      expect(message.id).toBe(((request[0] ?? 0) << 8) | (request[1] ?? 0));
    }
    expect(new Set(seen.map((s) => s.from)).size).toBeGreaterThan(4);
    expect(new Set(seen.map((s) => s.request.readUInt16BE(0))).size).toBeGreaterThan(4);
  });

  it('are asked for once while they may be kept, in letters of random case; each client gets its own letters back', async () => {
    const port = await freePort();
    const front = network(port);
    const seen = await startUpstream(port, (request) => outsideAnswer(request));
    await start(configOf([front], [`${UPSTREAM}:${port}`]));
    const name = (request: Buffer) => request.subarray(13, 38).toString('latin1');
    for (let i = 0; i < 3; i++) {
      const request = Buffer.from(query('averylongname.example.com'));
      request.write(['AVERYLONG', 'AVeryLong', 'averylong'][i] ?? '', 13, 'latin1');
      const answer = await askUdpRaw(CLIENT, front, request);
      expect(name(answer)).toBe(name(request));
      expect(addresses(decodeMessage(answer))).toEqual(['192.0.2.1']);
    }
    expect(seen).toHaveLength(1);
    const asked = name(seen[0]?.request ?? Buffer.alloc(0));
    expect(asked).not.toBe(asked.toLowerCase());
    expect(asked).not.toBe(asked.toUpperCase());
  });

  it('in other letters than they were asked for are fetched by TCP, as somebody may have forged them', async () => {
    const port = await freePort();
    const front = network(port);
    const seen = await startUpstream(port, (request, transport) => {
      const folded = Buffer.from(request);
      folded.write(request.toString('latin1', 13, 38).toLowerCase(), 13, 'latin1');
      return outsideAnswer(folded, transport === 'udp' ? 66 : 7);
    });
    await start(configOf([front], [`${UPSTREAM}:${port}`]));
    expect(addresses(await askUdp(CLIENT, front, query('averylongname.example.com')))).toEqual(['192.0.2.7']);
    expect(seen.map((s) => s.transport)).toEqual(['udp', 'tcp']);
  });

  it('come from the resolvers of the task where it has some, and no further than the task itself could ask', async () => {
    const port = await freePort();
    const [front, back] = [network(port), inside(port)];
    const seen = await startUpstream(port, (request) => outsideAnswer(request, 5));
    const config = configOf([front, back], ['127.79.0.9:9']);
    const own = (address: string, upstream: string) => ({ id: address, addresses: [address], upstreams: [upstream] });
    const server = await start({ ...config, tasks: [own(CLIENT, `${UPSTREAM}:${port}`)] });
    // The node's loopback is nobody's resolver, and here every server is on it.
    expect((await askUdp(CLIENT, front, query('example.com'))).rcode).toBe(Rcode.SERVFAIL);
    expect(seen).toHaveLength(0);
    expect(server.status().counters.forwarded).toBe(0);
  });

  it('are not believed with another id or question', async () => {
    const port = await freePort();
    const front = network(port);
    await startUpstream(port, (request) => {
      const forged = Buffer.from(outsideAnswer(request, 66));
      forged.writeUInt16BE((request.readUInt16BE(0) + 1) & 0xffff, 0);
      return forged;
    });
    const server = await start(configOf([front], [`${UPSTREAM}:${port}`]), { forwarder: { timeoutMs: 200 } });
    expect((await askUdp(CLIENT, front, query('example.com'))).rcode).toBe(Rcode.SERVFAIL);
    expect(server.status().counters).toMatchObject({ forwarded: 1, failed: 1 });
  });

  it('come from the next server if one is dead, silent or failing, and a silent one is then asked last', async () => {
    const port = await freePort();
    const front = network(port);
    const silent = await startUpstream(port, () => undefined, '127.79.0.1');
    await startUpstream(port, (request) => failureReply(request, Rcode.SERVFAIL), '127.79.0.2');
    await startUpstream(port, (request) => outsideAnswer(request, 3), '127.79.0.3');
    const upstreams = ['127.79.0.1', '127.79.0.2', '127.79.0.3'].map((a) => `${a}:${port}`);
    const server = await start(configOf([front], upstreams), { forwarder: { timeoutMs: 600 } });
    expect(addresses(await askUdp(CLIENT, front, query('a.example.com')))).toEqual(['192.0.2.3']);
    expect(addresses(await askUdp(CLIENT, front, query('b.example.com')))).toEqual(['192.0.2.3']);
    expect(silent).toHaveLength(1);
    // Nobody listens at the first, and the kernel lets nobody connect to the second.
    server.set(configOf([front], [`127.79.0.9:${port}`, `255.255.255.255:${port}`, `127.79.0.3:${port}`]));
    expect(addresses(await askUdp(CLIENT, front, query('c.example.com')))).toEqual(['192.0.2.3']);
    server.set(configOf([front], [`127.79.0.2:${port}`]));
    expect((await askUdp(CLIENT, front, query('d.example.com'))).rcode).toBe(Rcode.SERVFAIL);
    server.set(configOf([front]));
    expect((await askUdp(CLIENT, front, query('e.example.com'))).rcode).toBe(Rcode.SERVFAIL);
  });

  it('that are too large come by TCP to a client by TCP', async () => {
    const port = await freePort();
    const front = network(port);
    const seen = await startUpstream(port, (request, transport) => outsideAnswer(request, 1, transport === 'udp'));
    await start(configOf([front], [`${UPSTREAM}:${port}`]));
    expect(await askUdp(CLIENT, front, query('example.com'))).toMatchObject({ truncated: true, answers: [] });
    expect(await askTcp(CLIENT, front, query('example.com'))).toMatchObject({ truncated: false, answers: [{ name: 'example.com' }] });
    expect(seen.map((s) => s.transport)).toEqual(['udp', 'udp', 'tcp']);
  });

  it('are asked within bounds, and equal questions once', async () => {
    const port = await freePort();
    const front = network(port);
    const seen = await startUpstream(port, () => undefined);
    await start(configOf([front], [`${UPSTREAM}:${port}`]), { forwarder: { timeoutMs: 1_500, maxPerClient: 2 } });
    const startedAt = systemClock.monotonic();
    const first = [
      askUdp(CLIENT, front, query('a.example.com')),
      askUdp(OTHER_CLIENT, front, query('a.example.com')),
      askUdp(CLIENT, front, query('b.example.com')),
    ];
    await eventually(() => seen.length === 2);
    expect((await askUdp(CLIENT, front, query('c.example.com'))).rcode).toBe(Rcode.SERVFAIL);
    expect(systemClock.monotonic() - startedAt).toBeLessThan(1_500);
    expect((await Promise.all(first)).map((m) => m.rcode)).toEqual([Rcode.SERVFAIL, Rcode.SERVFAIL, Rcode.SERVFAIL]);
    expect(seen).toHaveLength(2);
  });
});
