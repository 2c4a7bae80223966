/** Tells the name server what to answer: whenever the view's names changed, the host's own servers did, or it came back. */
import type { Stop } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { backoffMs } from '#base/backoff.js';
import type { DesiredStore } from '../desired-store.js';

const COALESCE_MS = 10;
const RETRY = { initialMs: 100, maxMs: 2_000 };

export interface NamesLoopOptions<Config> {
  store: DesiredStore;
  /** The view as the name server wants it. Pure. */
  configOf: (store: DesiredStore) => Config;
  set: (config: Config) => Promise<void>;
  /** false while there is nothing to tell. */
  isKnown: () => boolean;
  /** Called when the name server answers by a later view than before. */
  onTold?: () => void;
  log: Log;
}

export class NamesLoop<Config> {
  readonly #o: NamesLoopOptions<Config>;
  readonly #stops: Stop[] = [];
  /** What the name server has, as text. */
  #told: string | undefined;
  #toldRevision = 0;
  /** Counts the name server's lives: what was told to an earlier one does not count. */
  #life = 0;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #again = false;
  #failures = 0;
  #isOn = false;

  constructor(options: NamesLoopOptions<Config>) {
    this.#o = options;
  }

  /** Revision of the view that the name server answers by; 0 for none that this agent knows of. */
  get toldRevision(): number {
    return this.#toldRevision;
  }

  /** From now on there is a name server to tell. */
  start(): void {
    this.#isOn = true;
    this.#stops.push(this.#o.store.onChange(() => this.kick()));
    this.kick();
  }

  stop(): void {
    this.#isOn = false;
    clearTimeout(this.#timer);
    for (const stop of this.#stops.splice(0)) void stop();
  }

  /** The name server began anew and knows nothing. */
  cameUp(): void {
    this.#told = undefined;
    this.#toldRevision = 0;
    this.#life++;
    this.kick();
  }

  kick(delayMs = COALESCE_MS): void {
    if (!this.#isOn) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#tell();
    }, delayMs);
  }

  async #tell(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return;
    }
    if (!this.#o.isKnown()) return;
    const { revision } = this.#o.store.view;
    const config = this.#o.configOf(this.#o.store);
    const text = JSON.stringify(config);
    if (text === this.#told) return this.#isAt(revision);
    this.#running = true;
    const life = this.#life;
    try {
      await this.#o.set(config);
      if (life === this.#life) {
        this.#told = text;
        this.#isAt(revision);
      }
      this.#failures = 0;
    } catch (error) {
      this.#o.log.warn({ error: messageOf(error) }, 'the name server could not be told the names; trying again');
      this.kick(backoffMs(this.#failures++, RETRY));
    } finally {
      this.#running = false;
      if (this.#again) this.kick();
      this.#again = false;
    }
  }

  #isAt(revision: number): void {
    this.#toldRevision = revision;
    this.#o.onTold?.();
  }
}
