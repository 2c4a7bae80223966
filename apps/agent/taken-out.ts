/**
 * How far this node has got: what its kernel and its name server both lead by. Tasks that drain elsewhere wait for this node's
 * word, so it is said at once when somebody was taken out, and with the next heartbeat otherwise.
 */
export class TakenOut {
  readonly #parts: readonly (() => number)[];
  readonly #tell: () => void;
  /** etcd revision of the view that took somebody out, and is not yet said to be in force. */
  #owed: number | undefined;

  /**
   * @param parts each the etcd revision of the view that it leads by, wholly; 0 for none
   * @param tell says `revision` to the controller, now
   */
  constructor(parts: readonly (() => number)[], tell: () => void) {
    this.#parts = parts;
    this.#tell = tell;
  }

  /** etcd revision of the view that all parts lead by. */
  get revision(): number {
    return Math.min(...this.#parts.map((part) => part()));
  }

  /** A view at `revision` leads to fewer backends than the one before. */
  lost(revision: number): void {
    this.#owed = Math.max(this.#owed ?? 0, revision);
    this.advanced();
  }

  /** A part has got further. */
  advanced(): void {
    if (this.#owed === undefined || this.revision < this.#owed) return;
    this.#owed = undefined;
    this.#tell();
  }
}
