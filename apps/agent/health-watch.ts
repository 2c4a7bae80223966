/**
 * Runs the health checks of the containers here, one loop a container, and tells when one's health changes. It needs no
 * controller. What a check means is judged in judge-health.ts.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { HealthProbe } from '#model/healthcheck.js';
import type { Runtime } from '#runtime/runtime.js';
import { afterProbe, newHealth, nextProbeMs, type Health } from './judge-health.js';
import { runCommand } from './run-command.js';

export interface HealthWatchOptions {
  runtime: Pick<Runtime, 'exec'>;
  onChange: (taskId: string, health: Health) => void;
  clock: Clock;
  log: Log;
}

interface Watched {
  health: Health;
  end: AbortController;
}

export class HealthWatch {
  readonly #o: HealthWatchOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: HealthWatchOptions) {
    this.#o = options;
  }

  /** @param startedAt of the container, ms since the epoch. @param state what is known of it from before */
  begin(taskId: string, probe: HealthProbe, startedAt: number, state?: Health['state']): void {
    this.end(taskId);
    const watched: Watched = { health: newHealth(state), end: new AbortController() };
    this.#watched.set(taskId, watched);
    void this.#watch(taskId, probe, startedAt, watched).catch((error: unknown) => {
      if (!watched.end.signal.aborted) this.#o.log.error({ id: taskId, error: messageOf(error) }, 'health checks ended');
    });
  }

  /** The container ended or is being stopped. */
  end(taskId: string): void {
    this.#watched.get(taskId)?.end.abort();
    this.#watched.delete(taskId);
  }

  endAll(): void {
    for (const id of [...this.#watched.keys()]) this.end(id);
  }

  health(taskId: string): Health | undefined {
    return this.#watched.get(taskId)?.health;
  }

  async #watch(taskId: string, probe: HealthProbe, startedAt: number, watched: Watched): Promise<void> {
    const { clock, log, onChange } = this.#o;
    const { signal } = watched.end;
    const sinceStart = () => clock.now() - startedAt;
    for (;;) {
      await clock.sleep(nextProbeMs(watched.health, probe, sinceStart()), signal);
      const began = sinceStart();
      const result = await runCommand(this.#o, { containerId: taskId, argv: probe.argv }, probe.timeoutMs, signal);
      if (signal.aborted) return;
      const before = watched.health;
      watched.health = afterProbe(before, result, probe, began);
      if (before.state === watched.health.state) continue;
      log.info({ id: taskId, health: watched.health.state, output: watched.health.output }, 'health changed');
      onChange(taskId, watched.health);
    }
  }
}
