/** Processes of tasks as rows, in the words of ps(1). */
import type { TaskProcesses } from '#rpc/gen/weft/v1/operations.js';
import type { Column } from './table.js';

export type ProcessListRow = ReturnType<typeof processRows>[number];

export const processRows = ({ taskName, node, processes }: TaskProcesses) =>
  processes.map(({ user, pid, ppid, cpuMs, startedAt, terminal, command }) => ({
    task: taskName,
    node,
    user,
    pid,
    ppid,
    cpuMs,
    startedAt,
    terminal,
    command,
  }));

/** CPU time as ps(1) has it: `00:01:05`. */
export function cpuTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, '0')).join(':');
}

export const processColumns: Column<ProcessListRow>[] = [
  { title: 'UID', text: (r) => r.user },
  { title: 'PID', text: (r) => String(r.pid), align: 'right' },
  { title: 'PPID', text: (r) => String(r.ppid), align: 'right' },
  { title: 'STIME', text: (r) => new Date(r.startedAt).toISOString().slice(11, 16) },
  { title: 'TTY', text: (r) => r.terminal },
  { title: 'TIME', text: (r) => cpuTime(r.cpuMs) },
  { title: 'CMD', text: (r) => r.command, cuts: true },
];
