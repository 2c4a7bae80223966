/** What services wait for, as the leader's plans see it; the events loop tells of it. */
import type { Waits } from '#planner/waiting-events.js';

export class WaitingBoard {
  #shown: Waits | undefined;
  #listener: () => void = () => undefined;

  /** @param waits undefined: nobody knows, as this controller does not lead, or has not planned yet */
  show(waits: Waits | undefined): void {
    const isNews = waits !== undefined && waits !== this.#shown;
    this.#shown = waits;
    if (isNews) this.#listener();
  }

  get shown(): Waits | undefined {
    return this.#shown;
  }

  /** Told whenever something waits, or waits no more. @returns what ends it */
  listen(listener: () => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = () => undefined);
  }
}
