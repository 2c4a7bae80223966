/**
 * What is known of this node's containers without asking each time: a listing, kept up to date by events and by the
 * agent's own deeds. A listing takes a while: what changed meanwhile is newer than what it says.
 */
import type { Task } from '#model/task.js';
import type { ContainerInfo } from '#runtime/runtime.js';
import { NAME_LABEL, TASK_LABEL } from './plan-tasks.js';

export class Observed {
  readonly #containers = new Map<string, ContainerInfo>();
  readonly #changedAt = new Map<string, number>();
  #tick = 0;

  all(): ContainerInfo[] {
    return [...this.#containers.values()];
  }

  get(id: string): ContainerInfo | undefined {
    return this.#containers.get(id);
  }

  put(info: ContainerInfo): void {
    this.#containers.set(info.id, info);
    this.#changedAt.set(info.id, ++this.#tick);
  }

  delete(id: string): void {
    this.#containers.delete(id);
    this.#changedAt.set(id, ++this.#tick);
  }

  /** Takes over a whole listing; `list` must not have begun before this was called. */
  async refresh(list: () => Promise<ContainerInfo[]>, skip: (id: string) => boolean): Promise<void> {
    const since = this.#tick;
    const found = new Map((await list()).map((c) => [c.id, c]));
    const isStale = (id: string) => skip(id) || (this.#changedAt.get(id) ?? 0) > since;
    for (const id of this.#containers.keys()) if (!found.has(id) && !isStale(id)) this.#containers.delete(id);
    for (const [id, info] of found) if (!isStale(id)) this.#containers.set(id, info);
    if (this.#tick === since) this.#changedAt.clear();
  }
}

/** What a listing will say of a task's container. */
export const infoOf = (task: Task, state: ContainerInfo['state']): ContainerInfo => ({
  id: task.id,
  image: task.container.image,
  labels: { [TASK_LABEL]: task.id, [NAME_LABEL]: task.name },
  state,
});
