/** What is known of an etcd child from outside: its pid file, its entry in /proc, its health. See proc(5). */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemClock } from '#base/clock.js';
import type { EtcdClientOptions } from './etcd-wire.js';
import { EtcdWire } from './etcd-wire.js';
import type { WireStatus } from './wire.js';

/** The pid file's content: enough to recognise the process, and the cluster that it served. */
export interface ChildRecord {
  pid: number;
  /** Start time of the process in clock ticks since boot: a reused pid has another. */
  startTicks: string;
  /** Its arguments, to see whether a found child runs as it should. */
  args: string[];
  /** As last seen; absent until the child was healthy once. */
  clusterId?: string;
}

/** Beside the data directory, so that wiping the data does not lose track of the process. */
export function pidFileOf(dataDir: string): string {
  return join(dirname(dataDir), `${basename(dataDir)}.pid`);
}

export function readRecord(dataDir: string): ChildRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(pidFileOf(dataDir), 'utf8')) as Partial<ChildRecord>;
    const { pid, startTicks, args, clusterId } = record;
    if (!Number.isInteger(pid) || typeof startTicks !== 'string' || !Array.isArray(args)) return undefined;
    return { pid: pid as number, startTicks, args, clusterId };
  } catch {
    return undefined;
  }
}

/** Whole or not at all: a crash while writing must not leave half a record. */
export function writeRecord(dataDir: string, record: ChildRecord): void {
  const file = pidFileOf(dataDir);
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
  renameSync(draft, file);
}

export function dropRecord(dataDir: string): void {
  rmSync(pidFileOf(dataDir), { force: true });
}

/** The start time of a live process; undefined when there is none, or only its zombie. */
export function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold anything: count from the last parenthesis.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Whether the recorded process still runs and is an etcd on this data directory. */
export function isOurs(record: ChildRecord, dataDir: string): boolean {
  if (startTicksOf(record.pid) !== record.startTicks) return false;
  try {
    const argv = readFileSync(`/proc/${record.pid}/cmdline`, 'utf8').split('\0');
    return basename(argv[0] ?? '') === 'etcd' && argv.includes(`--data-dir=${dataDir}`);
  } catch {
    return false;
  }
}

/** One question to etcd, by a connection of its own. @throws STORE */
export async function probe(client: EtcdClientOptions): Promise<WireStatus> {
  const wire = new EtcdWire(client, systemClock);
  try {
    return await wire.status();
  } finally {
    await wire.close();
  }
}

/** The last lines of the log file, for an error that a person reads. */
export function lastLines(logFile: string, count: number): string[] {
  try {
    return readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count);
  } catch {
    return [];
  }
}
