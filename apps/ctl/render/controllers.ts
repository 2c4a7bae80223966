/** Controllers as rows. */
import type { ControllerRow } from '#rpc/gen/weft/v1/api.js';
import { count, bytes } from './quantity.js';
import type { Column } from './table.js';

export type ControllerListRow = ReturnType<typeof controllerRow>;

export function controllerRow({ name, id, address, state, etcd, etcdBytes, nodes }: ControllerRow) {
  return { name, id, address, state, etcd, etcdBytes, nodes };
}

export const controllerColumns: Column<ControllerListRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STATE', text: (r) => r.state },
  { title: 'ADDRESS', text: (r) => r.address },
  { title: 'ETCD', text: (r) => r.etcd },
  { title: 'SIZE', text: (r) => (r.etcdBytes === 0 ? '' : bytes(r.etcdBytes)), align: 'right' },
  { title: 'AGENTS', text: (r) => String(r.nodes), align: 'right' },
];

/** What a majority of etcd's voting members leaves to lose (Raft: more than half must be there). */
export function lossesSurvived(rows: readonly ControllerListRow[]): string {
  const voters = rows.filter((r) => ['leader', 'member', 'unreachable'].includes(r.etcd));
  if (voters.length === 0) return 'etcd is not run by the controllers: its losses are its own';
  const there = voters.filter((r) => r.etcd !== 'unreachable').length;
  const majority = Math.floor(voters.length / 2) + 1;
  const survives = Math.max(0, there - majority);
  const advice = voters.length % 2 === 0 ? '; an even number is no better than one fewer' : '';
  return `the cluster survives the loss of ${survives === 0 ? 'no' : survives} more of ${count(voters.length, 'controller')}${advice}`;
}
