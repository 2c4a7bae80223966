/**
 * News of nft tables, from an `nft monitor` that is renewed when it no longer knows what is there. It reads all tables once and then
 * listens: of a set that was made between the two, or told of while its socket ran over, it prints no element, ever, but a warning on its
 * standard error. Then another one is started, and the old one ends when that one was heard: in between both listen, and nothing is missed.
 */
import { backoffMs } from '#base/backoff.js';
import { isLost, NFT_MONITOR, NftEvents } from './kernel-events.js';
import { isMiss, missed, MonitorProcess, type NewsListener } from './monitor-process.js';
import type { OwnProcesses } from './own-processes.js';
import { run } from './runner.js';

/** Between renewals: some tool's tables may be such that nft never reads them. */
const REST = { initialMs: 500, maxMs: 60_000 };
/** After so long without a warning the rest is short again. */
const SETTLED_MS = 60_000;
/** Between transactions that change nothing, until a new monitor tells of one. */
const NUDGE_MS = 100;
/** A transaction that leaves nothing behind, and that every monitor tells of. */
const NUDGE = 'table ip weft_news {\n}\ndelete table ip weft_news\n';

export class NftNews {
  readonly #own: OwnProcesses;
  readonly #listener: NewsListener;
  #current: MonitorProcess | undefined;
  /** Started in place of `current`, and not heard yet. */
  #next: MonitorProcess | undefined;
  #resting: NodeJS.Timeout | undefined;
  #renewals = 0;
  #renewedAt = -Infinity;
  #isInDoubt = false;
  #stopped = false;

  constructor(own: OwnProcesses, listener: NewsListener) {
    this.#own = own;
    this.#listener = listener;
  }

  /** @returns ends it */
  start(): () => void {
    this.#current = this.#monitor();
    return () => {
      this.#stopped = true;
      clearTimeout(this.#resting);
      this.#current?.stop();
      this.#next?.stop();
    };
  }

  #monitor(): MonitorProcess {
    const nft = new NftEvents((pid) => this.#own.has(pid));
    const monitor: MonitorProcess = new MonitorProcess(NFT_MONITOR, {
      said: (line) => {
        if (monitor === this.#next) this.#succeed(monitor);
        // What was told by both is told once.
        if (monitor !== this.#current) return;
        const event = nft.take(line);
        if (event) this.#listener.event(event);
        if (isLost(line)) this.#doubt(line);
      },
      complained: (line) => {
        if (monitor !== this.#current) return;
        if (isMiss(line)) this.#listener.event(missed(line));
        if (line.trim() !== '') this.#doubt(line);
      },
      ended: (failure) => this.#ended(monitor, failure),
    });
    return monitor;
  }

  /** There is something that the monitor cannot tell of. Whose, it does not say. */
  #doubt(line: string): void {
    if (!this.#isInDoubt) this.#listener.event(missed(line));
    this.#isInDoubt = true;
    if (this.#next || this.#resting || this.#stopped) return;
    const sinceMs = performance.now() - this.#renewedAt;
    if (sinceMs > SETTLED_MS) this.#renewals = 0;
    const restMs = this.#renewals === 0 ? 0 : Math.max(0, backoffMs(this.#renewals - 1, REST) - sinceMs);
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
      this.#renew();
    }, restMs);
  }

  #renew(): void {
    this.#renewals++;
    this.#renewedAt = performance.now();
    const next = this.#monitor();
    this.#next = next;
    void this.#nudge(next);
  }

  /** It says nothing of its own when it is ready: so there is something to tell until it does. */
  async #nudge(next: MonitorProcess): Promise<void> {
    while (this.#next === next && !this.#stopped) {
      await run(['nft', '-f', '-'], { input: NUDGE, onStart: (pid) => this.#own.add(pid) }).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, NUDGE_MS));
    }
  }

  /** The new one listens: what the old one could not tell of since it was in doubt is looked at once. */
  #succeed(next: MonitorProcess): void {
    const old = this.#current;
    this.#current = next;
    this.#next = undefined;
    this.#isInDoubt = false;
    old?.stop();
    this.#listener.event(missed('nft monitor was renewed'));
  }

  #ended(monitor: MonitorProcess, failure: Parameters<NewsListener['ended']>[0]): void {
    if (monitor === this.#next) this.#next = undefined;
    else if (monitor === this.#current) {
      this.#stopped = true;
      clearTimeout(this.#resting);
      this.#next?.stop();
      this.#listener.ended(failure);
    }
  }
}
