/** The set of open logs, and the verbs on it. Verbs on one container run one after another, on different ones side by side. */
import type { Log } from '#base/log.js';
import { WeftError, messageOf } from '#base/errors.js';
import type { KeeperRequest, LogSource } from '#logs/keeper-protocol.js';
import { ContainerLog, fifosOf, type Tap } from './container-log.js';
import { makeFifos } from './fifo.js';
import { readState, stateSaver } from './state-file.js';

export class Keeper {
  readonly #logs = new Map<string, ContainerLog>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #directory: string;
  readonly #log: Log;
  readonly #save: () => Promise<void>;
  #clean = false;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
    this.#save = stateSaver(directory, () => ({ clean: this.#clean, sources: [...this.#logs.values()].map((l) => l.source) }));
  }

  /** Opens again what the last keeper had open. Where it may have lost text, the log says so. */
  async restore(): Promise<void> {
    const state = await readState(this.#directory).catch((error: unknown) => {
      this.#log.error({ error: messageOf(error) }, 'the list of open logs could not be read; starting with none');
      return { clean: true, sources: [] };
    });
    const mark = state.clean ? undefined : `log keeper restarted at ${new Date().toISOString()}; lines may be missing`;
    await Promise.all(state.sources.map((source) => this.#reopen(source, mark)));
    this.#log.info({ reopened: this.#logs.size, known: state.sources.length, clean: state.clean }, 'log keeper is up');
    await this.#save();
  }

  async #reopen(source: LogSource, mark: string | undefined): Promise<void> {
    const opened = new ContainerLog(source, this.#log);
    try {
      await opened.start(mark);
      this.#logs.set(source.container, opened);
    } catch (error) {
      // After a reboot /run is empty: there is no container behind it any more.
      this.#log.warn({ container: source.container, error: messageOf(error) }, 'a log could not be opened again; it is forgotten');
    }
  }

  /** @param connection who asks: where a tap goes, until it is closed */
  async handle(request: KeeperRequest, connection: Tap & { onClose(listener: () => void): void }): Promise<object> {
    switch (request.verb) {
      case 'open':
        return this.#inTurn(request.source.container, () => this.#open(request.source));
      case 'close':
        return this.#inTurn(request.container, () => this.#close(request.container, request.remove));
      case 'flush':
        return this.#inTurn(request.container, () => this.#flush(request.container));
      case 'tap':
        return this.#inTurn(request.container, () => this.#tap(request.container, connection));
      case 'list':
        return { logs: [...this.#logs.values()].map((log) => log.state) };
    }
  }

  /** Ends in order: what the pipes hold is written, and the next keeper begins without a mark. FIFOs stay. */
  async shutdown(): Promise<void> {
    await Promise.all([...this.#logs.values()].map((log) => log.stop(false)));
    this.#clean = true;
    await this.#save();
  }

  async #open(source: LogSource): Promise<object> {
    const there = this.#logs.get(source.container);
    if (there) {
      if (!samePaths(there.source, source)) {
        throw new WeftError('CONFLICT', { what: `the log of ${source.container} is open with other paths`, hint: 'Close it first.' });
      }
      if (there.source.maxBytes !== source.maxBytes || there.source.maxFiles !== source.maxFiles) {
        there.setLimits(source);
        await this.#save();
      }
      return { opened: false };
    }
    await makeFifos(fifosOf(source));
    const opened = new ContainerLog(source, this.#log);
    await opened.start();
    this.#logs.set(source.container, opened);
    await this.#save();
    return { opened: true };
  }

  async #close(container: string, remove: boolean): Promise<object> {
    const there = this.#logs.get(container);
    if (!there) return { found: false };
    await there.stop(true);
    this.#logs.delete(container);
    await there.remove(remove);
    await this.#save();
    return { found: true };
  }

  async #flush(container: string): Promise<object> {
    const there = this.#logs.get(container);
    await there?.flush();
    return { found: there !== undefined };
  }

  #tap(container: string, connection: Tap & { onClose(listener: () => void): void }): Promise<object> {
    const there = this.#logs.get(container);
    if (!there) return Promise.reject(new WeftError('NOT_FOUND', `the log of ${container} is not open`));
    connection.onClose(there.tap(connection));
    return Promise.resolve({});
  }

  #inTurn<T>(container: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(container) ?? Promise.resolve()).then(work);
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.#turns.get(container) === settled) this.#turns.delete(container);
      });
    this.#turns.set(container, settled);
    return turn;
  }
}

const samePaths = (a: LogSource, b: LogSource): boolean => a.stdout === b.stdout && a.stderr === b.stderr && a.file === b.file;
