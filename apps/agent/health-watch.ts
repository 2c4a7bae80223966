/**
 * Runs the health checks of the containers here, one loop a container, and tells when one's health changes. It needs no
 * controller. What a check means is judged in judge-health.ts.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { HealthProbe } from '#model/healthcheck.js';
import type { ExecSession, Runtime } from '#runtime/runtime.js';
import { afterProbe, newHealth, nextProbeMs, type Health, type ProbeResult } from './judge-health.js';
import { inSeconds } from './plan-tasks.js';

/** Of a check's output, in bytes: Docker keeps as much. */
const MAX_OUTPUT_BYTES = 4096;
/** How long a killed check may take to be gone before it is left alone. */
const KILLED_MS = 5_000;

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
      const result = await this.#probe(taskId, probe, signal);
      if (signal.aborted) return;
      const before = watched.health;
      watched.health = afterProbe(before, result, probe, began);
      if (before.state === watched.health.state) continue;
      log.info({ id: taskId, health: watched.health.state, output: watched.health.output }, 'health changed');
      onChange(taskId, watched.health);
    }
  }

  async #probe(taskId: string, { argv, timeoutMs }: HealthProbe, signal: AbortSignal): Promise<ProbeResult> {
    const late = new AbortController();
    const timeout = this.#o.clock.sleep(timeoutMs, late.signal).then(
      () => 'late' as const,
      () => 'late' as const,
    );
    let session: ExecSession | undefined;
    const output = new Tail();
    const run = async (): Promise<ProbeResult> => {
      session = await this.#o.runtime.exec({ containerId: taskId, argv, tty: false });
      session.stdin.end();
      output.take(session.stdout);
      output.take(session.stderr);
      // It took so long to begin that nobody waits for it any more.
      if (late.signal.aborted) await session.signal('SIGKILL');
      return { exitCode: await session.exited, output: '' };
    };
    const running = run().catch((error: unknown): ProbeResult => ({ error: messageOf(error), output: '' }));
    const stop = abortion(signal);
    const first = await Promise.race([running, timeout, stop.happened]);
    late.abort();
    stop.forget();
    if (typeof first !== 'string') return { ...first, output: output.text };
    await this.#kill(session, running);
    return { error: `took longer than ${inSeconds(timeoutMs)}`, output: output.text };
  }

  async #kill(session: ExecSession | undefined, running: Promise<unknown>): Promise<void> {
    await session?.signal('SIGKILL').catch(() => undefined);
    const enough = new AbortController();
    await Promise.race([running, this.#o.clock.sleep(KILLED_MS, enough.signal).catch(() => undefined)]);
    enough.abort();
    // A grandchild may hold the pipes for ever: nobody reads them any more.
    session?.stdout.destroy();
    session?.stderr.destroy();
  }
}

function abortion(signal: AbortSignal): { happened: Promise<'aborted'>; forget: () => void } {
  let forget: () => void = () => undefined;
  const happened = new Promise<'aborted'>((resolve) => {
    const tell = () => resolve('aborted');
    if (signal.aborted) return tell();
    signal.addEventListener('abort', tell, { once: true });
    forget = () => signal.removeEventListener('abort', tell);
  });
  return { happened, forget };
}

/** The last bytes of what a program says. */
class Tail {
  #bytes = Buffer.alloc(0);

  take(stream: NodeJS.ReadableStream): void {
    stream.on('data', (chunk: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-MAX_OUTPUT_BYTES)));
    stream.on('error', () => undefined);
  }

  get text(): string {
    return this.#bytes.toString('utf8');
  }
}
