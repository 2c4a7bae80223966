/** The control socket: newline-delimited JSON, for the owner only (mode 0600). */
import { rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { WeftError, asWeftError, messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { decodeNameConfig, type NameConfig } from '#dns/name-config.js';
import { encodeError, fieldsOf, lineReader } from '#dns-server/control-protocol.js';
import type { NameServerStatus } from '#dns-server/name-server.js';
import { isLive } from '../live-socket.js';

export interface ControlVerbs {
  set(config: NameConfig): Promise<void>;
  status(): NameServerStatus & { pid: number };
}

/** Resolves with what closes it. @throws CONFLICT when another name server listens there */
export async function listenControl(path: string, verbs: ControlVerbs, log: Log): Promise<() => void> {
  if (await isLive(path)) throw new WeftError('CONFLICT', `another name server listens on ${path}`);
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, verbs);
  });
  // bind makes the socket with the mode that the umask leaves: there is no moment in which others can open it.
  const umask = process.umask(0o177);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  }).finally(() => process.umask(umask));
  server.on('error', (error) => log.error({ error: error.message }, 'control socket'));
  return () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
}

function serve(socket: Socket, verbs: ControlVerbs): void {
  socket.on('error', () => undefined);
  const read = lineReader((line) => void answer(line, verbs).then((text) => socket.writable && socket.write(`${text}\n`)));
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch {
      socket.destroy();
    }
  });
}

async function answer(line: string, verbs: ControlVerbs): Promise<string> {
  let id: unknown = null;
  try {
    const request = fieldsOf(parseJson(line));
    id = request['id'] ?? null;
    return JSON.stringify({ id, ok: await handle(request, verbs) });
  } catch (error) {
    return JSON.stringify({ id, error: encodeError(asWeftError(error, 'INTERNAL', 'the name server failed')) });
  }
}

async function handle(request: Record<string, unknown>, verbs: ControlVerbs): Promise<unknown> {
  if (request['set'] !== undefined) {
    await verbs.set(decodeNameConfig(request['set']));
    return true;
  }
  if (request['get'] === 'status') return verbs.status();
  throw new WeftError('BAD_VALUE', 'the request is neither {set} nor {get: "status"}');
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new WeftError('BAD_VALUE', { what: 'the request is no JSON', why: messageOf(error) });
  }
}
