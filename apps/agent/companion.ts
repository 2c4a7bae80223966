/**
 * Companions: the small processes beside the agent that must outlive it (log keeper, name server).
 *
 * A companion listens on a unix socket. The agent first tries to connect: what answers is adopted. Otherwise it spawns the
 * companion, detached, in its own process group, with its output in a file (a pipe to the agent would kill it at its first
 * write after the agent died). From then on an open connection is the watch: the kernel closes it the moment the companion
 * dies, adopted or not, and the companion is started again at once.
 *
 * `flock --no-fork` becomes the companion and keeps a lock for its whole life, so two agents (one going, one coming) cannot
 * start two. Under systemd the agent's unit needs `KillMode=process`, or stopping it ends the companions too.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { backoffMs } from '#base/backoff.js';
import { systemClock } from '#base/clock.js';
import { WeftError, messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';

/** How long a companion may take until it listens, unless the options say otherwise. */
const START_DEADLINE_MS = 10_000;
const POLL_MS = 10;
/** The lock of a process that dies is freed a moment after its sockets. */
const LOCK_WAIT_S = '0.3';
const LOCK_HELD_EXIT = 75;
/** A companion that lived shorter than this is not started again at once, but with a growing delay. */
const SOUND_LIFE_MS = 2_000;
const BACKOFF = { initialMs: 50, maxMs: 5_000 };
const MAX_LOG_BYTES = 5 * 1024 * 1024;
const KILL_DEADLINE_MS = 5_000;

export interface CompanionUp {
  /** true: it was running already. */
  adopted: boolean;
  /** Process id; undefined when the companion was adopted and its pid file does not tell. */
  pid: number | undefined;
  /** How often it has come up before, under this agent. */
  restarts: number;
}

export interface CompanionOptions {
  /** For messages: "log keeper". */
  name: string;
  /** Program and arguments; the whole of it must be unique on the machine (the state directory in it makes it so). */
  argv: readonly [string, ...string[]];
  /** The unix socket the companion listens on; it must leave an idle connection open. */
  control: string;
  pidFile: string;
  /** Its stdout and stderr are appended here; a file larger than 5 MiB is moved to `.1` at the next start. */
  logFile: string;
  log: Log;
  /** How long a companion may take until it listens; 10 s if left out. */
  startDeadlineMs?: number;
  /** Asks the companion for a sign of life. Two failures in a row, and it is killed and started again: it may live and be stuck. */
  probe?: { everyMs: number; ask: () => Promise<unknown> };
  /** Environment beside PATH. */
  env?: Readonly<Record<string, string>>;
  /** Called each time the companion is up: the first time, and after every restart. */
  onUp?: (up: CompanionUp) => void;
}

export interface Companion {
  /** Stops watching. The companion lives on and can be adopted. */
  stop(): Promise<void>;
  /** Stops watching and ends the companion: SIGTERM, and SIGKILL if it is still there after 5 s. */
  kill(): Promise<void>;
  /** Its process id, if it runs. */
  pid(): Promise<number | undefined>;
}

/** Resolves when the companion is up. @throws UNAVAILABLE when it does not come up within the deadline; then nothing watches it */
export async function ensureCompanion(options: CompanionOptions): Promise<Companion> {
  const watch = new Watch(options);
  const running = watch.run();
  const companion: Companion = {
    stop: async () => {
      watch.stop();
      await running;
    },
    kill: async () => {
      await companion.stop();
      await endProcess(options);
    },
    pid: () => findPid(options),
  };
  try {
    await watch.firstUp;
  } catch (error) {
    await companion.stop();
    throw error;
  }
  return companion;
}

class Watch {
  readonly firstUp: Promise<void>;
  readonly #options: CompanionOptions;
  readonly #stopping = new AbortController();
  #settleFirst: (error?: WeftError) => void = () => undefined;
  #socket: Socket | undefined;
  #ups = 0;

