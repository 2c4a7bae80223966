/** The agent's handle on the port proxy: a process that is always there, and `set` over a connection made when needed. */
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { decodeError, fieldsOf, lineReader } from '#dns-server/control-protocol.js';
import { ensureCompanion } from '../companion.js';
import { heldSchema, type Door } from './door.js';

/** A small heap and few threads: it runs on every node, and is idle most of the time. */
export const NODE_FLAGS = ['--max-semi-space-size=2', '--max-old-space-size=128', '--v8-pool-size=1'];
const DEADLINE_MS = 2_000;

export interface PortProxyOptions {
  /** The compiled `port-proxy/main.js`. */
  mainPath: string;
  control: string;
  /** Directory of its pid file and own log. */
  state: string;
  log: Log;
  /** Called each time it is up, with nothing held yet unless it was adopted. */
  onUp: () => void;
}

export interface PortProxyLink {
  /** @returns keys of doors that somebody else has. @throws UNAVAILABLE, TIMEOUT, BAD_VALUE */
  set(doors: readonly Door[]): Promise<string[]>;
  /** Lets go of it; it lives on. */
  stop(): Promise<void>;
}

/** Adopts the running port proxy or starts one, and keeps it running. @throws UNAVAILABLE when it does not come up */
export async function ensurePortProxy(options: PortProxyOptions): Promise<PortProxyLink> {
  const { mainPath, control, state, log, onUp } = options;
  const companion = await ensureCompanion({
    name: 'port proxy',
    argv: [process.execPath, ...NODE_FLAGS, mainPath, '--control', control, '--state', state],
    control,
    pidFile: join(state, 'port-proxy.pid'),
    logFile: join(state, 'port-proxy.log'),
    log,
    onUp,
  });
  return {
    set: async (doors) => heldSchema.parse(await ask(control, { id: 1, set: doors })),
    stop: () => companion.stop(),
  };
}

/** One question, one answer, one connection: they are few. */
function ask(path: string, request: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(path);
    const end = (error?: Error, ok?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      if (error) reject(error);
      else resolve(ok);
    };
    const timer = setTimeout(() => end(new WeftError('TIMEOUT', `the port proxy took longer than ${DEADLINE_MS} ms`)), DEADLINE_MS);
    const gone = (): void => end(new WeftError('UNAVAILABLE', 'the port proxy does not answer'));
    socket.on('error', gone).on('close', gone);
    const read = lineReader((line) => {
      const answer = fieldsOf(JSON.parse(line));
      if (answer['error'] === undefined) end(undefined, answer['ok']);
      else end(decodeError(answer['error']));
    });
    socket.on('data', read);
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
