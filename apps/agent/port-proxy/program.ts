/**
 * The port proxy: `node main.js --control SOCKET --state DIR`. Holds published ports for as long as it lives, apart from the
 * agent, so that an agent's restart cuts no connection to localhost. The agent says what to hold; nothing is kept in files.
 */
import { writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { asWeftError, messageOf } from '#base/errors.js';
import { encodeError, fieldsOf, lineReader } from '#dns-server/control-protocol.js';
import { isLive } from '../live-socket.js';
import { jsonLog } from '../name-server/json-log.js';
import { doorsSchema, PORT_PROXY_PROCESS } from './door.js';
import { PortProxy } from './proxy.js';

const log = jsonLog('port-proxy');

function die(error: unknown): never {
  log.error({ error: messageOf(error) }, 'port proxy ends');
  process.exit(1);
}

async function answer(line: string, proxy: PortProxy): Promise<string> {
  let id: unknown = null;
  try {
    const request = fieldsOf(JSON.parse(line));
    id = request['id'] ?? null;
    return JSON.stringify({ id, ok: await proxy.set(doorsSchema.parse(request['set'])) });
  } catch (error) {
    return JSON.stringify({ id, error: encodeError(asWeftError(error, 'BAD_VALUE', 'the port proxy cannot do that')) });
  }
}

function serve(socket: Socket, proxy: PortProxy): void {
  socket.on('error', () => undefined);
  const read = lineReader((line) => void answer(line, proxy).then((text) => socket.writable && socket.write(`${text}\n`)));
  socket.on('data', (chunk) => {
    try {
      read(chunk);
    } catch {
      socket.destroy();
    }
  });
}

async function main(argv: readonly string[]): Promise<void> {
  const { control } = parseArgs({ args: [...argv], options: { control: { type: 'string' }, state: { type: 'string' } } }).values;
  if (!control) die(new Error('usage: main.js --control SOCKET --state DIR'));
  // The name of the process only, not its command line, by which the agent finds it.
  writeFileSync('/proc/self/comm', PORT_PROXY_PROCESS);
  if (await isLive(control)) die(new Error(`another one listens on ${control}`));
  await mkdir(dirname(control), { recursive: true, mode: 0o700 });
  await rm(control, { force: true });
  const proxy = new PortProxy();
  const umask = process.umask(0o177);
  const server = createServer((socket) => serve(socket, proxy));
  server.once('error', die);
  server.listen(control, () => process.umask(umask));
  const end = (signal: string): void => {
    proxy.close();
    log.info({ signal }, 'port proxy ends in order');
    process.exit(0);
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  process.on('SIGHUP', () => undefined);
}

/** Runs until it is told to end; never returns before. @param argv options, without node and file */
export function program(argv: readonly string[]): void {
  process.on('uncaughtException', die);
  main(argv).catch(die);
}
