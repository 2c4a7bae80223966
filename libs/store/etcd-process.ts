/**
 * A local etcd child: started in a process group of its own with a log file (never a pipe: after the parent's death the next
 * write to one would kill it), adopted if it already runs, restarted if it dies. It outlives its parent on purpose.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { backoffMs } from '#base/backoff.js';
import { systemClock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { silentLog } from '#base/log.js';
import type { ChildRecord } from './etcd-child.js';
import { dropRecord, isOurs, lastLines, probe, readRecord, startTicksOf, writeRecord } from './etcd-child.js';
import type { EtcdClientOptions } from './etcd-wire.js';

export interface EtcdOptions {
  /** Absolute. Its parent holds the pid file `<name of dataDir>.pid`. */
  dataDir: string;
  /** Like http://127.0.0.1:2379; https with `tls`. */
  clientUrl: string;
  /** What members on other hosts reach it by, beside `clientUrl`, which then is for this host alone. */
  publicClientUrl?: string;
  peerUrl: string;
  name: string;
  /** The members to join (`--initial-cluster`), this one among them; without it a new data directory makes a new cluster. */
  join?: string;
  /** Absolute. */
  logFile: string;
  /** PEM files, absolute paths. Clients must show a certificate of this CA (`--client-cert-auth`); the pair also serves our own health checks. */
  tls?: {
    caFile: string;
    certFile: string;
    keyFile: string;
    /** A DNS name that a client's certificate must carry, if not every certificate of the CA may use etcd. */
    allowedName?: string;
  };
  log?: Log;
  /** Restart the child when it dies; true by default. */
  restart?: boolean;
  /** More arguments for etcd. */
  extraArgs?: string[];
  /** How long to wait for health at the start, in milliseconds. */
  healthyWithinMs?: number;
  /** How long a found child may take to answer before it counts as hung and is replaced, in milliseconds. */
  adoptWithinMs?: number;
}

export interface EtcdHandle {
  readonly endpoints: string[];
  /** Of the child that runs now; changes when it is restarted. */
  readonly pid: number;
  /** True when the child was found running. */
  readonly adopted: boolean;
  /** Ends the child and waits for its end. */
  stop(): Promise<void>;
  /** Stops looking after the child and leaves it running. */
  detach(): void;
}

const HEALTHY_WITHIN_MS = 30_000;
const HEALTH_POLL_MS = 100;
const ADOPT_WITHIN_MS = 10_000;
const DEATH_POLL_MS = 250;
const TERM_GRACE_MS = 10_000;
const QUOTA_BYTES = 2 * 1024 ** 3;
const RESTART_BACKOFF = { initialMs: 250, maxMs: 5_000 };
/** A child that ran this long had recovered: the next death starts the backoff anew. */
const SETTLED_MS = 30_000;

/**
 * Adopts the etcd that runs on `dataDir`, or starts one, and resolves when it is healthy.
 * @throws PORT_TAKEN; STORE with etcd's last log lines when it exits or does not become healthy.
 */
export async function startEtcd(options: EtcdOptions): Promise<EtcdHandle> {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(options.logFile), { recursive: true });
  const adopted = await adopt(options);
  if (adopted) (options.log ?? silentLog).info({ pid: adopted.pid, dataDir: options.dataDir }, 'adopted a running etcd');
  const keeper = new EtcdKeeper(options, adopted ?? (await launch(options)));
  return {
    endpoints: [options.clientUrl],
    get pid() {
      return keeper.pid;
    },
    adopted: adopted !== undefined,
    stop: () => keeper.stop(),
    detach: () => keeper.detach(),
  };
}

/** How to speak to the child as a client. */
export function clientOptions({ clientUrl, tls }: Pick<EtcdOptions, 'clientUrl' | 'tls'>): EtcdClientOptions {
  if (!tls) return { endpoints: [clientUrl] };
  return {
    endpoints: [clientUrl],
    credentials: {
      rootCertificate: readFileSync(tls.caFile),
      privateKey: readFileSync(tls.keyFile),
      certChain: readFileSync(tls.certFile),
    },
  };
}

// ---- arguments -----------------------------------------------------------------------------------------------------

function argumentsOf(options: EtcdOptions): string[] {
  const { dataDir, name, clientUrl, publicClientUrl, peerUrl, tls, extraArgs = [] } = options;
  const isSecurePeer = tls && peerUrl.startsWith('https:');
  return [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrls(options).join(',')}`,
    `--advertise-client-urls=${publicClientUrl ?? clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    `--quota-backend-bytes=${QUOTA_BYTES}`,
    // Nothing here speaks JSON to etcd, and the gateway would dial etcd with the server's certificate.
    '--enable-grpc-gateway=false',
    ...(tls ? tlsArguments(tls) : []),
    ...(tls?.allowedName ? [`--client-cert-allowed-hostname=${tls.allowedName}`] : []),
    ...(isSecurePeer ? tlsArguments(tls, 'peer-') : []),
    ...(isSecurePeer && tls.allowedName ? [`--peer-cert-allowed-hostname=${tls.allowedName}`] : []),
    ...extraArgs,
  ];
}

