/** Two small containers of the read model. */

/** A map of maps without empty inner maps. */
export class NestedMap<V> {
  readonly map = new Map<string, Map<string, V>>();

  set(outer: string, inner: string, value: V): void {
    let row = this.map.get(outer);
    if (!row) this.map.set(outer, (row = new Map()));
    row.set(inner, value);
  }

  delete(outer: string, inner: string): void {
    const row = this.map.get(outer);
    row?.delete(inner);
    if (row?.size === 0) this.map.delete(outer);
  }

  clear(): void {
    this.map.clear();
  }
}

/** Key → set of ids. */
export class SetIndex {
  readonly #sets = new Map<string, Set<string>>();

  keys(): Iterable<string> {
    return this.#sets.keys();
  }

  get(key: string): ReadonlySet<string> | undefined {
    return this.#sets.get(key);
  }

  add(key: string, id: string): void {
    let set = this.#sets.get(key);
    if (!set) this.#sets.set(key, (set = new Set()));
    set.add(id);
  }

  delete(key: string, id: string): void {
    const set = this.#sets.get(key);
    set?.delete(id);
    if (set?.size === 0) this.#sets.delete(key);
  }

  clear(): void {
    this.#sets.clear();
  }
}
