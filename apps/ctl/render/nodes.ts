/** Nodes as rows. */
import type { NodeRow } from '#rpc/gen/weft/v1/api.js';
import { bytes } from './quantity.js';
import type { Column } from './table.js';

export type NodeListRow = ReturnType<typeof nodeRow>;

export function nodeRow(row: NodeRow) {
  const { node, facts } = row;
  return {
    name: node?.name ?? '',
    id: node?.id ?? '',
    index: node?.index ?? 0,
    state: row.state,
    availability: node?.availability ?? 'active',
    address: node?.address ?? '',
    tasks: row.tasks,
    /** What is on a drained node yet: `shop-db-1 (it stops), …`. */
    left: row.left.map(({ task, why }) => `${task} (${why})`).join(', '),
    cpus: facts?.cpus ?? 0,
    memoryBytes: facts?.memoryBytes ?? 0,
    underlayMtu: facts?.underlayMtu ?? 0,
    platform: facts?.platform ?? '',
    agentVersion: facts?.versions['agent'] ?? '',
    kernelVersion: facts?.versions['kernel'] ?? '',
    containerdVersion: facts?.versions['containerd'] ?? '',
    /** That it tells of: 256 at most. */
    images: facts?.images.length ?? 0,
    quarantine: facts?.quarantine ?? '',
    driftRepairs: facts?.driftRepairs ?? 0,
    findings: facts?.findings.length ?? 0,
    labels: Object.entries(node?.labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(','),
    createdAt: node?.createdAt ?? 0,
  };
}

export const nodeColumns: Column<NodeListRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STATE', text: (r) => (r.availability === 'active' ? r.state : `${r.state} (${r.availability})`) },
  { title: 'ADDRESS', text: (r) => r.address },
  { title: 'TASKS', text: (r) => String(r.tasks), align: 'right' },
  { title: 'CPUS', text: (r) => String(r.cpus), align: 'right' },
  { title: 'MEMORY', text: (r) => bytes(r.memoryBytes), align: 'right' },
  { title: 'MTU', text: (r) => String(r.underlayMtu), align: 'right' },
  { title: 'FINDINGS', text: (r) => String(r.findings), align: 'right' },
  { title: 'KERNEL', text: (r) => r.kernelVersion },
  { title: 'AGENT', text: (r) => r.agentVersion },
];
