/**
 * The name server: `node main.js --control SOCKET --state FILE`. Answers the names of this node's networks, apart from the
 * agent, so that an agent's restart leaves no name unanswered. Ends in order on SIGTERM or SIGINT.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '#base/errors.js';
import type { NameConfig } from '#dns/name-config.js';
import { NameServer } from '#dns-server/name-server.js';
import { listenControl } from './control.js';
import { jsonLog } from './json-log.js';
import { readState, writeState } from './state-file.js';

const USAGE = 'usage: main.js --control SOCKET --state FILE\n';
const log = jsonLog('name-server');

function die(error: unknown): never {
  log.error({ error: messageOf(error) }, 'name server ends');
  process.exit(1);
}

function parsePaths(argv: readonly string[]): { control: string; state: string } {
  try {
    const { control, state } = parseArgs({ args: [...argv], options: { control: { type: 'string' }, state: { type: 'string' } } }).values;
    if (control && state) return { control, state };
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
  }
  process.stderr.write(USAGE);
  process.exit(2);
}

/** Sets one after another: applied first, as names matter more than the file, then kept. */
function setter(server: NameServer, state: string): (config: NameConfig) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (config) => {
    last = last
      .catch(() => undefined)
      .then(() => {
        server.set(config);
        return writeState(state, config);
      });
    return last;
  };
}

async function restore(server: NameServer, state: string): Promise<void> {
  try {
    const config = await readState(state);
    if (config) server.set(config);
  } catch (error) {
    // The agent says it all again; a file that cannot be read is no reason to answer nothing until then.
    log.error({ error: messageOf(error) }, 'could not read the state');
  }
}

async function main(argv: readonly string[]): Promise<void> {
  const { control, state } = parsePaths(argv);
  const server = new NameServer({ log });
  const pidFile = `${state}.pid`;
  const verbs = { set: setter(server, state), status: () => ({ ...server.status(), pid: process.pid }) };
  await restore(server, state);
  const closeControl = await listenControl(control, verbs, log);
  await mkdir(dirname(pidFile), { recursive: true, mode: 0o700 });
  await writeFile(pidFile, `${process.pid}\n`, { mode: 0o600 });
  const end = (signal: string): void => {
    closeControl();
    server.close();
    void rm(pidFile, { force: true }).then(() => {
      log.info({ signal }, 'name server ends in order');
      process.exit(0);
    }, die);
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
