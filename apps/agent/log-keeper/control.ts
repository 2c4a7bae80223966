/** The control socket: newline-delimited JSON, root only (mode 0600). */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import type { Log } from '#base/log.js';
import { WeftError, asWeftError } from '#base/errors.js';
import { decodeRequest, encodeError, encodeTap, fieldsOf, requestLines } from '#logs/keeper-protocol.js';
import { isLive } from '../live-socket.js';
import type { Keeper } from './keeper.js';

/**
 * Takes the socket before anything is ready: requests wait until `ready` resolves. @throws CONFLICT when another keeper listens there
 */
export async function listenControl(
  path: string,
  keeper: Keeper,
  ready: Promise<void>,
  log: Log,
): Promise<{ server: Server; close: () => void }> {
  if (await isLive(path)) throw new WeftError('CONFLICT', `another log keeper listens on ${path}`);
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, keeper, ready);
  });
  // The socket is made by bind with the mode that the umask leaves: there is no moment in which others can open it.
  const umask = process.umask(0o177);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  }).finally(() => process.umask(umask));
  await chmod(path, 0o600);
  server.on('error', (error) => log.error({ error: error.message }, 'control socket'));
  const close = (): void => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  };
  return { server, close };
}

/** How much of what a container prints may wait for one who looks on, in bytes, before the container does. */
const TAP_BACKLOG_BYTES = 256 * 1024;

type Connection = Parameters<Keeper['handle']>[1];

const connectionOf = (socket: Socket): Connection => ({
  send: (chunk) => void (socket.writable && socket.write(encodeTap(chunk))),
  isFull: () => !socket.destroyed && socket.writableLength > TAP_BACKLOG_BYTES,
  onRoom: (listener) => void socket.on('drain', listener),
  onClose: (listener) => void (socket.destroyed ? listener() : socket.once('close', listener)),
});

function serve(socket: Socket, keeper: Keeper, ready: Promise<void>): void {
  socket.on('error', () => undefined);
  const connection = connectionOf(socket);
  const split = requestLines(
    (line) => void answer(line, keeper, connection, ready).then((text) => socket.writable && socket.write(`${text}\n`)),
  );
  socket.on('data', (chunk) => {
    try {
      split(chunk);
    } catch {
      socket.destroy();
    }
  });
}

async function answer(line: string, keeper: Keeper, connection: Connection, ready: Promise<void>): Promise<string> {
  let id: unknown = null;
  try {
    const value: unknown = JSON.parse(line);
    id = fieldsOf(value)['id'] ?? null;
    const request = decodeRequest(value);
    await ready;
    return JSON.stringify({ id, ok: await keeper.handle(request, connection) });
  } catch (error) {
    const known =
      error instanceof SyntaxError
        ? new WeftError('BAD_VALUE', 'the request is no JSON')
        : asWeftError(error, 'INTERNAL', 'the log keeper failed');
    return JSON.stringify({ id, error: encodeError(known) });
  }
}
