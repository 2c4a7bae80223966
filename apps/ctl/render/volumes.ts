/** Volumes as rows. */
import type { VolumeRow } from '#rpc/gen/weft/v1/api.js';
import type { Column, Row } from './table.js';

export interface VolumeListRow extends Row {
  name: string;
  stack: string;
  /** '' while no task that mounts it was placed. */
  node: string;
  nodeState: string;
  usedBy: string;
  labels: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
}

export const volumeListRow = ({ name, stack, node, nodeState, users, labels, createdAt }: VolumeRow): VolumeListRow => ({
  name,
  stack,
  node,
  nodeState,
  usedBy: users.join(', '),
  labels: Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(', '),
  createdAt,
});

export const volumeColumns: Column<VolumeListRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STACK', text: (r) => r.stack },
  { title: 'NODE', text: (r) => (r.nodeState === 'ready' || r.nodeState === '' ? r.node : `${r.node} (${r.nodeState})`) },
  { title: 'USED BY', text: (r) => r.usedBy },
  { title: 'LABELS', text: (r) => r.labels, cuts: true },
];
