/** Long-lived `ip monitor` and `nft monitor`, run by the command helper: it knows which nft processes are its own. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import type { HelperAnswer, Monitor } from './helper-protocol.js';
import { Lines } from './helper-protocol.js';
import { IP_MONITOR, ipEvent, NFT_MONITOR, NftEvents, type KernelEvent } from './kernel-events.js';

/** So many processes back, one of ours is known for ours. */
const REMEMBERED = 256;

/** Ids of the processes that were started last. */
export class OwnProcesses {
  readonly #pids: number[] = [];

  add(pid: number): void {
    this.#pids.push(pid);
    if (this.#pids.length > REMEMBERED) this.#pids.shift();
  }

  has(pid: number): boolean {
    return this.#pids.includes(pid);
  }
}

export class Monitors {
  readonly #own: OwnProcesses;
  readonly #children = new Set<ChildProcess>();

  constructor(own: OwnProcesses) {
    this.#own = own;
  }

  /** Answers `id` with each event, and with a failure when the monitor ended. */
  start(id: number, monitor: Monitor, say: (answer: HelperAnswer) => void): void {
    const [file = '', ...args] = monitor === 'ip' ? IP_MONITOR : NFT_MONITOR;
    const nft = new NftEvents((pid) => this.#own.has(pid));
    const read = (line: string): KernelEvent | undefined => (monitor === 'ip' ? ipEvent(line) : nft.take(line));
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    this.#children.add(child);
    const lines = new Lines();
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      for (const line of lines.take(chunk)) {
        const event = read(line);
        if (event) say({ id, event });
      }
    });
    let why = '';
    // It complains when it could not keep up: something was missed.
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      why = chunk.trim();
      say({ id, event: missed(why) });
    });
    child.once('error', (error) => (why = error.message));
    child.once('close', (code, signal) => {
      this.#children.delete(child);
      say({ id, failure: { what: `"${[file, ...args].join(' ')}" ended`, why: `${why} (${signal ?? code})` } });
    });
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}

const missed = (line: string): KernelEvent => ({ isLoss: false, isForeign: true, isNode: true, kind: 'link', words: [], line });
