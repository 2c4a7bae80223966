/**
 * One agent per data directory: `agent.pid` names it. A pid that the system has given to another process since does not
 * count: that one began after the file was written.
 */
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { WeftError } from '#base/errors.js';
import { readIfThere } from './atomic-file.js';

/** USER_HZ: the unit of times in /proc/<pid>/stat, 100 on every architecture Linux has today (time(7)). */
const TICKS_PER_S = 100;
/** /proc's btime has a resolution of a second. */
const SLACK_MS = 2_000;

/** Takes the lock; returns what gives it back. @throws CONFLICT when another agent holds it */
export async function takeLock(pidFile: string): Promise<() => Promise<void>> {
  const holder = await holderOf(pidFile);
  if (holder !== undefined && holder !== process.pid) {
    throw new WeftError('CONFLICT', {
      what: `another agent (pid ${holder}) uses this data directory`,
      why: `it holds ${pidFile}`,
      hint: 'Stop it first, or choose another --data-dir.',
    });
  }
  await rm(pidFile, { force: true });
  // 'wx': of two that start at once, one fails here.
  await writeFile(pidFile, `${process.pid}\n`, { flag: 'wx', mode: 0o644 });
  return async () => {
    if ((await readIfThere(pidFile))?.trim() === String(process.pid)) await rm(pidFile, { force: true });
  };
}

/** The pid of the live process that wrote `pidFile`, if there is one. */
export async function holderOf(pidFile: string): Promise<number | undefined> {
  const pid = Number((await readIfThere(pidFile))?.trim() || NaN);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const began = await beganAt(pid);
  if (began === undefined) return undefined;
  const { mtimeMs } = await stat(pidFile);
  return began <= mtimeMs + SLACK_MS ? pid : undefined;
}

/** When a process began, ms since the epoch (proc(5): field 22 of stat, counted from boot); undefined when it is gone. */
async function beganAt(pid: number): Promise<number | undefined> {
  const line = await readIfThere(`/proc/${pid}/stat`).catch(() => undefined);
  if (line === undefined) return undefined;
  // Field 2 is the name in brackets and may hold anything: count from after the last bracket, where field 3 begins.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z') return undefined;
  const boot = /^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))?.[1];
  return Number(boot) * 1000 + (Number(fields[19]) / TICKS_PER_S) * 1000;
}
