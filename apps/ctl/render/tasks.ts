/** Tasks as rows. */
import type { EndedTask, TaskRow } from '#rpc/gen/weft/v1/api.js';
import type { Network, Port } from '#rpc/gen/weft/v1/types.js';
import { count, span } from './quantity.js';
import type { Column } from './table.js';

export type TaskListRow = ReturnType<typeof taskRow>;

/** `8080->80/tcp`. */
const portText = (p: Port): string => `${p.hostIp ? `${p.hostIp}:` : ''}${p.published}->${p.target}/${p.protocol}`;

/** What a stack calls a network: by its key in the stack's file; by its name if it is not the stack's own. */
export function networkCalled(networks: readonly Network[]): (id: string, stack: string) => string {
  const known = new Map(networks.map((n) => [n.id, n]));
  return (id, stack) => {
    const network = known.get(id);
    return (network?.stack === stack ? network.key : network?.name) ?? id;
  };
}

/** @param called what a stack calls a network */
export function taskRow(row: TaskRow, called: (networkId: string, stack: string) => string) {
  const { task, status } = row;
  const endpoints = task?.endpoints ?? [];
  return {
    name: task?.name ?? '',
    id: task?.id ?? '',
    stack: task?.stack ?? '',
    service: task?.service ?? '',
    slot: task?.slot ?? 0,
    image: task?.image ?? '',
    node: row.nodeName,
    nodeState: row.nodeState,
    state: status?.state ?? 'pending',
    health: status?.health ?? '',
    desired: task?.desired ?? 'run',
    /** Its node was declared dead, and another task has its slot. */
    orphan: task?.orphan ?? false,
    message: status?.message ?? '',
    restarts: status?.restarts ?? 0,
    exitCode: status?.exitCode ?? null,
    /** The first one; with their networks in `addresses`. */
    address: endpoints[0]?.ipv4 ?? '',
    addresses: endpoints.map((e) => `${called(e.networkId, task?.stack ?? '')}=${e.ipv4}`).join(','),
    ports: (task?.ports ?? []).map(portText).join(','),
    createdAt: task?.createdAt ?? 0,
    startedAt: status?.startedAt ?? null,
    nextTryAt: status?.nextTryAt ?? null,
    /** Of a task that is gone. */
    endedAt: null as number | null,
  };
}

/** A task of a slot's history. */
export const endedTaskRow = (e: EndedTask): TaskListRow => ({
  name: e.name,
  id: e.taskId,
  stack: e.stack,
  service: e.service,
  slot: e.slot,
  image: e.image,
  node: e.nodeName,
  nodeState: '',
  state: e.state === 'complete' || e.state === 'failed' ? e.state : 'stopped',
  health: '',
  desired: 'gone',
  orphan: false,
  message: [e.reason, e.message].filter((text) => text !== '').join(': '),
  restarts: e.restarts,
  exitCode: e.exitCode ?? null,
  address: '',
  addresses: '',
  ports: '',
  createdAt: e.createdAt,
  startedAt: e.startedAt ?? null,
  nextTryAt: null,
  endedAt: e.endedAt,
});

/** What an agent adds about its next try: the time is known better, and goes on. */
const NEXT_TRY = /; (trying again|restarting) in [\d.]+ ?\w+$/;

export function byPlace(a: TaskListRow, b: TaskListRow): number {
  return a.stack.localeCompare(b.stack) || a.service.localeCompare(b.service) || a.slot - b.slot || a.createdAt - b.createdAt;
}

/** What a person wants to know of its state. @param now milliseconds since the epoch */
export function stateText(row: TaskListRow, now: number): string {
  const parts = [row.orphan ? 'replaced' : row.desired === 'stop' && row.state !== 'stopped' ? 'stopping' : row.state];
  if (row.state === 'running' && row.startedAt !== null && !row.orphan) parts.push(span(now - row.startedAt));
  if (row.endedAt !== null) parts.push(`${span(now - row.endedAt)} ago`);
  const notes = [];
  if (row.nodeState === 'down') notes.push('its node is down');
  if (row.restarts > 0) notes.push(count(row.restarts, 'restart'));
  if (row.exitCode !== null && row.state !== 'running') notes.push(`exit ${row.exitCode}`);
  if (row.state === 'running' && row.health !== '') notes.push(row.health);
  const message = row.nextTryAt === null ? row.message : row.message.replace(NEXT_TRY, '');
  if (message !== '' && (row.state !== 'running' || row.health === 'unhealthy')) notes.push(message);
  if (row.nextTryAt !== null) notes.push(row.nextTryAt > now ? `next try in ${span(row.nextTryAt - now)}` : 'trying again');
  return parts.join(' ') + (notes.length > 0 ? ` (${notes.join(', ')})` : '');
}

export function taskColumns(now: number, withStack: boolean): Column<TaskListRow>[] {
  return [
    ...(withStack ? [{ title: 'STACK', text: (r: TaskListRow) => r.stack }] : []),
    { title: 'NAME', text: (r) => r.name },
    { title: 'SERVICE', text: (r) => r.service },
    { title: 'NODE', text: (r) => r.node },
    { title: 'STATE', text: (r) => stateText(r, now), cuts: true },
    { title: 'ADDRESSES', text: (r) => r.addresses.replaceAll('=', ' ').replaceAll(',', ', ') },
    { title: 'PORTS', text: (r) => r.ports.replaceAll(',', ', ') },
    { title: 'IMAGE', text: (r) => r.image },
  ];
}
