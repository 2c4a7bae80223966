/** Long-lived `ip monitor` and `nft monitor`, run by the command helper: it knows which nft processes are its own. */
import type { HelperAnswer, Monitor } from './helper-protocol.js';
import { IP_MONITOR, ipEvent } from './kernel-events.js';
import { isMiss, missed, MonitorProcess, type NewsListener } from './monitor-process.js';
import { NftNews } from './nft-news.js';
import type { OwnProcesses } from './own-processes.js';

export class Monitors {
  readonly #own: OwnProcesses;
  readonly #stops = new Set<() => void>();

  constructor(own: OwnProcesses) {
    this.#own = own;
  }

  /** Answers `id` with each event, and with a failure when the monitor ended. */
  start(id: number, monitor: Monitor, say: (answer: HelperAnswer) => void): void {
    const listener: NewsListener = {
      event: (event) => say({ id, event }),
      ended: (failure) => {
        this.#stops.delete(stop);
        say({ id, failure });
      },
    };
    const stop = monitor === 'ip' ? followIp(listener) : new NftNews(this.#own, listener).start();
    this.#stops.add(stop);
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}

function followIp({ event, ended }: NewsListener): () => void {
  const process = new MonitorProcess(IP_MONITOR, {
    said: (line) => {
      const news = ipEvent(line);
      if (news) event(news);
    },
    complained: (line) => {
      if (isMiss(line)) event(missed(line));
    },
    ended,
  });
  return () => process.stop();
}
