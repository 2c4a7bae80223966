/**
 * The life of a task as tables: which state follows which, who says so, and when. What is not listed never happens, as seen
 * from one agent; that of a node that was restarted begins anew with `null`, whatever was said before. The state, the health
 * and the messages are written by the agent of the task's node (through the controller that holds its stream), the rest by
 * the leader alone: so the two never write the same record.
 */
import type { TaskState, TaskStatus } from './task.js';
import type { UpdateRecord } from './update.js';

export type Writer = 'agent' | 'leader' | 'user';

export interface Transition<S> {
  /** null: nothing was said yet. */
  from: S | null;
  /** null: the record goes. */
  to: S | null;
  by: Writer;
  when: string;
}

export const TASK_TRANSITIONS: readonly Transition<TaskState>[] = [
  { from: null, to: 'pending', by: 'agent', when: 'its node has heard of it' },
  { from: null, to: 'complete', by: 'agent', when: 'it had ended well before the agent started' },
  { from: null, to: 'failed', by: 'agent', when: 'it had ended for good before the agent started; or its removal failed' },
  { from: null, to: 'stopped', by: 'agent', when: 'it was told to stop before it was ever made' },
  { from: null, to: 'running', by: 'agent', when: 'it drains: it was told to stop before the agent started' },
  { from: 'pending', to: 'preparing', by: 'agent', when: 'its image, files and volumes are seen to' },
  { from: 'pending', to: 'running', by: 'agent', when: 'its container runs already' },
  { from: 'pending', to: 'restarting', by: 'agent', when: 'its container had ended; or a restart by command goes on' },
  { from: 'pending', to: 'complete', by: 'agent', when: 'its container had ended well, and for good' },
  { from: 'pending', to: 'failed', by: 'agent', when: 'its container had ended for good' },
  { from: 'preparing', to: 'starting', by: 'agent', when: 'its container is made and its network finished' },
  { from: 'preparing', to: 'failed', by: 'agent', when: 'it cannot be made: tried again at `nextTryAt`' },
  { from: 'starting', to: 'running', by: 'agent', when: 'its process runs' },
  { from: 'starting', to: 'failed', by: 'agent', when: 'it cannot be started: tried again at `nextTryAt`' },
  { from: 'running', to: 'restarting', by: 'agent', when: 'it ended, and its restart policy starts it again; or a command restarts it' },
  { from: 'running', to: 'complete', by: 'agent', when: 'it ended with code 0, and stays so' },
  { from: 'running', to: 'failed', by: 'agent', when: 'it ended badly, and stays so; or it cannot be adopted or removed' },
  { from: 'restarting', to: 'running', by: 'agent', when: 'its process runs again' },
  { from: 'restarting', to: 'failed', by: 'agent', when: 'it cannot be made again, or removed: tried again at `nextTryAt`' },
  { from: 'failed', to: 'running', by: 'agent', when: 'a later try went well' },
  { from: 'complete', to: 'running', by: 'agent', when: 'somebody started its container by hand' },
  { from: 'complete', to: 'failed', by: 'agent', when: 'it cannot be removed: tried again' },
  ...(['pending', 'preparing', 'starting', 'running', 'restarting', 'failed', 'complete'] as const).map((from): Transition<TaskState> => ({
    from,
    to: 'stopped',
    by: 'agent',
    when: 'it was told to stop, and is gone',
  })),
  { from: 'stopped', to: null, by: 'leader', when: 'its successor is written, or nobody wants its slot' },
];

type Health = NonNullable<TaskStatus['health']>;

/** While the task is `running`; with every start of its container it begins anew. */
export const HEALTH_TRANSITIONS: readonly Transition<Health>[] = [
  { from: null, to: 'starting', by: 'agent', when: 'the container starts, and has a health check' },
  { from: 'starting', to: 'healthy', by: 'agent', when: 'a check went well' },
  { from: 'starting', to: 'unhealthy', by: 'agent', when: '`retries` checks in a row failed after the start period' },
  { from: 'healthy', to: 'unhealthy', by: 'agent', when: '`retries` checks in a row failed' },
  { from: 'unhealthy', to: 'healthy', by: 'agent', when: 'a check went well' },
];

/** What a task is told. It is never told to run again: what stops gets a successor. */
export const DESIRED_TRANSITIONS: readonly Transition<'run' | 'stop'>[] = [
  { from: null, to: 'run', by: 'leader', when: 'its slot is empty, or it is to take the slot over' },
  { from: 'run', to: 'stop', by: 'leader', when: 'scaled down, changed, unhealthy, drained, replaced, or its service is gone' },
  { from: 'run', to: null, by: 'leader', when: 'its node was removed' },
  { from: 'stop', to: null, by: 'leader', when: 'its node says that it is stopped, or was removed' },
];

/** The record of a service's update; there is none while all tasks are as the service says. */
export const UPDATE_TRANSITIONS: readonly Transition<UpdateRecord['state']>[] = [
  {
    from: null,
    to: 'updating',
    by: 'leader',
    when: 'tasks are outdated, and the service has an `update_config`; or `ctl rollback`, and it has a `rollback_config`',
  },
  { from: 'updating', to: null, by: 'leader', when: 'all new tasks were up for as long as they are watched' },
  { from: 'updating', to: 'paused', by: 'leader', when: 'too many new tasks failed, and `failure_action` is pause' },
  { from: 'updating', to: 'rolling-back', by: 'leader', when: 'too many new tasks failed, and `failure_action` is rollback' },
  { from: 'rolling-back', to: 'rolled-back', by: 'leader', when: 'all tasks are again what they were' },
  { from: 'rolling-back', to: 'paused', by: 'leader', when: 'the rollback failed too' },
  { from: 'rolling-back', to: 'updating', by: 'leader', when: 'the service was changed again meanwhile' },
  { from: 'rolling-back', to: null, by: 'user', when: '`ctl rollback`' },
  { from: 'paused', to: null, by: 'user', when: '`ctl up` or `ctl rollback`: begin again' },
  { from: 'paused', to: 'updating', by: 'user', when: '`ctl rollback`, and the service has a `rollback_config`' },
  { from: 'rolled-back', to: null, by: 'user', when: '`ctl up` or `ctl rollback`: begin again' },
  { from: 'rolled-back', to: 'updating', by: 'user', when: '`ctl rollback`, and the service has a `rollback_config`' },
];

/** Whether a table has this step; to say the same once more is none. */
export const isTransition = <S>(table: readonly Transition<S>[], from: S | null, to: S | null): boolean =>
  from === to || table.some((t) => t.from === from && t.to === to);
