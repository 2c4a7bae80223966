/** What tasks use, as rows. */
import type { TaskStats } from '#rpc/gen/weft/v1/operations.js';
import { bytes } from './quantity.js';
import type { Column } from './table.js';

export type StatsRow = ReturnType<typeof statsRow>;

export const statsRow = (s: TaskStats) => ({
  task: s.taskName,
  id: s.taskId,
  node: s.node,
  at: s.at,
  cpuPercent: s.cpuPercent === undefined ? null : Math.round(s.cpuPercent * 100) / 100,
  cpuMs: s.cpuMs,
  memoryBytes: s.memoryBytes,
  memoryLimitBytes: s.memoryLimitBytes,
  memoryPercent: s.memoryLimitBytes > 0 ? Math.round((s.memoryBytes / s.memoryLimitBytes) * 10_000) / 100 : null,
  networkInBytes: s.networkInBytes,
  networkOutBytes: s.networkOutBytes,
  blockInBytes: s.blockInBytes,
  blockOutBytes: s.blockOutBytes,
  pids: s.pids,
  /** Why nothing can be told of it. */
  error: s.error,
});

const percent = (value: number | null): string => (value === null ? '-' : `${value.toFixed(2)}%`);
const pair = (a: number, b: number): string => `${bytes(a)} / ${bytes(b)}`;
const told = (text: (r: StatsRow) => string) => (r: StatsRow) => (r.error === '' ? text(r) : '-');

export const statsColumns: Column<StatsRow>[] = [
  { title: 'NAME', text: (r) => r.task },
  { title: 'NODE', text: (r) => r.node },
  { title: 'CPU %', text: told((r) => percent(r.cpuPercent)), align: 'right' },
  { title: 'MEM USAGE / LIMIT', text: (r) => (r.error === '' ? pair(r.memoryBytes, r.memoryLimitBytes) : r.error), cuts: true },
  { title: 'MEM %', text: told((r) => percent(r.memoryPercent)), align: 'right' },
  { title: 'NET I/O', text: told((r) => pair(r.networkInBytes, r.networkOutBytes)) },
  { title: 'BLOCK I/O', text: told((r) => pair(r.blockInBytes, r.blockOutBytes)) },
  { title: 'PIDS', text: told((r) => String(r.pids)), align: 'right' },
];
