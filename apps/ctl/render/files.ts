/** Configs and secrets as rows: never what they hold. */
import type { FileRow } from '#rpc/gen/weft/v1/api.js';
import { bytes } from './quantity.js';
import type { Column, Row } from './table.js';

export interface FileListRow extends Row {
  name: string;
  /** '' for one of no stack. */
  stack: string;
  sizeBytes: number;
  usedBy: string;
  labels: string;
  /** Milliseconds since the epoch; null for those of stacks. */
  createdAt: number | null;
  updatedAt: number | null;
}

export const fileListRow = ({ name, stack, sizeBytes, users, labels, createdAt, updatedAt }: FileRow): FileListRow => ({
  name,
  stack,
  sizeBytes,
  usedBy: users.join(', '),
  labels: Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(', '),
  createdAt: createdAt ?? null,
  updatedAt: updatedAt ?? null,
});

export const fileColumns: Column<FileListRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STACK', text: (r) => r.stack },
  { title: 'SIZE', text: (r) => bytes(r.sizeBytes), align: 'right' },
  { title: 'USED BY', text: (r) => r.usedBy },
  { title: 'LABELS', text: (r) => r.labels, cuts: true },
];
