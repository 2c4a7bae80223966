/**
 * Tasks that a command sends to other nodes (`ctl rebalance`). Each gets a mark (`moves/<id>`), the node that its successor is to be
 * on, and is from then on replaced as a task of a changed service is, by the service's own rules. The mark goes with the task; it
 * is taken away where the move has become impossible: nothing moves later that nobody thinks of any more.
 */
import { keys } from '#model/keys.js';
import type { Node } from '#model/node.js';
import type { Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { HostPorts } from './host-ports.js';
import { fullness, mismatchOf } from './node-filters.js';
import { fitting } from './node-fits.js';
import { refusalOf, Spread, standingOf } from './schedule.js';
import type { Unit } from './transaction.js';
import type { WantedEndpoint } from './wanted-networks.js';

export const REBALANCED = 'rebalanced by command';

/** What a plan knows of nodes while it fills and empties them. */
export interface Rooms {
  state: ClusterState;
  spread: Spread;
  hostPorts: HostPorts;
}

export const roomsOf = (state: ClusterState): Rooms => ({ state, spread: new Spread(state), hostPorts: new HostPorts(state) });

export interface Mover {
  stack: string;
  service: Service;
  endpoints: readonly WantedEndpoint[];
}

/** Why a node can never have tasks of the service as both are; undefined when it can. */
export function misfit(state: ClusterState, node: Node, { service, endpoints }: Pick<Mover, 'service' | 'endpoints'>): string | undefined {
  const why = mismatchOf(state, node, service);
  if (why !== undefined) return why;
  const fit = fitting(state, [node], endpoints);
  return typeof fit === 'string' ? fit : undefined;
}

/** What other tasks leave too little of on a node. @param before the task that goes */
export function crowding({ state, spread, hostPorts }: Rooms, node: Node, mover: Mover, before: string | undefined): string | undefined {
  const held = hostPorts.heldOn(node.id, mover.service, before);
  return fullness(state, spread, node, mover) ?? (held && `another task on host port ${held.published}/${held.protocol}`);
}

/** goes: its service's rules say when; waits: until there is room; off: it stays where it is. */
export type MoveStanding = { is: 'goes' } | { is: 'waits'; why: string } | { is: 'off' };

/** How it is with the move of a marked task that runs and is as its service says. */
export function standingOfMove(state: ClusterState, task: Task, mover: Mover): MoveStanding {
  const node = state.nodes.get(state.moves.get(task.id) ?? '');
  const update = state.updates.get(serviceKey(task.stack, task.service))?.state ?? 'updating';
  if (!node || node.id === task.nodeId || update !== 'updating') return { is: 'off' };
  const isOpen = standingOf(state, node.id) === 'ready' && (node.availability ?? 'active') === 'active';
  if (!isOpen || misfit(state, node, mover) !== undefined) return { is: 'off' };
  const why = refusalOf(state, node) ?? crowding(roomsOf(state), node, mover, task.id);
  if (why === undefined) return { is: 'goes' };
  const isEmptied = state.tasksOfNode(node.id).some((t) => t.desired === 'stop' || state.moves.has(t.id));
  return isEmptied ? { is: 'waits', why } : { is: 'off' };
}

/** Another mark for a task, or none. @param to id of the node that it goes to */
export function markUnit(state: ClusterState, task: Task, to: string | undefined): Unit {
  const key = keys.move(task.id);
  const seen = [key, keys.task(task.id), keys.stack(task.stack)];
  return {
    what: to === undefined ? `${task.name} stays` : `send ${task.name} to ${state.nodes.get(to)?.name ?? to}`,
    compares: seen.map((k) => ({ key: k, modRevision: state.revisionOf(k) })),
    writes: [to === undefined ? { delete: key } : { put: key, value: to }],
  };
}
