/** Restarts in place: each is a new process of the same task, one for every order, and none without. */
import type { Container } from './machine.js';
import { fail } from './violation.js';

export class RestartWatch {
  /** Tasks that an agent was told to start again, and that no process has begun of since. */
  readonly #asked = new Set<string>();
  /** The same, where the agent has promised it: it comes about though it dies. */
  readonly #promised = new Set<string>();
  readonly #running = new Set<string>();

  asked(taskId: string): void {
    this.#asked.add(taskId);
  }

  promised(taskId: string): void {
    this.#promised.add(taskId);
  }

  isOpen = (taskId: string): boolean => this.#promised.has(taskId);

  /** A process began or ended, or has other addresses. */
  onProcess({ task: { id, name }, state, isEndedByOrder }: Container): void {
    const ran = this.#running.has(id);
    if (state !== 'running') {
      this.#running.delete(id);
      if (ran && isEndedByOrder && !this.#asked.has(id)) fail(`${name} (${id}) was ended to be started again, and nobody asked for it`);
    } else if (!ran) {
      this.#running.add(id);
      this.#asked.delete(id);
      this.#promised.delete(id);
    }
  }
}
