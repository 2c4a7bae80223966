/** The agent's handle on its log keeper: a process that is always there, and verbs that survive its restarts. */
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { systemClock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { connectLogKeeper, type LogKeeperClient, type LogKeeperVerbs } from '#logs/keeper-client.js';
import type { TapChunk } from '#logs/keeper-protocol.js';
import { ensureCompanion, type Companion, type CompanionUp } from '../companion.js';

const DEADLINE_MS = 5_000;
const RETRY_MS = 30;
const PROBE_MS = 5_000;
/**
 * The keeper makes little garbage and holds little: a small heap, and no more threads than it needs. Measured idle PSS
 * is in the README.
 */
export const NODE_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=64', '--v8-pool-size=1', '--expose-gc'];
/** Two threads for files, and an allocator that gives large buffers back to the system after a flood. */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '2', MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '262144', MALLOC_TRIM_THRESHOLD_: '262144' };

export interface LogKeeperOptions {
  /** The compiled `log-keeper/main.js`. */
  mainPath: string;
  /** Control socket. */
  control: string;
  /** Directory of its state, pid file and own log. */
  state: string;
  log: Log;
  /** How long it may take to come up; 10 s if left out. */
  startDeadlineMs?: number;
  /** How often it is asked for a sign of life, and how long it may take to give one; 5 s if left out. */
  probeMs?: number;
  /** Called each time the keeper is up. */
  onUp?: (up: CompanionUp) => void;
}

/** Verbs as of the client, but each waits for a keeper that is just coming back, and is asked again if the keeper dies meanwhile (all are idempotent). */
export type LogKeeper = LogKeeperVerbs & LogTaps & Companion;

/** What a container prints, as it comes, until closed. */
export interface LogTap {
  /** Ends when the keeper does, or when `close` is called. */
  chunks: AsyncIterable<TapChunk>;
  /** Resolves when all that the container has printed so far has come. */
  flush(): Promise<void>;
  close(): void;
}

export interface LogTaps {
  /** @throws NOT_FOUND while the log is not open, UNAVAILABLE */
  tap(container: string): Promise<LogTap>;
}

/** Adopts the running keeper or starts one, and keeps it running. @throws UNAVAILABLE when it does not come up */
export async function ensureLogKeeper(options: LogKeeperOptions): Promise<LogKeeper> {
  const { mainPath, control, state, log, startDeadlineMs, probeMs = PROBE_MS, onUp } = options;
  const companion = await ensureCompanion({
    name: 'log keeper',
    argv: [process.execPath, ...NODE_FLAGS, mainPath, '--control', control, '--state', state],
    control,
    pidFile: join(state, 'log-keeper.pid'),
    logFile: join(state, 'log-keeper.log'),
    log,
    startDeadlineMs,
    env: ENVIRONMENT,
    probe: { everyMs: probeMs, ask: () => askForLife(control, probeMs) },
    onUp,
  });
  const link = new Link(control);
  const stopping = <T>(stop: () => Promise<T>) => {
    link.close();
    return stop();
  };
  return {
    open: (source) => link.ask((client) => client.open(source)),
    close: (container, how) => link.ask((client) => client.close(container, how)),
    flush: (container) => link.ask((client) => client.flush(container)),
    list: () => link.ask((client) => client.list()),
    tap: (container) => openTap(control, container),
    pid: companion.pid,
    stop: () => stopping(companion.stop),
    kill: () => stopping(companion.kill),
  };
}

/** A connection of its own: what is not read in one place holds up nothing else. */
async function openTap(control: string, container: string): Promise<LogTap> {
  const chunks = new PassThrough({ objectMode: true });
  const client = await connectLogKeeper(control, DEADLINE_MS, (chunk) => {
    if (!chunks.write(chunk)) client.pause();
  });
  chunks.on('drain', () => client.resume());
  void client.closed.then(() => chunks.end());
  try {
    await client.tap(container);
  } catch (error) {
    client.disconnect();
    throw error;
  }
  return {
    chunks,
    flush: async () => void (await client.flush(container)),
    close: () => client.disconnect(),
  };
}

async function askForLife(control: string, deadlineMs: number): Promise<void> {
  const client = await connectLogKeeper(control, deadlineMs);
  await client.list().finally(() => client.disconnect());
}

/** One connection, made when it is needed and again when it broke. */
class Link {
  readonly #path: string;
  #client: Promise<LogKeeperClient> | undefined;
  #ended = false;

  constructor(path: string) {
    this.#path = path;
  }

  async ask<T>(verb: (client: LogKeeperClient) => Promise<T>): Promise<T> {
    const deadline = systemClock.monotonic() + DEADLINE_MS;
    for (;;) {
      try {
        return await verb(await this.#connected());
      } catch (error) {
        const broken = error instanceof WeftError && error.code === 'UNAVAILABLE';
        if (!broken || this.#ended || systemClock.monotonic() > deadline) throw error;
        await systemClock.sleep(RETRY_MS);
      }
    }
  }

  close(): void {
    this.#ended = true;
    void this.#client?.then((client) => client.disconnect()).catch(() => undefined);
  }

  #connected(): Promise<LogKeeperClient> {
    if (this.#client) return this.#client;
    const connecting = connectLogKeeper(this.#path);
    this.#client = connecting;
    const forget = (): void => {
      if (this.#client === connecting) this.#client = undefined;
    };
    connecting.then((client) => client.closed).then(forget, forget);
    return connecting;
  }
}
