/** Faults planted between a controller and etcd: what a lazier program would have written. The simulation must find each of them. */
import { keys, ROOT } from '#model/keys.js';
import type { Task } from '#model/task.js';
import type { Compare, Write } from '#store/store.js';
import type { Request } from './etcd-way.js';

const withoutCompares =
  (isDropped: (compare: Compare) => boolean) =>
  (request: Request): Request => ({
    ...request,
    compares: request.compares.filter((c) => !isDropped(c)),
  });

export const FAULTS: Record<string, (request: Request) => Request> = {
  /** A leader that no longer leads goes on writing. */
  'no fence': withoutCompares((c) => c.key === keys.leader() && 'createRevision' in c),
  /** Neither the fence nor the slots are compared: two leaders fill a slot each. */
  'no fence, no slots': withoutCompares((c) => c.key.startsWith(`${ROOT}slots/`) || (c.key === keys.leader() && 'createRevision' in c)),
  /** Neither fence nor addresses are compared. */
  'no fence, no addresses': withoutCompares(
    (c) => c.key.startsWith(`${ROOT}leases/`) || (c.key === keys.leader() && 'createRevision' in c),
  ),
  /** The tasks of a dead node are forgotten at once, and their addresses with them. */
  'no orphans': (request) => ({ ...request, writes: request.writes.map((w) => (isOrphan(w) ? { delete: w.put } : w)) }),
  /** A node is declared dead although its session is there again. */
  'no look at sessions': withoutCompares((c) => c.key.startsWith(`${ROOT}node-sessions/`)),
};

function isOrphan(write: Write): write is { put: string; value: string } {
  return 'put' in write && write.put.startsWith(`${ROOT}tasks/`) && (JSON.parse(write.value) as Task).orphan === true;
}
