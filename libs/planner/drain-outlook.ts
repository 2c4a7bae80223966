/** What a person is told of a node that is drained: which tasks have no other place, and why the rest is on it yet. Pure. */
import { isGlobal } from '#model/service-mode.js';
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import type { Draft } from './attach.js';
import { placeFor } from './choose-node.js';
import type { ClusterState } from './cluster-state.js';
import { isDead, withoutOrphans } from './dead-nodes.js';
import { awaited } from './drain-nodes.js';
import { networkIdsOf } from './networks-of.js';
import { isOneOff } from './one-offs.js';
import { newDraft } from './place-tasks.js';
import { sharesNamespace } from './shared-namespace.js';
import { isComplete } from './standing-of-task.js';
import { wantedEndpoints } from './wanted-networks.js';

/** A task of a drained node, and what a person wants to know of it. */
export interface LeftTask {
  /** Name of the task. */
  task: string;
  why: string;
}

/**
 * Tasks of a drained node that no other node can take, as things are: they stop, and wait. Of a global service none: it has
 * one less.
 */
export function homelessOf(state: ClusterState, node: Node): LeftTask[] {
  const draft = newDraft(state, () => '', 0);
  const tasks = withoutOrphans(state.tasksOfNode(node.id)).filter((t) => isWanted(state, t));
  for (const t of tasks) take(draft, t, t.nodeId, -1);
  return inOrder(
    tasks.flatMap((t) => {
      const why = whyNoPlace(draft, t);
      return why === undefined ? [] : [{ task: t.name, why }];
    }),
  );
}

/** Why a drained node is not empty, task by task. */
export function leftOn(state: ClusterState, node: Node): LeftTask[] {
  if (node.availability !== 'drain') return [];
  const homeless = new Map(homelessOf(state, node).map(({ task, why }) => [task, why]));
  return inOrder(state.tasksOfNode(node.id).map((t) => ({ task: t.name, why: whyThere(state, t, homeless.get(t.name)) })));
}

const inOrder = (left: LeftTask[]): LeftTask[] => left.sort((a, b) => (a.task < b.task ? -1 : 1));

/** Whether a task is to be made in its place. */
function isWanted(state: ClusterState, task: Task): boolean {
  const record = state.stacks.get(task.stack);
  const service = record?.spec.services[task.service];
  if (!record || record.removing || record.stopped?.[task.service] || !service) return false;
  return !isGlobal(service) && !isOneOff(service) && !isComplete(state, task) && task.slot <= service.replicas;
}

/** Each in the place that it would get, so that two do not get the room of one. What shares another's network goes with that. */
function whyNoPlace(draft: Draft, task: Task): string | undefined {
  const { state } = draft;
  const service = state.stacks.get(task.stack)?.spec.services[task.service];
  if (!service || sharesNamespace(service)) return undefined;
  const endpoints = wantedEndpoints(state, task.stack, service, task.slot, networkIdsOf(state, task.stack));
  if (typeof endpoints === 'string') return `waits: ${endpoints}`;
  const place = placeFor(
    draft,
    { stack: task.stack, service, slot: task.slot, specHash: task.specHash, endpoints, replaces: task },
    undefined,
  );
  if (typeof place === 'string') return place;
  take(draft, task, place.id, 1);
  draft.hostPorts.add(place.id, task.id, task.ports);
  return undefined;
}

function take({ spread }: Draft, { stack, service, reservations }: Task, nodeId: string, sign: 1 | -1): void {
  spread.add(nodeId, stack, service, sign);
  spread.reserve(nodeId, reservations, sign);
}

function whyThere(state: ClusterState, task: Task, noPlace: string | undefined): string {
  if (isDead(state, task.nodeId)) return 'the node is down: nobody knows whether it runs there';
  if (isComplete(state, task)) return 'it has done its work, and is kept on record';
  const hasStopped = state.statuses.get(task.id)?.state === 'stopped';
  if (task.desired === 'stop') return hasStopped ? `it has stopped${noPlace === undefined ? '' : `: ${noPlace}`}` : 'it stops';
  const other = awaited(state, task);
  return other ? `it stays until ${other.name} is up` : 'it is about to stop';
}
