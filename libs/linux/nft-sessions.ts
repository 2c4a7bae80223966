/**
 * nft processes that stay. An nft that is started for one change costs its start, its end (which waits for the kernel to free what
 * others deleted) and, in a task's namespace, `nsenter`; `nft -i` reads a transaction a line, and does it in a millisecond. Each is also
 * a process in its namespace, by which the flows there can be read.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import { Lines } from './helper-protocol.js';
import type { FlowWord, Sessions } from './sessions.js';

/** Each holds 2 to 3 MB. */
const MOST = 32;
/** One that was used so lately, in milliseconds, gives its place to no other. */
const IN_USE_MS = 10_000;
/** One that was not used for so long ends. */
const IDLE_MS = 300_000;
const TIMEOUT_MS = 20_000;
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

export class NftSessions implements Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #onStart: (pid: number) => void;
  readonly #onEnd: (pid: number) => void;

  /** @param onStart told the id of each process that stays, before it does anything · @param onEnd when it is gone */
  constructor(onStart: (pid: number) => void = () => undefined, onEnd: (pid: number) => void = () => undefined) {
    this.#onStart = onStart;
    this.#onEnd = onEnd;
  }

  async tell(argv: readonly string[], line: string): Promise<boolean> {
    const session = this.#session(argv);
    if (!session) return false;
    const said = await session.ask(line);
    if (said === '') return true;
    throw new WeftError('COMMAND_FAILED', { what: `"${argv.join(' ')}" did not take "${line.slice(0, 200)}"`, why: said.slice(0, 500) });
  }

  async flowsOf(argv: readonly string[], words: readonly FlowWord[]): Promise<FlowWord[]> {
    const session = this.#session(argv);
    if (!session) return [...words];
    try {
      // Whoever answered is in its namespace by now.
      await session.ask('');
      return await wordsIn(`/proc/${session.pid}/net/nf_conntrack`, words);
    } catch {
      return [...words];
    }
  }

  async end(argv: readonly string[]): Promise<void> {
    const key = argv.join(' ');
    const session = this.#sessions.get(key);
    // Its end may take a while (the kernel frees what it deleted); whoever comes meanwhile gets another.
    this.#sessions.delete(key);
    await session?.end();
  }

  stop(): void {
    for (const session of this.#sessions.values()) void session.end();
  }

  #session(argv: readonly string[]): Session | undefined {
    const key = argv.join(' ');
    const found = this.#sessions.get(key);
    if (found) {
      // The map is in the order of the last use.
      this.#sessions.delete(key);
      this.#sessions.set(key, found);
      return found;
    }
    if (this.#sessions.size >= MOST && !this.#makeRoom()) return undefined;
    const session = new Session(argv, this.#onStart, (pid) => {
      if (this.#sessions.get(key) === session) this.#sessions.delete(key);
      if (pid !== undefined) this.#onEnd(pid);
    });
    this.#sessions.set(key, session);
    return session;
  }

  #makeRoom(): boolean {
    const [oldest] = this.#sessions;
    if (!oldest || performance.now() - oldest[1].usedAt < IN_USE_MS) return false;
    this.#sessions.delete(oldest[0]);
    void oldest[1].end();
    return true;
  }
}

/** One process. What is asked of it is asked one after another. */
class Session {
  usedAt = performance.now();
  readonly #child: ChildProcessByStdio<Writable, null, Readable>;
  readonly #gone: Promise<void>;
  #isGone = false;
  #why = 'it ended';
  #said = '';
  #heard: () => void = () => undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #asked = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor([file = '', ...args]: readonly string[], onStart: (pid: number) => void, onEnd: (pid: number | undefined) => void) {
    const child = spawn(file, args, { stdio: ['pipe', 'ignore', 'pipe'], env: ENVIRONMENT });
    this.#child = child;
    if (child.pid !== undefined) onStart(child.pid);
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#said += chunk;
      this.#heard();
    });
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => (this.#why = error.message));
    this.#gone = new Promise((resolve) =>
      child.once('close', () => {
        this.#isGone = true;
        clearTimeout(this.#idle);
        onEnd(child.pid);
        this.#heard();
        resolve();
      }),
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** @returns what it complained of; '' if it did all @throws COMMAND_FAILED when it died over it */
  ask(line: string): Promise<string> {
    this.usedAt = performance.now();
    const answer = this.#queue.then(() => this.#ask(line));
    this.#queue = answer.catch(() => undefined);
    return answer;
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIMEOUT_MS);
    await this.#gone;
    clearTimeout(timer);
  }

  /** nft says nothing of what went well. A word that it does not know is complained of: when that comes, all before it is done. */
  async #ask(line: string): Promise<string> {
    const word = `weft_done_${++this.#asked}`;
    const end = new RegExp(`(?:^|\\n)Error: [^\\n]*\\n${word}\\n *\\^+\\n`);
    this.#said = '';
    clearTimeout(this.#idle);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), TIMEOUT_MS);
    if (!this.#isGone) this.#child.stdin.write(`${line === '' ? '' : `${line}\n`}${word}\n`);
    const found = await new Promise<RegExpExecArray | undefined>((resolve) => {
      this.#heard = () => {
        const match = end.exec(this.#said) ?? undefined;
        if (match || this.#isGone) resolve(match);
      };
      this.#heard();
    });
    clearTimeout(timer);
    if (!found)
      throw new WeftError('COMMAND_FAILED', { what: 'an nft process that was kept has ended', why: this.#said.trim() || this.#why });
    this.#idle = setTimeout(() => void this.end(), IDLE_MS).unref();
    return this.#said.slice(0, found.index).trim();
  }
}

/** Those of `words` that a line of the file has. The kernel prints tracked flows one a line (nf_conntrack_standalone.c, ct_seq_show). */
async function wordsIn(file: string, words: readonly FlowWord[]): Promise<FlowWord[]> {
  const wanted = new Set(words);
  const lines = new Lines();
  for await (const chunk of createReadStream(file, { encoding: 'utf8' })) {
    for (const line of lines.take(String(chunk))) for (const w of wanted) if (hasWord(line, w)) wanted.delete(w);
    if (wanted.size === 0) break;
  }
  return words.filter((w) => !wanted.has(w));
}

const hasWord = (line: string, { word, udp }: FlowWord): boolean => line.includes(` ${word} `) && (!udp || line.includes(' udp '));