function tlsArguments(tls: NonNullable<EtcdOptions['tls']>, scope: '' | 'peer-' = ''): string[] {
  return [
    `--${scope}cert-file=${tls.certFile}`,
    `--${scope}key-file=${tls.keyFile}`,
    `--${scope}trusted-ca-file=${tls.caFile}`,
    `--${scope}client-cert-auth=true`,
  ];
}

const clientUrls = ({ clientUrl, publicClientUrl }: EtcdOptions): string[] => [clientUrl, ...(publicClientUrl ? [publicClientUrl] : [])];

/**
 * What etcd reads only when the data directory is new: no settings of a running child. etcd derives the cluster's id from
 * names, peer URLs and this token. With a fixed token an emptied etcd would come back under the same id, and nobody could
 * tell it from the old one.
 */
function birthArguments({ name, peerUrl, join: members }: EtcdOptions): string[] {
  const token = `--initial-cluster-token=weft-${randomBytes(8).toString('hex')}`;
  if (members !== undefined) return [token, `--initial-cluster=${members}`, '--initial-cluster-state=existing'];
  return [token, `--initial-cluster=${name}=${peerUrl}`, '--initial-cluster-state=new'];
}

/** etcd reads ETCD_* as flags: those of our caller are not meant for it. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('ETCD_')));
  // etcd 3.4 refuses to start on arm64 without being told.
  if (process.arch === 'arm64') env['ETCD_UNSUPPORTED_ARCH'] = 'arm64';
  return env;
}

// ---- adopting ------------------------------------------------------------------------------------------------------

/** The child that a former parent left, if it is well and runs as it should; a hung or outdated one is ended. */
async function adopt(options: EtcdOptions): Promise<ChildRecord | undefined> {
  const log = options.log ?? silentLog;
  const record = readRecord(options.dataDir);
  if (!record || !isOurs(record, options.dataDir)) return undefined;
  if (record.args.join('\0') !== argumentsOf(options).join('\0')) {
    log.info({ pid: record.pid }, 'the running etcd has other settings: restarting it');
    await endProcess(record);
    return undefined;
  }
  const clusterId = await healthyClusterId(options, record, options.adoptWithinMs ?? ADOPT_WITHIN_MS).catch(() => undefined);
  if (clusterId === undefined) {
    log.warn({ pid: record.pid }, 'the running etcd does not answer: restarting it');
    await endProcess(record);
    return undefined;
  }
  if (record.clusterId !== undefined && record.clusterId !== clusterId) {
    throw new WeftError('STORE', {
      what: `cannot adopt the etcd with pid ${record.pid}`,
      why: `it serves cluster ${clusterId}, and ${options.dataDir} belonged to cluster ${record.clusterId}`,
      hint: 'Stop that etcd, and restore the data directory or remove it with its pid file.',
    });
  }
  const adopted = { ...record, clusterId };
  writeRecord(options.dataDir, adopted);
  return adopted;
}

// ---- starting ------------------------------------------------------------------------------------------------------

async function launch(options: EtcdOptions): Promise<ChildRecord> {
  for (const url of [...clientUrls(options), options.peerUrl]) await mustBeFree(url);
  const { record, child } = await spawnEtcd(options);
  try {
    const clusterId = await healthyClusterId(options, record, options.healthyWithinMs ?? HEALTHY_WITHIN_MS);
    const healthy = { ...record, clusterId };
    writeRecord(options.dataDir, healthy);
    (options.log ?? silentLog).info({ pid: record.pid, clusterId }, 'etcd started');
    return healthy;
  } catch (error) {
    await endProcess(record);
    dropRecord(options.dataDir);
    throw error;
  } finally {
    child.removeAllListeners();
  }
}

async function spawnEtcd(options: EtcdOptions): Promise<{ record: ChildRecord; child: ChildProcess }> {
  const args = argumentsOf(options);
  const logFd = openSync(options.logFile, 'a', 0o600);
  try {
    const child = spawn('etcd', [...birthArguments(options), ...args], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', logFd, logFd],
      env: cleanEnvironment(),
    });
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('spawn', () => resolve(child.pid ?? 0));
      child.once('error', reject);
    });
    child.unref();
    const record = { pid, startTicks: startTicksOf(pid) ?? '', args };
    writeRecord(options.dataDir, record);
    return { record, child };
  } catch (error) {
    throw new WeftError('STORE', {
      what: 'cannot start etcd',
      why: messageOf(error),
      hint: 'Install it (Debian and Ubuntu: `apt-get install etcd-server`), or give the controller `--etcd-endpoints`.',
      cause: error,
    });
  } finally {
    closeSync(logFd);
  }
}

