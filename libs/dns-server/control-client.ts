/** The agent's end of the name server's control socket: one connection, requests with deadlines. */
import { connect, type Socket } from 'node:net';
import { WeftError, messageOf } from '#base/errors.js';
import type { NameConfig } from '#dns/name-config.js';
import { decodeError, fieldsOf, lineReader } from './control-protocol.js';
import type { NameServerStatus } from './name-server.js';

const DEADLINE_MS = 3_000;

export interface NameServerClient {
  /** Replaces the whole configuration. When it resolves it is in force, and kept for a restart. Idempotent. @throws BAD_VALUE, UNAVAILABLE, TIMEOUT */
  set(config: NameConfig): Promise<void>;
  /** @throws UNAVAILABLE, TIMEOUT */
  status(): Promise<NameServerStatus>;
  close(): void;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
}

interface Waiting {
  resolve: (ok: unknown) => void;
  reject: (error: WeftError) => void;
  timer: NodeJS.Timeout;
}

const gone = (path: string, why: string): WeftError =>
  new WeftError('UNAVAILABLE', {
    what: `the name server at ${path} does not answer`,
    why,
    hint: 'The agent starts it again by itself; look at its log file.',
  });

/** @throws UNAVAILABLE when nothing listens there, or not within the deadline (milliseconds) */
export async function connectNameServer(path: string, deadlineMs = DEADLINE_MS): Promise<NameServerClient> {
  const socket = await dial(path, deadlineMs);
  const waiting = new Map<number, Waiting>();
  const take = (id: unknown): Waiting | undefined => {
    const entry = typeof id === 'number' ? waiting.get(id) : undefined;
    clearTimeout(entry?.timer);
    waiting.delete(id as number);
    return entry;
  };
  const read = lineReader((line) => {
    const answer = fieldsOf(JSON.parse(line));
    const entry = take(answer['id']);
    if (answer['error'] === undefined) entry?.resolve(answer['ok']);
    else entry?.reject(decodeError(answer['error']));
  });
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined);
    }
  });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  void closed.then(() => {
    for (const id of [...waiting.keys()]) take(id)?.reject(gone(path, 'the connection broke'));
  });

  let lastId = 0;
  const ask = (request: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(gone(path, 'the connection is closed'));
      const id = ++lastId;
      const late = (): void => take(id)?.reject(new WeftError('TIMEOUT', `the name server took longer than ${deadlineMs} ms`));
      waiting.set(id, { resolve, reject, timer: setTimeout(late, deadlineMs) });
      socket.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  return {
    set: async (config) => void (await ask({ set: config })),
    status: async () => (await ask({ get: 'status' })) as NameServerStatus,
    close: () => void socket.destroy(),
    closed,
  };
}

function dial(path: string, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => socket.destroy(new Error(`no connection within ${deadlineMs} ms`)), deadlineMs);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(gone(path, messageOf(error)));
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}
