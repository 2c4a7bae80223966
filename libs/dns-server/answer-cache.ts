/**
 * Encoded answers, kept by the bytes of their request less its id. An answer is a function of the view, those bytes and the
 * turn of the round-robin, so nothing is decoded when a request comes again: this is what makes the server fast. It is thrown
 * away whole with its zone.
 */
const MAX_ENTRIES = 4096;
/** Longer requests are rare, and keeping them would let a client fill the memory. */
const MAX_REQUEST_BYTES = 300;
/** Of a name with more addresses so many orders are kept, evenly spread. */
const MAX_ORDERS = 16;
/** Requests differ in their first two bytes, the id. */
const ID_BYTES = 2;

interface Entry {
  orders: Buffer[];
  /** Orders still to be made count, too. */
  wanted: number;
  /** Distance between two kept orders. */
  stride: number;
  next: number;
}

export class AnswerCache {
  readonly #entries = new Map<string, Entry>();
  #turn = 0;

  /**
   * The answer to this request as it is to be sent, but with another id; undefined if it must be made, with the turn that
   * `turnFor` tells. The buffer stays the cache's.
   */
  find(request: Buffer): Buffer | undefined {
    const entry = this.#entries.get(request.toString('latin1', ID_BYTES));
    if (!entry || entry.orders.length < entry.wanted) return undefined;
    entry.next = entry.next + 1 < entry.wanted ? entry.next + 1 : 0;
    return entry.orders[entry.next];
  }

  turnFor(request: Buffer): number {
    const entry = this.#entries.get(request.toString('latin1', ID_BYTES));
    return entry ? entry.orders.length * entry.stride : this.#turn++;
  }

  /** Keeps a copy of `answer`; `turns` is in how many orders it could have come, 0 if it must not be kept. */
  keep(request: Buffer, answer: Uint8Array, turns: number): void {
    if (turns === 0 || request.length > MAX_REQUEST_BYTES) return;
    const key = request.toString('latin1', ID_BYTES);
    let entry = this.#entries.get(key);
    if (!entry) {
      if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
      entry = { orders: [], wanted: Math.min(turns, MAX_ORDERS), stride: Math.max(1, Math.floor(turns / MAX_ORDERS)), next: 0 };
      this.#entries.set(key, entry);
    }
    entry.orders.push(Buffer.from(answer));
  }
}
