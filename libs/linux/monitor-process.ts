/** A long-lived command that prints news, a line each. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { Lines, type HelperAnswer } from './helper-protocol.js';
import type { KernelEvent } from './kernel-events.js';

/** Who is told what a monitor found. */
export interface NewsListener {
  event: (event: KernelEvent) => void;
  /** Nothing more will come. */
  ended: (failure: NonNullable<HelperAnswer['failure']>) => void;
}

export interface MonitorHandlers {
  /** A line of its standard output. */
  said: (line: string) => void;
  /** A line of its standard error. */
  complained: (line: string) => void;
  ended: NewsListener['ended'];
}

export class MonitorProcess {
  readonly #child: ChildProcess;

  constructor(argv: readonly string[], { said, complained, ended }: MonitorHandlers) {
    const [file = '', ...args] = argv;
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
    this.#child = child;
    let why = '';
    readLines(child.stdout, said);
    readLines(child.stderr, (line) => {
      why = line.trim();
      complained(line);
    });
    child.once('error', (error) => (why = error.message));
    child.once('close', (code, signal) => ended({ what: `"${argv.join(' ')}" ended`, why: `${why} (${signal ?? code})` }));
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

function readLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  const lines = new Lines();
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    for (const line of lines.take(chunk)) take(line);
  });
}

/**
 * Complaints say that the monitor could not keep up, and something was missed. But `nft monitor` also warns (`W: …`) of what it cannot
 * read, other tools' tables as well as ours (nft-news.ts); that it lost something it says among its news (NftEvents).
 */
export const isMiss = (line: string): boolean => line.trim() !== '' && !line.startsWith('W: ');

/** An event that says: something may have changed. */
export const missed = (line: string): KernelEvent => ({ isLoss: false, isForeign: true, isNode: true, kind: 'link', words: [], line });
