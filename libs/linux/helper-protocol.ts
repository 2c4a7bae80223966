/** What an agent and its command helper say to one another: JSON, a line a message. Both are of one build. */
import type { KernelEvent } from './kernel-events.js';
import type { FlowWord } from './sessions.js';
import type { RunOptions, RunResult } from './runner.js';

/** What can be followed: `ip monitor`, `nft monitor`. */
export type Monitor = 'ip' | 'nft';

/** A word to a process that is kept, of `Sessions`. */
export type SessionRequest = { do: 'tell'; line: string } | { do: 'flowsOf'; words: readonly FlowWord[] } | { do: 'end' };

export interface HelperRequest {
  id: number;
  argv: readonly string[];
  options: RunOptions;
  /** The command is this monitor, and what it says is answered as it comes. */
  watch?: Monitor;
  /** The command is one that is kept, and this is said to it. */
  session?: SessionRequest;
  /** The command is started, and waits for a later request of the same words; or the one that waits is ended. */
  standby?: 'prepare' | 'drop';
}

export interface HelperAnswer {
  id: number;
  /** Of a monitor; more will follow. */
  event?: KernelEvent;
  result?: RunResult;
  /** What a session answers: whether it had a place, and the words it found. */
  session?: { told?: boolean; words?: FlowWord[] };
  /** Why there is no result: how the command ended, and what it said. */
  failure?: { what: string; why: string; hint?: string };
}

/** Splits a stream of text into its lines. */
export class Lines {
  #parts: string[] = [];

  /** The lines that `chunk` completes. */
  *take(chunk: string): Generator<string> {
    let from = 0;
    for (let at = chunk.indexOf('\n'); at >= 0; at = chunk.indexOf('\n', from)) {
      this.#parts.push(chunk.slice(from, at));
      yield this.#parts.join('');
      this.#parts = [];
      from = at + 1;
    }
    if (from < chunk.length) this.#parts.push(chunk.slice(from));
  }
}
