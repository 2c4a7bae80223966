/** Whatever starts returns what stops it. A stack of such stops runs in reverse order, collects errors and goes on. */
export type Stop = () => Promise<void> | void;

export class StopStack {
  readonly #stops: { name: string; stop: Stop }[] = [];

  push(name: string, stop: Stop): void {
    this.#stops.push({ name, stop });
  }

  /** Runs every stop, last first. Resolves with the errors met; never rejects. */
  async stopAll(): Promise<{ name: string; error: unknown }[]> {
    const errors: { name: string; error: unknown }[] = [];
    for (const { name, stop } of this.#stops.splice(0).reverse()) {
      try {
        await stop();
      } catch (error) {
        errors.push({ name, error });
      }
    }
    return errors;
  }
}
