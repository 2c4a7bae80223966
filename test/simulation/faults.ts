/**
 * Faults planted between a controller and etcd, or an agent and its disk: what a lazier program would have written. The simulation must
 * find each of them.
 */
import { keys, ROOT } from '#model/keys.js';
import type { Task } from '#model/task.js';
import { REBALANCED } from '#planner/moves.js';
import type { Compare, Write } from '#store/store.js';
import type { Request } from './etcd-way.js';
import type { DiskTamper } from './machine.js';

/** What processes are made to do instead of what they ask for. */
export interface Fault {
  etcd?: (request: Request) => Request;
  disk?: DiskTamper;
}

const withoutCompares = (isDropped: (compare: Compare) => boolean): Fault => ({
  etcd: (request) => ({ ...request, compares: request.compares.filter((c) => !isDropped(c)) }),
});

const isFence = (c: Compare): boolean => c.key === keys.leader() && 'createRevision' in c;

/** Made anew for each history. */
export const FAULTS: Record<string, () => Fault> = {
  /** A leader that no longer leads goes on writing. */
  'no fence': () => withoutCompares(isFence),
  /** Neither the fence nor the slots are compared: two leaders fill a slot each. */
  'no fence, no slots': () => withoutCompares((c) => c.key.startsWith(`${ROOT}slots/`) || isFence(c)),
  /** Neither fence nor addresses are compared. */
  'no fence, no addresses': () => withoutCompares((c) => c.key.startsWith(`${ROOT}leases/`) || isFence(c)),
  /** The tasks of a dead node are forgotten at once, and their addresses with them. */
  'no orphans': () => ({
    etcd: (request) => ({ ...request, writes: request.writes.map((w) => (taskOf(w)?.orphan ? { delete: keyOf(w) } : w)) }),
  }),
  /** A node is declared dead although its session is there again. */
  'no look at sessions': () => withoutCompares((c) => c.key.startsWith(`${ROOT}node-sessions/`)),
  /** A task is made on a node that was drained while it was planned. */
  'no look at nodes': () => withoutCompares((c) => c.key.startsWith(`${ROOT}nodes/`)),
  'a rebalance moves all at once': allAtOnce,
  /** An agent says that it will restart a task before that is on its disk. */
  'restarts are not on record': () => ({ disk: (_, text) => text.replaceAll(/,"restartAsked":\{[^}]*\}/g, '') }),
};

const keyOf = (write: Write): string => ('put' in write ? write.put : '');

function taskOf(write: Write): Task | undefined {
  return 'put' in write && write.put.startsWith(`${ROOT}tasks/`) ? (JSON.parse(write.value) as Task) : undefined;
}

/** With the first task that a rebalance stops go all that are marked. */
function allAtOnce(): Fault {
  const tasks = new Map<string, Task>();
  const marked = new Set<string>();
  const stopped = (task: Task): Write => ({
    put: keys.task(task.id),
    value: JSON.stringify({ ...task, desired: 'stop', stopReason: REBALANCED }),
  });
  const etcd = (request: Request): Request => {
    for (const write of request.writes) {
      const task = taskOf(write);
      if (task) tasks.set(task.id, task);
      if ('put' in write && write.put.startsWith(MOVES)) marked.add(write.put.slice(MOVES.length));
      if ('delete' in write && write.delete.startsWith(MOVES)) marked.delete(write.delete.slice(MOVES.length));
    }
    const first = request.writes.map(taskOf).find((task) => task?.stopReason === REBALANCED);
    const others = [...marked].flatMap((id) => tasks.get(id) ?? []).filter((t) => t.service === first?.service && t.desired === 'run');
    return { ...request, writes: [...request.writes, ...others.map(stopped)] };
  };
  return { etcd };
}

const MOVES = `${ROOT}moves/`;
