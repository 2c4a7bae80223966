/** Which processes are our own: the kernel names the maker of a change by its process id. */

/** So many processes back, one of ours is known for ours. */
const REMEMBERED = 256;

/** Ids of the processes that were started last, and of those that stay. */
export class OwnProcesses {
  readonly #pids: number[] = [];
  readonly #kept = new Set<number>();

  add(pid: number): void {
    this.#pids.push(pid);
    if (this.#pids.length > REMEMBERED) this.#pids.shift();
  }

  /** One that stays. */
  keep(pid: number): void {
    this.#kept.add(pid);
  }

  /** It is gone; what it did last may still be told. */
  drop(pid: number): void {
    this.#kept.delete(pid);
    this.add(pid);
  }

  has(pid: number): boolean {
    return this.#kept.has(pid) || this.#pids.includes(pid);
  }
}
