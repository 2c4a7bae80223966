/**
 * Nodes by how many tasks they have, then those that are liked (they have the image), then by name: the next one for a task is found without looking at all of them. A binary
 * heap whose entries may be out of date: one that is, is put back where it belongs when it comes up.
 */
import type { Node } from '#model/node.js';

interface Entry {
  node: Node;
  /** Tasks it had when this was written. */
  tasks: number;
  isLiked: boolean;
}

export class NodeOrder {
  readonly #heap: Entry[];
  readonly #members: ReadonlySet<string>;
  readonly #tasksOn: (nodeId: string) => number;
  readonly #liked: ReadonlySet<string>;

  /**
   * @param tasksOn how many tasks a node has by now
   * @param liked ids of nodes that come first of those with as many tasks
   */
  constructor(nodes: readonly Node[], tasksOn: (nodeId: string) => number, liked: ReadonlySet<string> = NOBODY) {
    this.#tasksOn = tasksOn;
    this.#liked = liked;
    this.#members = new Set(nodes.map((n) => n.id));
    // A sorted array is a heap.
    this.#heap = nodes.map((node) => this.#entry(node, tasksOn(node.id))).sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  /** A node has fewer tasks than before; that one has more is found without a word. */
  lighter(node: Node): void {
    if (this.#members.has(node.id)) this.#push(this.#entry(node, this.#tasksOn(node.id)));
  }

  #entry = (node: Node, tasks: number): Entry => ({ node, tasks, isLiked: this.#liked.has(node.id) });

  /** The first that `isAble`. */
  first(isAble: (node: Node) => boolean): Node | undefined {
    const skipped: Entry[] = [];
    let found: Node | undefined;
    for (let top = this.#heap[0]; top && !found; top = this.#heap[0]) {
      const tasks = this.#tasksOn(top.node.id);
      if (top.tasks !== tasks) {
        this.#pop();
        this.#push({ ...top, tasks });
      } else if (isAble(top.node)) found = top.node;
      else {
        this.#pop();
        skipped.push(top);
      }
    }
    for (const entry of skipped) this.#push(entry);
    return found;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent] as Entry)) break;
      heap[at] = heap[parent] as Entry;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!isBefore(heap[child] as Entry, last)) break;
      heap[at] = heap[child] as Entry;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Entry, b: Entry): boolean => {
  if (a.tasks !== b.tasks) return a.tasks < b.tasks;
  return a.isLiked === b.isLiked ? a.node.name < b.node.name : a.isLiked;
};

const NOBODY: ReadonlySet<string> = new Set();
