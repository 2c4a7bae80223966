import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Door } from './door.js';
import { PortProxy } from './proxy.js';

const proxy = new PortProxy();
const servers: Server[] = [];
const datagrams: UdpSocket[] = [];
afterAll(() => {
  proxy.close();
  for (const s of servers) s.close();
  for (const s of datagrams) s.close();
});

/** Says its name and then what it hears. @returns its port */
function tcpTask(name: string): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write(`${name}:`);
    socket.pipe(socket);
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
}

function udpTask(name: string): Promise<number> {
  const socket = createSocket('udp4');
  datagrams.push(socket);
  socket.on('message', (data, from) => socket.send(`${name}:${data.toString()}`, from.port, from.address));
  return new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve(socket.address().port)));
}

/** A port that nobody has just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => server.listen(0, () => resolve((server.address() as AddressInfo).port)));
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const door = (port: number, backends: number[], more: Partial<Door> = {}): Door => ({
  key: `${port}/${more.protocol ?? 'tcp'}`,
  protocol: 'tcp',
  port,
  backends: backends.map((p) => ({ address: '127.0.0.1', port: p })),
  ...more,
});

/** Sends `text`, ends its half, and resolves with all that came back. */
const ask = (host: string, port: number, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    let heard = '';
    socket.once('error', reject);
    socket.on('data', (b: Buffer) => (heard += b.toString()));
    socket.on('end', () => {
      socket.destroy();
      resolve(heard);
    });
    socket.end(text);
  });

const askUdp = (socket: UdpSocket, host: string, port: number, text: string): Promise<string> =>
  new Promise((resolve) => {
    socket.once('message', (data) => resolve(data.toString()));
    socket.send(text, port, host);
  });

const hears = (socket: Socket): Promise<string> => new Promise((resolve) => socket.once('data', (b: Buffer) => resolve(b.toString())));

it('passes TCP on from both families, half-closed too, and past a task that does not answer', async () => {
  const [port, dead] = [await freePort(), await freePort()];
  expect(await proxy.set([door(port, [dead, await tcpTask('a')])])).toEqual([]);
  for (const host of ['127.0.0.1', '::1', '127.0.0.1', '::1']) expect(await ask(host, port, 'hello')).toBe('a:hello');
});

it('leaves connections alone when backends change, sends new ones to the new, and resets when there is nobody', async () => {
  const port = await freePort();
  await proxy.set([door(port, [await tcpTask('old')])]);
  const socket = connect(port, '127.0.0.1');
  expect(await hears(socket)).toBe('old:');
  await proxy.set([door(port, [await tcpTask('new')])]);
  socket.write('still there');
  expect(await hears(socket)).toBe('still there');
  expect(await ask('127.0.0.1', port, '!')).toBe('new:!');
  await proxy.set([door(port, [])]);
  await expect(ask('127.0.0.1', port, '!')).rejects.toMatchObject({ code: 'ECONNRESET' });
  socket.destroy();
});

it('passes UDP on: one client keeps its task, and gets another when that one goes', async () => {
  const port = await freePort();
  const [a, b] = [await udpTask('a'), await udpTask('b')];
  const udp = (backends: number[]) => door(port, backends, { protocol: 'udp' });
  await proxy.set([udp([a])]);
  for (const [family, host] of [
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const) {
    const client = createSocket(family);
    datagrams.push(client);
    await proxy.set([udp([a])]);
    expect(await askUdp(client, host, port, '1')).toBe('a:1');
    await proxy.set([udp([a, b])]);
    for (const n of ['2', '3', '4']) expect(await askUdp(client, host, port, n)).toBe(`a:${n}`);
    await proxy.set([udp([b])]);
    expect(await askUdp(client, host, port, '5')).toBe('b:5');
  }
});

it('names the doors that somebody else has, takes them when they are free, and lets go of what is not wanted', async () => {
  const [port, udpPort] = [await freePort(), await freePort()];
  const somebody = createServer();
  servers.push(somebody);
  await new Promise<void>((resolve) => somebody.listen(port, '127.0.0.1', resolve));
  const other = createSocket('udp4').unref();
  await new Promise<void>((resolve) => other.bind(udpPort, '127.0.0.1', resolve));
  const wanted = [door(port, []), door(udpPort, [], { protocol: 'udp' })];
  expect(await proxy.set(wanted)).toEqual([`${port}/tcp`, `${udpPort}/udp`]);
  await new Promise((resolve) => somebody.close(resolve));
  other.close();
  expect(await proxy.set(wanted)).toEqual([]);
  const taken = new Promise((resolve, reject) =>
    createServer()
      .once('error', reject)
      .listen(port, '127.0.0.1', () => resolve(undefined)),
  );
  await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await proxy.set([]);
  await expect(ask('127.0.0.1', port, '')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

it("opens a port of one address there only; one that this host does not have is nobody's", async () => {
  const port = await freePort();
  const task = await tcpTask('only');
  expect(await proxy.set([door(port, [task], { address: '127.0.0.1' })])).toEqual([]);
  expect(await ask('127.0.0.1', port, '.')).toBe('only:.');
  await expect(ask('::1', port, '.')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  expect(await proxy.set([door(port, [task], { address: '203.0.113.9' })])).toEqual([]);
});
