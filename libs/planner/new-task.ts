/** The record of a task, from the wish for its slot and what was chosen for it. */
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import type { SlotWish } from './reconcile-services.js';
import { taskName } from './task-name.js';

/** @param now milliseconds since the epoch */
export function newTask(wish: SlotWish, node: Node, made: Pick<Task, 'id' | 'endpoints' | 'shares'>, now: number): Task {
  const { networkMode, links, reservations, onPartition } = wish.service;
  return {
    ...made,
    stack: wish.stack,
    service: wish.service.name,
    slot: wish.slot,
    nodeId: node.id,
    name: taskName(wish.stack, wish.service, wish.slot),
    specHash: wish.specHash,
    container: wish.service.container,
    ports: wish.service.ports,
    ...(wish.service.restart === undefined ? {} : { restart: wish.service.restart }),
    ...(networkMode === undefined ? {} : { networkMode }),
    ...(links === undefined ? {} : { links }),
    ...(reservations === undefined ? {} : { reservations }),
    ...(onPartition === undefined ? {} : { onPartition }),
    ...(wish.service.oneOff?.attach ? { awaitsCaller: true as const } : {}),
    desired: 'run',
    createdAt: now,
  };
}
