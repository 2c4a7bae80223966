/**
 * Election: who creates the key leads, and the key's create-revision is the fence. The key is bound to the leader's lease, so
 * it goes away with the leader; its create-revision never comes back, so a write that compares it can only be made by the
 * leader of that very term.
 */
import type { Clock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import { linkedSignal } from '#base/linked-signal.js';
import type { Log } from '#base/log.js';
import { pause } from '#base/timers.js';
import type { Compare, Feed, Following, Leadership, Session } from './store.js';
import type { Wire, WireEntry } from './wire.js';

/** A look at the key although nothing was reported: covers whatever a feed could miss. */
const RECHECK_MS = 2_000;
/** After an error of etcd. */
const RETRY_MS = 500;

export interface CampaignTools {
  wire: Wire;
  clock: Clock;
  log: Log;
  follow(prefix: string, onFeed: (feed: Feed) => void): Following;
}

export interface Candidacy {
  electionKey: string;
  value: string;
  session: Session;
  signal: AbortSignal | undefined;
}

/** @throws the signal's reason when it aborts, STORE when the session is lost first. */
export async function campaign(tools: CampaignTools, candidacy: Candidacy): Promise<Leadership> {
  const { electionKey, session, signal } = candidacy;
  const { signal: giveUp, unlink } = linkedSignal(...(signal ? [signal] : []), session.lost);
  const bell = new Bell();
  const watcher = new KeyWatcher(electionKey, bell);
  const following = tools.follow(electionKey, (feed) => watcher.see(feed));
  try {
    for (;;) {
      giveUp.throwIfAborted();
      const term = await tryOnce(tools, candidacy);
      if (typeof term === 'number') {
        if (giveUp.aborted) {
          await dropKey(tools, fenceOf(electionKey, term));
          giveUp.throwIfAborted();
        }
        return leadership(tools, { candidacy, term, watcher, following });
      }
      const { over, end } = pause(tools.clock, term === 'taken' ? RECHECK_MS : RETRY_MS, giveUp);
      await Promise.race(term === 'taken' ? [over, bell.rung()] : [over]);
      end();
    }
  } catch (error) {
    await following.stop();
    throw error;
  } finally {
    unlink();
  }
}

function fenceOf(key: string, createRevision: number): Compare {
  return { key, createRevision };
}

/** @returns the create-revision of the key if it is ours now, 'taken' if another holds it, 'failed' if etcd did not say. */
async function tryOnce(tools: CampaignTools, { electionKey, value, session }: Candidacy): Promise<number | 'taken' | 'failed'> {
  try {
    const { entries } = await tools.wire.range({ prefix: electionKey, exact: true });
    const holder: WireEntry | undefined = entries[0];
    // Ours already: an earlier try whose outcome we never learnt did arrive.
    if (holder) return holder.lease === session.leaseId ? holder.createRevision : 'taken';
    const { ok, revision } = await tools.wire.txn(
      [{ key: electionKey, exists: false }],
      [{ put: electionKey, value, lease: session.leaseId }],
    );
    return ok ? revision : 'taken';
  } catch (error) {
    tools.log.debug({ key: electionKey, error: messageOf(error) }, 'could not stand for election; trying again');
    return 'failed';
  }
}

async function dropKey(tools: CampaignTools, fence: Compare): Promise<void> {
  try {
    await tools.wire.txn([fence], [{ delete: fence.key }]);
  } catch (error) {
    tools.log.debug({ key: fence.key, error: messageOf(error) }, 'could not give the key back; it goes with its lease');
  }
}

function leadership(
  tools: CampaignTools,
  { candidacy, term, watcher, following }: { candidacy: Candidacy; term: number; watcher: KeyWatcher; following: Following },
): Leadership {
  const { electionKey, session } = candidacy;
  const fence = fenceOf(electionKey, term);
  const over = new AbortController();
  const end = (why: string) => {
    if (over.signal.aborted) return;
    over.abort(new WeftError('NOT_LEADER', { what: 'this controller no longer leads', why }));
    void following.stop();
  };
  const onSessionLost = () => end(messageOf(session.lost.reason));
  if (session.lost.aborted) onSessionLost();
  else session.lost.addEventListener('abort', onSessionLost, { once: true });
  watcher.guard(term, () => end('the leader key is gone or belongs to another term'));
  return {
    fence,
    get lost() {
      // Reading the session's own signal makes it check its deadline, whatever the timers do.
      if (session.lost.aborted) onSessionLost();
      return over.signal;
    },
    resign: async () => {
      session.lost.removeEventListener('abort', onSessionLost);
      end('it resigned');
      await dropKey(tools, fence);
    },
  };
}

/** Wakes a waiting candidate; a ring while nobody waits is kept for the next one. */
class Bell {
  #waiting: (() => void)[] = [];
  #pending = false;

  rung(): Promise<void> {
    if (this.#pending) {
      this.#pending = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  ring(): void {
    this.#pending = this.#waiting.length === 0;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** What the feed says about the election key: rings when it is free; as leader, tells when the term is over. */
class KeyWatcher {
  readonly #key: string;
  readonly #bell: Bell;
  /** Create-revision as last seen, 0 when absent, and the revision at which that was so. */
  #seen = { createRevision: 0, at: 0 };
  #guarded: { term: number; onOver: () => void } | undefined;

  constructor(key: string, bell: Bell) {
    this.#key = key;
    this.#bell = bell;
  }

  see(feed: Feed): void {
    if (feed.type === 'snapshot') {
      // A snapshot may have a lower revision than the last: then it is another etcd, and what was seen before means nothing.
      const entry = feed.entries.find((e) => e.key === this.#key);
      this.#note(entry?.createRevision ?? 0, feed.revision, this.#seen.at > feed.revision);
    } else if (feed.type === 'changes') {
      const put = feed.puts.find((e) => e.key === this.#key);
      if (put) this.#note(put.createRevision, feed.revision, false);
      else if (feed.deletes.some((d) => d.key === this.#key)) this.#note(0, feed.revision, false);
    }
  }

  /** From now on `onOver` is called when the key is seen in a state later than `term` that is not of this term. */
  guard(term: number, onOver: () => void): void {
    this.#guarded = { term, onOver };
    this.#check(false);
  }

  #note(createRevision: number, at: number, wentBack: boolean): void {
    this.#seen = { createRevision, at };
    if (createRevision === 0) this.#bell.ring();
    this.#check(wentBack);
  }

  #check(wentBack: boolean): void {
    if (!this.#guarded) return;
    const { term, onOver } = this.#guarded;
    // The feed may lag behind the transaction that won: a state from before our term says nothing about it.
    if (this.#seen.at < term && !wentBack) return;
    if (this.#seen.createRevision !== term) onOver();
  }
}
