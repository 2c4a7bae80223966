/**
 * The file side of one container's log: batches, rotation, and what happens when the disk does not take the text.
 *
 * Lines gather in a buffer while the previous write runs, so a write is as large as the disk is slow: one system call per
 * batch, not per line. When more than HIGH_BYTES wait, the owner is told to stop reading, and the pipe does the rest.
 * A write that fails (a full disk) must not stall the container: its text is dropped, counted, and remarked on in the log.
 */
import { mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { messageOf } from '#base/errors.js';
import { LineBuffer } from './line-splitter.js';
import { remarkLine, rotatedName } from './log-file.js';
import { hasCode } from './fs-error.js';

/** Lines wait at most this long for others to be written with them. */
const BATCH_MS = 40;
const BATCH_BYTES = 256 * 1024;
const HIGH_BYTES = 1024 * 1024;
const LOW_BYTES = 256 * 1024;
/** A log that has written nothing for this long gives its buffers back. */
const IDLE_MS = 2_000;
/** After a failed write the file is tried again no sooner than this; text that comes before is dropped. */
const RETRY_MS = 1_000;
const NEWLINE = 0x0a;

export interface LogLimits {
  /** Size at which a file is rotated. A single longer line still makes a longer file. */
  maxBytes: number;
  /** Number of files kept, the current one included. */
  maxFiles: number;
}

export interface LogWriterOptions extends LogLimits {
  file: string;
  /** true: more waits than should, stop reading; false: go on. */
  onPressure?: (behind: boolean) => void;
  /** A write failed; text is being dropped. Called once per failed try. */
  onError?: (error: unknown) => void;
}

export class LogWriter {
  readonly #options: LogWriterOptions;
  #sink = new LineBuffer();
  #spare: LineBuffer | undefined;
  #handle: FileHandle | undefined;
  #size = 0;
  #run: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #inFlight = 0;
  #behind = false;
  #wroteAt = 0;
  #lost = 0;
  #retryAt = 0;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  /** Opens (or makes) the file; a torn last line is closed with a newline. @throws the file system's error */
  async open(): Promise<void> {
    if (this.#handle) return;
    const { file } = this.#options;
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(file, 'a+', 0o600);
    try {
      this.#size = (await handle.stat()).size;
      if (this.#size > 0) {
        const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, this.#size - 1);
        if (buffer[0] !== NEWLINE) this.#size += (await handle.write('\n')).bytesWritten;
      }
      await this.#dropSurplus();
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#handle = handle;
  }

  /** Where lines are to be appended; call `commit()` afterwards. Never keep it: every batch has another one. */
  get sink(): LineBuffer {
    return this.#sink;
  }

  setLimits(limits: LogLimits): void {
    this.#options.maxBytes = limits.maxBytes;
    this.#options.maxFiles = limits.maxFiles;
  }

  /** Says that lines were appended to `sink`: they will be written at once or within BATCH_MS. */
  commit(): void {
    const waiting = this.#sink.length + this.#inFlight;
    if (waiting > HIGH_BYTES && !this.#behind) {
      this.#behind = true;
      this.#options.onPressure?.(true);
    }
    if (this.#run) return;
    const rest = this.#sink.length >= BATCH_BYTES ? 0 : this.#wroteAt + BATCH_MS - performance.now();
    if (rest <= 0) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), rest);
  }

  /** One remark of the log keeper's own, in the stream `weft`. */
  remark(text: string, at = new Date()): void {
    const line = remarkLine(at.toISOString(), text);
    this.#sink.append(line, 0, line.length);
    this.commit();
  }

  /** Resolves when all that was appended before the call is in the file (or dropped, if the disk does not take it). */
  async flush(): Promise<void> {
    while (this.#run) await this.#run;
    this.#start();
    await this.#run;
  }

  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#idle);
    await this.#handle?.close();
    this.#handle = undefined;
  }

  /** Removes the file and the rotated ones. Close first. */
  async remove(): Promise<void> {
    for (const index of await this.#existing()) await rm(rotatedName(this.#options.file, index), { force: true });
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#run || this.#sink.length === 0) return;
    this.#run = this.#writeAll().finally(() => {
      this.#run = undefined;
      this.#wroteAt = performance.now();
      if (this.#sink.length > 0) this.commit();
    });
  }

  async #writeAll(): Promise<void> {
    const batch = this.#sink;
    this.#sink = this.#spare ?? new LineBuffer();
    this.#spare = undefined;
    this.#inFlight = batch.length;
    try {
      await this.#writeBatch(batch);
    } catch (error) {
      this.#lost += this.#inFlight;
      this.#options.onError?.(error);
      this.#retryAt = performance.now() + RETRY_MS;
      await this.#handle?.close().catch(() => undefined);
      this.#handle = undefined;
    }
    this.#inFlight = 0;
    batch.length = 0;
    this.#spare = batch;
    if (this.#idle) this.#idle.refresh();
    else this.#idle = setTimeout(() => this.#letGo(), IDLE_MS).unref();
    if (this.#behind && this.#sink.length < LOW_BYTES) {
      this.#behind = false;
      this.#options.onPressure?.(false);
    }
  }

  /** A busy log swaps two buffers; an idle one holds no memory. */
  #letGo(): void {
    if (this.#run || this.#sink.length > 0) return;
    this.#spare = undefined;
    this.#sink = new LineBuffer();
  }

  async #writeBatch(batch: LineBuffer): Promise<void> {
    if (!this.#handle && performance.now() < this.#retryAt) {
      this.#lost += batch.length;
      return;
    }
    await this.open();
    if (this.#lost > 0) {
      const mark = remarkLine(new Date().toISOString(), `${this.#lost} bytes of log could not be written and are lost`);
      await this.#write(mark, 0, mark.length);
      this.#lost = 0;
    }
    for (let from = 0; from < batch.length;) {
      const end = cutAt(batch, from, this.#options.maxBytes - this.#size, this.#size === 0);
      if (end === from) await this.#rotate();
      else await this.#write(batch.bytes, from, end, true);
      from = end;
    }
  }

  async #write(bytes: Buffer, from: number, end: number, counted = false): Promise<void> {
    while (from < end) {
      const { bytesWritten } = await (this.#handle as FileHandle).write(bytes, from, end - from);
      from += bytesWritten;
      this.#size += bytesWritten;
      if (counted) this.#inFlight -= bytesWritten;
    }
  }

  /** file.1 becomes file.2 and so on, the oldest is overwritten, and a new file begins. */
  async #rotate(): Promise<void> {
    const { file, maxFiles } = this.#options;
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
    for (let index = maxFiles - 1; index >= 1; index--) {
      await rename(rotatedName(file, index - 1), rotatedName(file, index)).catch((error: unknown) => {
        // A gap in the row (someone removed a file) is no reason to stop.
        if (!hasCode(error, 'ENOENT')) throw error;
      });
    }
    if (maxFiles <= 1) await rm(file, { force: true });
    await this.open();
  }

  /** Indices of the files that exist, the current one (0) first. */
  async #existing(): Promise<number[]> {
    const { file } = this.#options;
    return (await rotatedIndices(file)).sort((a, b) => a - b);
  }

  async #dropSurplus(): Promise<void> {
    const { file, maxFiles } = this.#options;
    for (const index of await this.#existing()) if (index > 0 && index >= maxFiles) await rm(rotatedName(file, index), { force: true });
  }

  /** What went wrong last, for a listing: bytes dropped and not yet remarked on. */
  get lostBytes(): number {
    return this.#lost;
  }
}

/** Indices of the log's files that exist, in no order: 0 for `file`, n for `file.n`. A missing directory has none. */
export async function rotatedIndices(file: string): Promise<number[]> {
  const base = basename(file);
  let names: string[];
  try {
    names = await readdir(join(dirname(file)));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw new Error(`cannot list the log files of ${file}: ${messageOf(error)}`, { cause: error });
  }
  return names.flatMap((name) => {
    if (name === base) return [0];
    const digits = name.startsWith(`${base}.`) ? name.slice(base.length + 1) : '';
    return /^[1-9]\d{0,5}$/.test(digits) ? [Number(digits)] : [];
  });
}

/** Where to end a write that begins at `from` so that the file stays within `room` bytes and ends with a whole line. */
function cutAt(batch: LineBuffer, from: number, room: number, fileIsEmpty: boolean): number {
  if (batch.length - from <= room) return batch.length;
  const last = room > 0 ? batch.bytes.lastIndexOf(NEWLINE, from + room - 1) : -1;
  if (last >= from) return last + 1;
  return fileIsEmpty ? batch.bytes.indexOf(NEWLINE, from) + 1 : from;
}
