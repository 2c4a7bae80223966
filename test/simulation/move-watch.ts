/**
 * What `ctl rebalance` must not do: take more of a service away at a time than its updates may. Judged by what was so for longer than
 * any leader may be behind: it decides on what it has heard, and what nodes tell is written by others.
 */
import type { Service, StackRecord } from '#model/stack.js';
import type { Task, TaskStatus } from '#model/task.js';
import { REBALANCED } from '#planner/moves.js';
import { canSurge } from '#planner/rollout.js';
import { fail } from './violation.js';

/** A leader has heard what is older, in milliseconds: its lease is over before. */
const SURELY_HEARD_MS = 6_000;

interface Up {
  nodeId: string;
  restarts: number;
  since: number;
}

export class MoveWatch {
  /** Tasks that are up without a break. */
  readonly #up = new Map<string, Up>();
  /** Slots whose tasks a rebalance took while they were up, and of whose next ones nothing is known yet. */
  readonly #away = new Map<string, Task>();
  /** Stack → as it is, and as it was at times that a leader may still decide by. */
  readonly #records = new Map<string, { record: StackRecord; until: number }[]>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  onStack(name: string, record: StackRecord | undefined): void {
    const known = (this.#records.get(name) ?? []).filter(({ until }) => until > this.#now() - SURELY_HEARD_MS);
    const last = known.at(-1);
    if (last) last.until = Math.min(last.until, this.#now());
    this.#records.set(name, record ? [...known, { record, until: Infinity }] : known);
  }

  onNode(nodeId: string, isReady: boolean): void {
    if (!isReady) for (const [id, up] of this.#up) if (up.nodeId === nodeId) this.#up.delete(id);
  }

  onStatus(id: string, status: TaskStatus | undefined, task: Task | undefined): void {
    const before = this.#up.get(id);
    if (status?.state !== 'running') this.#up.delete(id);
    else if (before?.restarts !== status.restarts)
      this.#up.set(id, { nodeId: status.nodeId, restarts: status.restarts, since: this.#now() });
    const isOnItsWay = status === undefined || ['pending', 'preparing', 'starting'].includes(status.state);
    if (task?.desired === 'run' && !isOnItsWay) this.#away.delete(slotOf(task));
  }

  onTask(before: Task | undefined, task: Task): void {
    if (before?.desired !== 'run' || task.desired !== 'stop' || task.stopReason !== REBALANCED) return;
    const up = this.#up.get(task.id);
    if (!up || this.#now() - up.since < SURELY_HEARD_MS) return;
    this.#away.set(slotOf(task), task);
    const away = [...this.#away.values()].filter((t) => t.stack === task.stack && t.service === task.service);
    const most = Math.max(...this.#services(task).map(mostAway));
    if (away.length > most) fail(`a rebalance took ${away.map((t) => t.name).join(' and ')} at a time, and ${most} may be away`);
  }

  /** As its service is, and was a while ago. */
  #services({ stack, service }: Task): Service[] {
    const records = (this.#records.get(stack) ?? []).filter(({ until }) => until > this.#now() - SURELY_HEARD_MS);
    return records.flatMap(({ record }) => record.spec.services[service] ?? []);
  }
}

const slotOf = ({ stack, service, slot }: Task): string => `${stack}/${service}/${slot}`;

function mostAway(service: Service): number {
  if (!service.update) return 1;
  return service.update.order === 'start-first' && canSurge(service) ? 0 : service.update.parallelism || Infinity;
}
