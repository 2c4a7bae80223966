/**
 * The log keeper: `node main.js --control SOCKET --state DIRECTORY`. Holds the containers' stdout and stderr and writes
 * their logs, apart from the agent, so that an agent's restart stalls no container. Ends in order on SIGTERM or SIGINT.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '#base/errors.js';
import { listenControl } from './control.js';
import { jsonLog } from './json-log.js';
import { Keeper } from './keeper.js';

/** A flood leaves buffers behind that nobody would collect until the next one. */
const TIDY_MS = 5_000;
const TIDY_ABOVE_BYTES = 4 * 1024 * 1024;

const log = jsonLog('log-keeper');

function die(error: unknown): never {
  log.error({ error: messageOf(error) }, 'log keeper ends');
  process.exit(1);
}

async function main(argv: readonly string[]): Promise<void> {
  const { control, state } = parseArgs({ args: [...argv], options: { control: { type: 'string' }, state: { type: 'string' } } }).values;
  if (!control || !state) {
    process.stderr.write('usage: main.js --control SOCKET --state DIRECTORY\n');
    process.exit(2);
  }
  const keeper = new Keeper(state, log);
  let isReady = (): void => undefined;
  const ready = new Promise<void>((resolve) => (isReady = resolve));
  const { close } = await listenControl(control, keeper, ready, log);
  await keeper.restore();
  isReady();
  setInterval(() => {
    if (process.memoryUsage().arrayBuffers > TIDY_ABOVE_BYTES) globalThis.gc?.();
  }, TIDY_MS).unref();
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    close();
    void keeper.shutdown().then(() => {
      log.info({ signal }, 'log keeper ends in order');
      process.exit(0);
    }, die);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => undefined);
}

/** Runs until it is told to end; never returns before. @param argv options, without node and file */
export function program(argv: readonly string[]): void {
  process.on('uncaughtException', die);
  main(argv).catch(die);
}