/** Waits for health. @throws STORE with the log's last lines when the process ends first or time runs out. */
async function healthyClusterId(options: EtcdOptions, record: ChildRecord, withinMs: number): Promise<string> {
  const giveUpAt = systemClock.monotonic() + withinMs;
  const client = clientOptions(options);
  let last = 'it was not asked yet';
  while (systemClock.monotonic() < giveUpAt) {
    if (startTicksOf(record.pid) !== record.startTicks) throw failure(options, 'it exited');
    try {
      const status = await probe(client);
      if (status.hasLeader) return status.clusterId;
      last = 'it has no leader';
    } catch (error) {
      last = messageOf(error);
    }
    await systemClock.sleep(HEALTH_POLL_MS);
  }
  throw failure(options, `it was not healthy within ${withinMs} ms (${last})`);
}

function failure(options: EtcdOptions, why: string): WeftError {
  const lines = lastLines(options.logFile, 3);
  return new WeftError('STORE', {
    what: 'cannot start etcd',
    why: lines.length > 0 ? `${why}; the end of its log: ${lines.join(' | ')}` : why,
    hint: `Read ${options.logFile}.`,
  });
}

/** etcd itself would retry, and then say it in the middle of a long log. */
async function mustBeFree(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const code = error.code === 'EADDRINUSE' ? 'PORT_TAKEN' : 'STORE';
      reject(new WeftError(code, { what: `etcd cannot listen on ${url}`, why: error.message, cause: error }));
    });
    server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

// ---- ending --------------------------------------------------------------------------------------------------------

function signal(record: ChildRecord, name: NodeJS.Signals): void {
  try {
    process.kill(record.pid, name);
  } catch {
    // It ended by itself.
  }
}

/** TERM, then KILL; resolves when the process is gone. Only ever signals the very process that was recorded. */
async function endProcess(record: ChildRecord): Promise<void> {
  const isGone = () => startTicksOf(record.pid) !== record.startTicks;
  if (isGone()) return;
  signal(record, 'SIGTERM');
  // A stopped process would take TERM only when continued.
  signal(record, 'SIGCONT');
  const killAt = systemClock.monotonic() + TERM_GRACE_MS;
  while (!isGone()) {
    if (systemClock.monotonic() >= killAt) signal(record, 'SIGKILL');
    await systemClock.sleep(20);
  }
}

// ---- looking after it ----------------------------------------------------------------------------------------------

/** Watches one child by polling /proc, which works for started and for adopted ones alike, and restarts it. */
class EtcdKeeper {
  readonly #options: EtcdOptions;
  readonly #log: Log;
  readonly #over = new AbortController();
  readonly #loop: Promise<void>;
  #record: ChildRecord;

  constructor(options: EtcdOptions, record: ChildRecord) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#record = record;
    this.#loop = options.restart === false ? Promise.resolve() : this.#keep();
  }

  get pid(): number {
    return this.#record.pid;
  }

  async stop(): Promise<void> {
    this.detach();
    await this.#loop;
    await endProcess(this.#record);
    dropRecord(this.#options.dataDir);
  }

  detach(): void {
    this.#over.abort(new Error('detached'));
  }

  async #keep(): Promise<void> {
    const { signal: over } = this.#over;
    let attempt = 0;
    let startedAt = systemClock.monotonic();
    while (!over.aborted) {
      await systemClock.sleep(DEATH_POLL_MS, over).catch(() => undefined);
      if (over.aborted || startTicksOf(this.#record.pid) === this.#record.startTicks) continue;
      if (systemClock.monotonic() - startedAt > SETTLED_MS) attempt = 0;
      this.#log.warn({ pid: this.#record.pid, attempt }, 'etcd died; restarting it');
      await systemClock.sleep(backoffMs(attempt++, RESTART_BACKOFF), over).catch(() => undefined);
      if (over.aborted) return;
      startedAt = systemClock.monotonic();
      await this.#restart();
    }
  }

  async #restart(): Promise<void> {
    const { dataDir } = this.#options;
    const before = this.#record.clusterId;
    // An etcd on a wiped directory would be a new, empty cluster: that is for a person to decide.
    if (before !== undefined && !existsSync(join(dataDir, 'member'))) {
      this.#log.error({ dataDir }, 'the data of etcd are gone: not starting an empty one in their place');
      return;
    }
    try {
      this.#record = await launch(this.#options);
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'etcd could not be restarted');
    }
  }
}
