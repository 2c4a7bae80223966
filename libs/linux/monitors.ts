/** Long-lived `ip monitor` and `nft monitor`, run by the command helper: it knows which nft processes are its own. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import type { HelperAnswer, Monitor } from './helper-protocol.js';
import { Lines } from './helper-protocol.js';
import { IP_MONITOR, ipEvent, NFT_MONITOR, NftEvents, type KernelEvent } from './kernel-events.js';

/** So many processes back, one of ours is known for ours. */
const REMEMBERED = 256;

/** Ids of the processes that were started last, and of those that stay. */
export class OwnProcesses {
  readonly #pids: number[] = [];
  readonly #kept = new Set<number>();

  add(pid: number): void {
    this.#pids.push(pid);
    if (this.#pids.length > REMEMBERED) this.#pids.shift();
  }

  /** One that stays. */
  keep(pid: number): void {
    this.#kept.add(pid);
  }

  /** It is gone; what it did last may still be told. */
  drop(pid: number): void {
    this.#kept.delete(pid);
    this.add(pid);
  }

  has(pid: number): boolean {
    return this.#kept.has(pid) || this.#pids.includes(pid);
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
    const complaints = new Lines();
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      for (const line of complaints.take(chunk)) {
        why = line.trim();
        if (isMiss(line)) say({ id, event: missed(why) });
      }
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

/**
 * Complaints say that the monitor could not keep up, and something was missed. But `nft monitor` also warns (`W: …`) of each element of a
 * table that is younger than itself, ours as any; that it lost something it says among its news (NftEvents).
 */
export const isMiss = (line: string): boolean => line.trim() !== '' && !line.startsWith('W: ');

const missed = (line: string): KernelEvent => ({ isLoss: false, isForeign: true, isNode: true, kind: 'link', words: [], line });
