/** The processes of a container: those in its cgroup, as proc(5) tells of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerProcess } from './runtime.js';
import { placesOf } from './usage.js';
import { userFilesBelow } from './user-files.js';

/** Clock ticks a second (sysconf(_SC_CLK_TCK)), the same on every Linux that we run on. */
const TICKS_A_SECOND = 100;
const MS_A_TICK = 1000 / TICKS_A_SECOND;
/** Major number of pseudo-terminals: 136 to 143 (admin-guide/devices.txt). */
const PTY_MAJORS = { first: 136, last: 143 };

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** @param pid of the container's main process */
export async function processesOf(pid: number): Promise<ContainerProcess[]> {
  const { pids, memory, unified } = await placesOf(pid);
  const [members, stat, { passwd }] = await Promise.all([
    textOf(join(pids ?? memory ?? unified ?? '', 'cgroup.procs')),
    textOf('/proc/stat'),
    userFilesBelow(`/proc/${pid}/root`).catch(() => ({ passwd: '' })),
  ]);
  const bootedAt = Number(/^btime (\d+)/m.exec(stat)?.[1] ?? 0) * 1000;
  const found = await Promise.all(
    members
      .split('\n')
      .filter(Boolean)
      .map((member) => processOf(Number(member), bootedAt, passwd)),
  );
  return found.flatMap((p) => p ?? []).sort((a, b) => a.startedAt - b.startedAt || a.pid - b.pid);
}

async function processOf(pid: number, bootedAt: number, passwd: string): Promise<ContainerProcess | undefined> {
  const [stat, status, command] = await Promise.all(['stat', 'status', 'cmdline'].map((name) => textOf(`/proc/${pid}/${name}`)));
  const read = readStat(stat ?? '');
  // It has ended meanwhile.
  if (!read) return undefined;
  const uid = /^Uid:\s+(\d+)/m.exec(status ?? '')?.[1] ?? '?';
  const words = (command ?? '').split('\0').join(' ').trim();
  return {
    user: userName(passwd, uid),
    pid,
    ppid: read.ppid,
    cpuMs: Math.round(read.cpuTicks * MS_A_TICK),
    startedAt: Math.round(bootedAt + read.startTicks * MS_A_TICK),
    terminal: terminalName(read.terminal),
    // A kernel thread, or one that has ended, has no command line: as ps(1) shows it.
    command: words || `[${read.name}]`,
  };
}

/** Of /proc/<pid>/stat; the name stands in parentheses and may hold anything. Pure. */
export function readStat(text: string): { name: string; ppid: number; terminal: number; cpuTicks: number; startTicks: number } | undefined {
  const [open, close] = [text.indexOf('('), text.lastIndexOf(')')];
  if (open < 0 || close < open) return undefined;
  const fields = text
    .slice(close + 2)
    .split(' ')
    .map(Number);
  const [, ppid = 0, , , terminal = 0] = fields;
  // Numbered from 1 in proc(5), the state being 3: utime 14, stime 15, starttime 22.
  const at = (field: number) => fields[field - 3] ?? 0;
  return { name: text.slice(open + 1, close), ppid, terminal, cpuTicks: at(14) + at(15), startTicks: at(22) };
}

/** `pts/0`; `?` where there is none. Pure. */
export function terminalName(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major < PTY_MAJORS.first || major > PTY_MAJORS.last) return '?';
  return `pts/${(major - PTY_MAJORS.first) * 256 + minor}`;
}

/** By the container's own passwd(5). Pure. */
export function userName(passwd: string, uid: string): string {
  const line = passwd.split('\n').find((l) => l.split(':')[2] === uid);
  return line?.split(':')[0] || uid;
}
