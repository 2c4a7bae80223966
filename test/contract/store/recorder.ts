/** Records a feed, checks its order as it comes, and keeps the state that it describes. */
import type { Feed } from '#store/store.js';

export class Recorder {
  readonly feeds: Feed[] = [];
  readonly faults: string[] = [];
  readonly state = new Map<string, string>();
  clusterId = '';
  revision = 0;
  readonly #waiting = new Set<() => void>();

  readonly see = (feed: Feed): void => {
    this.feeds.push(feed);
    if (this.feeds[0]?.type !== 'snapshot' && feed.type === 'changes') this.faults.push('changes before the first snapshot');
    if (feed.type === 'snapshot') {
      this.state.clear();
      for (const e of feed.entries) this.state.set(e.key, e.value);
      this.clusterId = feed.clusterId;
      this.revision = feed.revision;
    } else if (feed.type === 'changes') this.#apply(feed);
    for (const check of this.#waiting) check();
  };

  count(type: Feed['type']): number {
    return this.feeds.filter((f) => f.type === type).length;
  }

  /** Every value that `key` took, in the order in which `changes` told them. */
  valuesOf(key: string): string[] {
    return this.feeds.flatMap((f) => (f.type === 'changes' ? f.puts.filter((p) => p.key === key).map((p) => p.value) : []));
  }

  /** Resolves as soon as `condition` holds. @throws after `withinMs` with what was recorded last. */
  until(what: string, condition: (recorder: this) => boolean, withinMs = 15_000): Promise<void> {
    if (condition(this)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        reject(new Error(`not within ${withinMs} ms: ${what}; last feeds: ${JSON.stringify(this.feeds.slice(-3))}`));
      }, withinMs);
      this.#waiting.add(check);
    });
  }

  #apply(feed: Extract<Feed, { type: 'changes' }>): void {
    if (feed.revision <= this.revision) this.faults.push(`revision ${feed.revision} came after ${this.revision}`);
    this.revision = feed.revision;
    for (const put of feed.puts) {
      if (put.modRevision !== feed.revision) this.faults.push(`${put.key} of ${put.modRevision} in revision ${feed.revision}`);
      this.state.set(put.key, put.value);
    }
    for (const gone of feed.deletes) {
      if (!this.state.delete(gone.key)) this.faults.push(`${gone.key} was deleted and not there`);
    }
  }
}

/** Resolves when `condition` resolves to true; asks every 20 ms. */
export async function eventually(what: string, condition: () => Promise<boolean> | boolean, withinMs = 15_000): Promise<void> {
  const until = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function aborted(signal: AbortSignal, withinMs = 15_000): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(() => reject(new Error(`not aborted within ${withinMs} ms`)), withinMs);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
