/** Sums over tasks, kept as tasks come and go: what placing one more has to know of all others. Filled by ReadModel. */
import type { Task } from '#model/task.js';
import type { Port } from '#model/stack.js';

export interface Reserved {
  memoryBytes: number;
  nanoCpus: number;
}

/** A task's ports of mode `host`. */
export interface HeldPorts {
  taskId: string;
  ports: Port[];
}

export const NOTHING_RESERVED: Reserved = { memoryBytes: 0, nanoCpus: 0 };

export class Tallies {
  readonly #tasks = new Map<string, number>();
  readonly #orphans = new Map<string, number>();
  readonly #ofService = new Map<string, Map<string, number>>();
  readonly #reserved = new Map<string, Reserved>();
  readonly #hostPorts = new Map<string, Map<string, HeldPorts>>();

  /** Tasks of a node. */
  tasksOn = (nodeId: string): number => this.#tasks.get(nodeId) ?? 0;

  /** Tasks of a node that were given up with it. */
  orphansOn = (nodeId: string): number => this.#orphans.get(nodeId) ?? 0;

  /** Node id → tasks of `stack/service` there; no zeros. */
  rowOf = (service: string): ReadonlyMap<string, number> => this.#ofService.get(service) ?? NONE;

  reservedOn = (nodeId: string): Reserved => this.#reserved.get(nodeId) ?? NOTHING_RESERVED;

  hostPortsOn = (nodeId: string): Iterable<HeldPorts> => this.#hostPorts.get(nodeId)?.values() ?? [];

  /** @param service `stack/service`. @param sign -1: it goes */
  count(task: Task, service: string, sign: 1 | -1): void {
    const { nodeId } = task;
    bump(this.#tasks, nodeId, sign);
    if (task.orphan) bump(this.#orphans, nodeId, sign);
    const row = this.#ofService.get(service) ?? new Map<string, number>();
    bump(row, nodeId, sign);
    if (row.size > 0) this.#ofService.set(service, row);
    else this.#ofService.delete(service);
    this.#reserve(nodeId, task.reservations, sign);
    this.#hold(task, sign);
  }

  clear(): void {
    for (const map of [this.#tasks, this.#orphans, this.#ofService, this.#reserved, this.#hostPorts]) map.clear();
  }

  #reserve(nodeId: string, { memoryBytes = 0, nanoCpus = 0 }: Partial<Reserved> = {}, sign: 1 | -1): void {
    if (memoryBytes === 0 && nanoCpus === 0) return;
    const before = this.reservedOn(nodeId);
    this.#reserved.set(nodeId, { memoryBytes: before.memoryBytes + sign * memoryBytes, nanoCpus: before.nanoCpus + sign * nanoCpus });
  }

  #hold({ id, nodeId, ports }: Task, sign: 1 | -1): void {
    const held = ports.filter((p) => p.mode === 'host');
    if (held.length === 0) return;
    const row = this.#hostPorts.get(nodeId) ?? new Map<string, HeldPorts>();
    if (sign === 1) row.set(id, { taskId: id, ports: held });
    else row.delete(id);
    if (row.size > 0) this.#hostPorts.set(nodeId, row);
    else this.#hostPorts.delete(nodeId);
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

function bump(map: Map<string, number>, key: string, by: number): void {
  const next = (map.get(key) ?? 0) + by;
  if (next === 0) map.delete(key);
  else map.set(key, next);
}