  constructor(options: CompanionOptions) {
    this.#options = options;
    this.firstUp = new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settleFirst(notUp(options)), options.startDeadlineMs ?? START_DEADLINE_MS);
      this.#settleFirst = (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      };
    });
  }

  stop(): void {
    this.#stopping.abort();
    this.#socket?.destroy();
    this.#settleFirst(notUp(this.#options));
  }

  /** Until stopped: connect or spawn, wait for the end, again. */
  async run(): Promise<void> {
    const { log, name } = this.#options;
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted;) {
      const cameUp = systemClock.monotonic();
      const up = await this.#connectOrSpawn().catch((error: unknown) => {
        log.error({ companion: name, error: messageOf(error) }, 'could not start a companion');
        return false;
      });
      if (signal.aborted) return;
      const sound = up && systemClock.monotonic() - cameUp > SOUND_LIFE_MS;
      failures = sound ? 0 : failures + 1;
      if (up) log.warn({ companion: name }, 'a companion is gone; starting it again');
      if (failures > 1) await systemClock.sleep(backoffMs(failures - 2, BACKOFF), signal).catch(() => undefined);
    }
  }

  /** Resolves with true when a companion was up and is gone, with false when none came up. */
  async #connectOrSpawn(): Promise<boolean> {
    const found = await dialLasting(this.#options.control);
    const socket = found ?? (await this.#spawn());
    if (!socket) return false;
    this.#socket = socket;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined).resume();
    if (this.#stopping.signal.aborted) socket.destroy();
    else await this.#announce(found !== undefined);
    const gone = new AbortController();
    const probing = this.#probe(AbortSignal.any([gone.signal, this.#stopping.signal]));
    await closed;
    gone.abort();
    await probing;
    return true;
  }

  async #announce(adopted: boolean): Promise<void> {
    const { name, log, onUp } = this.#options;
    const pid = await findPid(this.#options);
    log.info({ companion: name, pid, adopted }, 'companion is up');
    onUp?.({ adopted, pid, restarts: this.#ups++ });
    this.#settleFirst();
  }

  /** Until `signal` aborts: asks for signs of life, and kills a companion that gives none. */
  async #probe(signal: AbortSignal): Promise<void> {
    const { probe, name, log } = this.#options;
    if (!probe) return;
    for (let failures = 0; !signal.aborted;) {
      await systemClock.sleep(probe.everyMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const error = await probe.ask().then(() => undefined, messageOf);
      failures = error === undefined ? 0 : failures + 1;
      if (failures < 2 || signal.aborted) continue;
      log.error({ companion: name, error }, 'a companion gives no sign of life; killing it');
      signalTo(await findPid(this.#options), 'SIGKILL');
      return;
    }
  }

  async #spawn(): Promise<Socket | undefined> {
    const { name, control, log, startDeadlineMs = START_DEADLINE_MS } = this.#options;
    const child = await spawnDetached(this.#options);
    let end: string | undefined;
    child.once('error', (error) => (end = error.message));
    child.once('exit', (code, signal) => (end = code === LOCK_HELD_EXIT ? 'another one holds the lock' : `it ended (${signal ?? code})`));
    const deadline = systemClock.monotonic() + startDeadlineMs;
    while (!this.#stopping.signal.aborted && systemClock.monotonic() < deadline) {
      const socket = await dial(control);
      if (socket) return socket;
      if (end !== undefined) break;
      await systemClock.sleep(POLL_MS);
    }
    if (end === undefined) child.kill('SIGKILL');
    log.warn({ companion: name, why: end ?? 'it did not listen in time' }, 'a companion did not come up');
    return undefined;
  }
}

const notUp = (options: CompanionOptions): WeftError =>
  new WeftError('UNAVAILABLE', { what: `the ${options.name} does not come up`, hint: `Its last words are in ${options.logFile}.` });

function dial(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(undefined));
    socket.once('connect', () => resolve(socket));
  });
}

/**
 * As `dial`, for a companion that may be dying: a killed process closes its connections a moment before its listening socket,
 * and who connects in between is taken for an instant. Such a connection does not last.
 */
async function dialLasting(path: string): Promise<Socket | undefined> {
  const socket = await dial(path);
  if (!socket) return undefined;
  let lasts = true;
  socket.on('error', () => (lasts = false));
  socket.once('close', () => (lasts = false));
  // Without reading, the end of the connection would not be noticed.
  socket.resume();
  await systemClock.sleep(POLL_MS);
  return lasts ? socket : undefined;
}

async function spawnDetached(options: CompanionOptions): Promise<ChildProcess> {
  const { argv, control, pidFile, logFile } = options;
  for (const path of [control, pidFile, logFile]) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const size = await stat(logFile).then(
    (s) => s.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await rename(logFile, `${logFile}.1`);
  const output = await open(logFile, 'a', 0o600);
  try {
    // NODE_OPTIONS and the like of whoever started the agent are not the companion's.
    const env = { ...options.env, PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin' };
    const lock = ['--exclusive', '--no-fork', '--wait', LOCK_WAIT_S, '--conflict-exit-code', String(LOCK_HELD_EXIT), `${pidFile}.lock`];
    const child = spawn('flock', [...lock, ...argv], { detached: true, stdio: ['ignore', output.fd, output.fd], cwd: '/', env });
    child.unref();
    if (child.pid !== undefined) await writeFile(pidFile, `${child.pid}\n`, { mode: 0o600 });
    return child;
  } finally {
    await output.close();
  }
}

/** Whether that process has our command line. One that has ended has none, even while nobody has waited for it. */
async function isOurs(pid: string, options: CompanionOptions): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) === `${options.argv.join('\0')}\0`;
}

/** The companion's process id: first by the pid file, then (the file may be older than the process) by looking at all processes. */
async function findPid(options: CompanionOptions): Promise<number | undefined> {
  const noted = (await readFile(options.pidFile, 'utf8').catch(() => '')).trim();
  if (/^\d+$/.test(noted) && (await isOurs(noted, options))) return Number(noted);
  for (const name of await readdir('/proc')) if (/^\d+$/.test(name) && (await isOurs(name, options))) return Number(name);
  return undefined;
}

/** Sends a signal to a process that may be gone by now. */
function signalTo(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, signal);
  } catch (error) {
    if (!(typeof error === 'object' && error !== null && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Ends the process that runs now, whatever another agent may start after it. */
async function endProcess(options: CompanionOptions): Promise<void> {
  const pid = await findPid(options);
  if (pid === undefined) return;
  const deadline = systemClock.monotonic() + KILL_DEADLINE_MS;
  signalTo(pid, 'SIGTERM');
  while (await isOurs(String(pid), options)) {
    if (systemClock.monotonic() > deadline) signalTo(pid, 'SIGKILL');
    await systemClock.sleep(2 * POLL_MS);
  }
  await rm(options.pidFile, { force: true });
}
