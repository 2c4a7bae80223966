/** What listings show, made from the model. */
import { serviceKey, type ClusterState } from '#planner/cluster-state.js';
import { leftOn } from '#planner/drain-outlook.js';
import { isComplete } from '#planner/standing-of-task.js';
import { waitingReason } from '#planner/plan-services.js';
import { standingOf } from '#planner/schedule.js';
import { wantedTasks } from '#planner/service-slots.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { EndedTask } from '#rpc/gen/weft/v1/api.js';
import type { NodeRow, ServiceState, StackState, StackSummary, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { factsToWire, nodeToWire, statusToWire, taskToWire } from '#rpc/wire.js';

const taskOrder = (a: Task, b: Task): number =>
  a.stack !== b.stack ? (a.stack < b.stack ? -1 : 1) : a.service !== b.service ? (a.service < b.service ? -1 : 1) : a.slot - b.slot;

export function taskRow(state: ClusterState, task: Task): TaskRow {
  const status = state.statuses.get(task.id);
  return {
    task: { ...taskToWire(task), movesTo: state.moves.get(task.id) },
    status: status && statusToWire(status),
    nodeName: state.nodes.get(task.nodeId)?.name ?? task.nodeId,
    nodeState: standingOf(state, task.nodeId) === 'down' ? 'down' : 'ready',
  };
}

/** @param stack all when empty */
export const taskRows = (state: ClusterState, stack: string): TaskRow[] =>
  [...state.tasks.values()]
    .filter((t) => stack === '' || t.stack === stack)
    .sort(taskOrder)
    .map((t) => taskRow(state, t));

/** @param stack all when empty */
export const endedRows = (state: ClusterState, stack: string): EndedTask[] =>
  [...state.ended.values()]
    .filter((e) => stack === '' || e.stack === stack)
    .sort((a, b) => a.endedAt - b.endedAt)
    .map((e) => EndedTask.fromJSON(e));

export function nodeRows(state: ClusterState): NodeRow[] {
  return [...state.nodes.values()]
    .sort((a, b) => a.index - b.index)
    .map((node) => {
      const facts = state.facts.get(node.id);
      return {
        node: nodeToWire(node),
        facts: facts && factsToWire(facts),
        state: standingOf(state, node.id),
        tasks: state.tasksOfNode(node.id).length,
        left: leftOn(state, node),
      };
    });
}

const isRunning = (state: ClusterState, task: Task): boolean =>
  task.desired === 'run' && state.statuses.get(task.id)?.state === 'running' && standingOf(state, task.nodeId) !== 'down';

const runningOf = (state: ClusterState, tasks: readonly Task[]): number => tasks.filter((t) => isRunning(state, t)).length;

export function stackSummaries(state: ClusterState): StackSummary[] {
  return [...state.stacks.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, record]) => ({
      name,
      services: Object.keys(record.spec.services).length,
      tasksRunning: runningOf(state, state.tasksOfStack(name)),
      tasksWanted: record.removing ? 0 : Object.values(record.spec.services).reduce((n, s) => n + wantedOf(state, record, s), 0),
      generation: record.generation,
      removing: record.removing,
      updatedAt: record.updatedAt,
    }));
}

/** What was stopped wants none. */
const wantedOf = (state: ClusterState, record: StackRecord, service: Service): number =>
  record.removing || record.stopped?.[service.name] ? 0 : wantedTasks(state, record.spec.name, service);

function serviceStates(state: ClusterState, record: StackRecord, troubles: ReadonlyMap<string, string>): ServiceState[] {
  return Object.values(record.spec.services).map((service) => ({
    name: service.name,
    wanted: wantedOf(state, record, service),
    // Of what the stack says now: a task of the service as it was before does not count towards what was asked for.
    running: currentRunning(state, record, service.name),
    waiting: waitingReason(state, record, service.name, troubles),
    mode: service.mode ?? 'replicated',
    complete: state.tasksOfService(record.spec.name, service.name).filter((t) => isComplete(state, t)).length,
    update: state.updates.get(serviceKey(record.spec.name, service.name))?.state ?? '',
    updateMessage: state.updates.get(serviceKey(record.spec.name, service.name))?.message ?? '',
    oneOffOf: service.oneOff?.of ?? '',
  }));
}

function currentRunning(state: ClusterState, record: StackRecord, service: string): number {
  return runningOf(state, state.tasksOfService(record.spec.name, service));
}

/** @param troubles of placementTroubles */
export function stackState(state: ClusterState, name: string, troubles: ReadonlyMap<string, string>): StackState {
  const record = state.stacks.get(name);
  if (!record) return { name, exists: false, generation: 0, removing: false, services: [], tasks: [] };
  return {
    name,
    exists: true,
    generation: record.generation,
    removing: record.removing,
    services: serviceStates(state, record, troubles),
    tasks: taskRows(state, name),
  };
}
