/** The other end of the log keeper's control socket: one connection, requests with deadlines. */
import { connect, type Socket } from 'node:net';
import { WeftError, messageOf } from '#base/errors.js';
import { decodeError, decodeTap, fieldsOf, requestLines, type OpenLog, type OpenRequest, type TapChunk } from './keeper-protocol.js';

const DEADLINE_MS = 5_000;

export interface LogKeeperVerbs {
  /**
   * Opens a container's log. When it resolves the FIFOs exist and are being read, and the keeper will open them again by itself
   * after a crash; only then may the container be created. Idempotent; it also changes the limits.
   * @throws CONFLICT when the container is open with other paths
   */
  open(source: OpenRequest): Promise<void>;
  /** Takes what is still in the pipes, writes it, closes, and removes the FIFOs (`remove`: and the log files). Resolves with false if it was not open. */
  close(container: string, options?: { remove?: boolean }): Promise<boolean>;
  list(): Promise<OpenLog[]>;
  /** Resolves when all that the container has printed is in the file. Resolves with false if the container is not open. */
  flush(container: string): Promise<boolean>;
}

export interface LogKeeperClient extends LogKeeperVerbs {
  /**
   * From now on what the container prints comes to `onTap` of this connection, too, in order, before the answer of a later `flush`.
   * The container waits where that is not read. @throws NOT_FOUND while its log is not open
   */
  tap(container: string): Promise<void>;
  /** Reads no more until `resume`: what the container prints waits. */
  pause(): void;
  resume(): void;
  disconnect(): void;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
}

interface Waiting {
  resolve: (ok: unknown) => void;
  reject: (error: WeftError) => void;
  timer: NodeJS.Timeout;
}

const gone = (path: string, why?: string): WeftError =>
  new WeftError('UNAVAILABLE', {
    what: `the log keeper at ${path} does not answer`,
    why,
    hint: 'The agent starts it again by itself; look at its log file.',
  });

/** @param onTap hears what a tapped container prints. @throws UNAVAILABLE when nothing listens there; TIMEOUT */
export async function connectLogKeeper(
  path: string,
  deadlineMs = DEADLINE_MS,
  onTap: (chunk: TapChunk) => void = () => undefined,
): Promise<LogKeeperClient> {
  const socket = await dial(path, deadlineMs);
  const waiting = new Map<number, Waiting>();
  const settle = (id: unknown): Waiting | undefined => {
    const entry = typeof id === 'number' ? waiting.get(id) : undefined;
    if (!entry) return undefined;
    clearTimeout(entry.timer);
    waiting.delete(id as number);
    return entry;
  };
  const onLine = (line: string): void => {
    const answer = fieldsOf(JSON.parse(line));
    const chunk = decodeTap(answer);
    if (chunk) return onTap(chunk);
    const entry = settle(answer['id']);
    if (answer['error'] === undefined) entry?.resolve(answer['ok']);
    else entry?.reject(decodeError(answer['error']));
  };
  const split = requestLines(onLine);
  socket.on('data', (chunk) => {
    try {
      split(chunk);
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined);
    }
  });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  void closed.then(() => {
    for (const id of [...waiting.keys()]) settle(id)?.reject(gone(path, 'the connection broke'));
  });

  let lastId = 0;
  const ask = (verb: string, fields: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(gone(path));
      const id = ++lastId;
      const timer = setTimeout(
        () => settle(id)?.reject(new WeftError('TIMEOUT', `the log keeper took longer than ${deadlineMs} ms to ${verb}`)),
        deadlineMs,
      );
      waiting.set(id, { resolve, reject, timer });
      socket.write(`${JSON.stringify({ ...fields, id, verb })}\n`);
    });
  return {
    ...verbsOver(ask),
    tap: async (container) => void (await ask('tap', { container })),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    disconnect: () => void socket.destroy(),
    closed,
  };
}

function verbsOver(ask: (verb: string, fields: object) => Promise<unknown>): LogKeeperVerbs {
  return {
    open: async (source) => void (await ask('open', source)),
    close: async (container, options = {}) =>
      fieldsOf(await ask('close', { container, remove: options.remove ?? false }))['found'] === true,
    flush: async (container) => fieldsOf(await ask('flush', { container }))['found'] === true,
    list: async () => fieldsOf(await ask('list', {}))['logs'] as OpenLog[],
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
