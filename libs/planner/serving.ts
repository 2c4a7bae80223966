/** Which tasks are shown to clients. The one place that says so: names, virtual addresses and publications all ask here. */
import type { Task, TaskStatus } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { standingOf } from './schedule.js';

/** The process is there, healthy or not. */
export const isRunning = (task: Task, status: TaskStatus | undefined): boolean => task.desired === 'run' && status?.state === 'running';

/** It runs, is healthy where that is checked, and was not told to stop: from then on it drains, and only what it began goes on. */
export const isServing = (task: Task, status: TaskStatus | undefined): boolean =>
  isRunning(task, status) && (status?.health === undefined || status.health === 'healthy');

/** On a node that is declared dead nothing serves, whatever was last heard of it. */
export const isLost = (state: ClusterState, task: Task): boolean => standingOf(state, task.nodeId) === 'down';

export const servesIn = (state: ClusterState, task: Task): boolean => isServing(task, state.statuses.get(task.id)) && !isLost(state, task);
export const runsIn = (state: ClusterState, task: Task): boolean => isRunning(task, state.statuses.get(task.id)) && !isLost(state, task);
