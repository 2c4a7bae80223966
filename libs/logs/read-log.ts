/**
 * Reading a container's log: across its rotated files, from the end (`tail`), and on as it grows (`follow`).
 *
 * Files are held open while they are read, so a rotation in between takes nothing away. Following polls every POLL_MS: one
 * `read` at the end and one `stat`, which is cheap, and unlike inotify it works on every file system and misses no rename.
 */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { systemClock } from '#base/clock.js';
import { LogJoiner, type LogEntry } from './log-joiner.js';
import { linesBackward, linesForward } from './file-lines.js';
import { parsePiece, rotatedName, type LogPiece } from './log-file.js';
import { rotatedIndices } from './log-writer.js';
import { hasCode } from './fs-error.js';

export type { LogEntry } from './log-joiner.js';

const POLL_MS = 100;

export interface ReadLogOptions {
  /** Only the last so many entries of what is there (of those before `untilMs`); all if left out. */
  tail?: number;
  /** Only entries at or after this time, in milliseconds since the epoch. */
  sinceMs?: number;
  /** Only entries before this time, in milliseconds since the epoch. */
  untilMs?: number;
  /** Goes on with what comes, until `signal` aborts or `untilMs` is past. */
  follow?: boolean;
  signal?: AbortSignal;
}

interface OpenFile {
  handle: FileHandle;
  ino: number;
  mtimeMs: number;
  size: number;
}

/**
 * The entries of a log, oldest first; a file that does not exist is an empty log (and is waited for with `follow`). It ends
 * without an error when `signal` aborts. Lines that are no log lines come out in the stream `weft`, as they are.
 */
export async function* readLog(file: string, options: ReadLogOptions = {}): AsyncGenerator<LogEntry, void, void> {
  const { sinceMs = -Infinity, untilMs = Infinity, signal } = options;
  const joiner = new LogJoiner();
  const files = await openAll(file);
  try {
    const past = options.tail === undefined ? readAll(files, joiner, sinceMs) : readTail(files, joiner, options.tail, sinceMs, untilMs);
    for await (const entries of past) {
      if (signal?.aborted) return;
      for (const entry of entries) if (entry.at >= sinceMs && entry.at < untilMs) yield entry;
    }
    if (!options.follow) {
      for (const entry of joiner.rest()) if (entry.at >= sinceMs && entry.at < untilMs) yield entry;
      return;
    }
    for await (const entries of followFrom(file, files, joiner, untilMs, signal)) {
      for (const entry of entries) {
        if (entry.at >= untilMs) return;
        if (entry.at >= sinceMs) yield entry;
      }
    }
  } finally {
    for (const { handle } of files) await handle.close().catch(() => undefined);
  }
}

/** Opens every file of the log, oldest first. A rotation meanwhile only shifts names: the same file is taken once. */
async function openAll(file: string): Promise<OpenFile[]> {
  const found: OpenFile[] = [];
  const indices = (await rotatedIndices(file)).sort((a, b) => a - b);
  const highest = indices.at(-1);
  if (highest === undefined) return found;
  for (let index = 0; index <= highest + 1; index++) {
    const opened = await openOne(rotatedName(file, index));
    if (!opened) continue;
    if (found.some((other) => other.ino === opened.ino)) await opened.handle.close();
    else found.push(opened);
  }
  return found.reverse();
}

async function openOne(path: string): Promise<OpenFile | undefined> {
  try {
    const handle = await open(path, 'r');
    const { ino, mtimeMs, size } = await handle.stat();
    return { handle, ino, mtimeMs, size };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Reads everything up to the sizes seen; leaves in `size` of the last file where following must go on. */
async function* readAll(files: OpenFile[], joiner: LogJoiner, sinceMs: number): AsyncGenerator<LogEntry[]> {
  for (const file of files) {
    if (file.mtimeMs < sinceMs && file !== files.at(-1)) continue;
    const end = file === files.at(-1) ? await wholeLinesEnd(file) : file.size;
    for await (const lines of linesForward(file.handle, 0, end)) yield lines.flatMap((line) => joiner.add(line));
    if (file === files.at(-1)) file.size = end;
  }
}

/** The end of the last whole line: what comes after it is still being written. */
async function wholeLinesEnd(file: OpenFile): Promise<number> {
  for await (const { end } of linesBackward(file.handle, file.size)) return end;
  return 0;
}

/**
 * The last `count` entries. Walks back until so many lines with an end are found, and further while one of them continues a
 * piece that was not met yet; then joins what it gathered, forwards.
 */
async function* readTail(
  files: OpenFile[],
  joiner: LogJoiner,
  count: number,
  sinceMs: number,
  untilMs: number,
): AsyncGenerator<LogEntry[]> {
  const newest = files.at(-1);
  if (!newest) return;
  newest.size = await wholeLinesEnd(newest);
  const walk = new BackwardCount(count);
  const lines: Buffer[] = [];
  gather: for (const file of [...files].reverse()) {
    for await (const { line } of linesBackward(file.handle, file.size)) {
      const piece = parsePiece(line);
      if (piece && piece.at < sinceMs) break gather;
      if (piece && piece.at >= untilMs) continue;
      if (!walk.take(piece)) break gather;
      lines.push(line);
    }
  }
  const entries = lines.reverse().flatMap((line) => joiner.add(line));
  const begun = joiner.pending;
  yield count - begun <= 0 ? [] : entries.slice(begun - count);
}

/** Decides, line by line from the end, whether the wanted number of entries is complete. */
class BackwardCount {
  #left: number;
  /** Streams whose earliest line met so far continues an earlier piece. */
  readonly #open = new Set<string>();
  readonly #met = new Set<string>();

  constructor(count: number) {
    this.#left = count;
  }

  /** false: this line is no longer needed, nor any before it. */
  take(piece: LogPiece | undefined): boolean {
    const ends = !piece || !piece.partial || !this.#met.has(piece.stream);
    if (ends && this.#left <= 0 && this.#open.size === 0) return false;
    if (ends) this.#left--;
    if (!piece) return true;
    if (piece.stream === 'weft') {
      // A remark ends whatever was begun before it.
      this.#open.clear();
      this.#met.clear();
      return true;
    }
    this.#met.add(piece.stream);
    if (!piece.continued) this.#open.delete(piece.stream);
    else if (ends && this.#left >= 0) this.#open.add(piece.stream);
    return true;
  }
}

/** What comes after the files read so far. Takes over `files`: closes those it leaves behind. */
async function* followFrom(
  file: string,
  files: OpenFile[],
  joiner: LogJoiner,
  untilMs: number,
  signal?: AbortSignal,
): AsyncGenerator<LogEntry[]> {
  let current = files.at(-1);
  let offset = current?.size ?? 0;
  const drain = async function* (): AsyncGenerator<LogEntry[]> {
    if (!current) return;
    const { size } = await current.handle.stat();
    if (size < offset) offset = 0;
    if (size === offset) return;
    const end = await wholeLinesEnd({ ...current, size });
    if (end <= offset) return;
    for await (const lines of linesForward(current.handle, offset, end)) yield lines.flatMap((line) => joiner.add(line));
    offset = end;
  };
  while (!signal?.aborted && systemClock.now() < untilMs + 2 * POLL_MS) {
    yield* drain();
    const next = await nextFile(file, current);
    if (next) {
      // What was written between the last look and the rotation.
      yield* drain();
      if (next.lost) yield joiner.remark('lines were rotated away before they could be read');
      await current?.handle.close();
      files.splice(0, files.length, next.opened);
      current = next.opened;
      offset = 0;
    } else await systemClock.sleep(POLL_MS, signal).catch(() => undefined);
  }
}

/** The file that comes after `current`, if the log was rotated; `lost` if there were others between them that are gone. */
async function nextFile(file: string, current: OpenFile | undefined): Promise<{ opened: OpenFile; lost: boolean } | undefined> {
  const newestIno = await inoOf(file);
  if (newestIno === undefined || newestIno === current?.ino) return undefined;
  const indices = (await rotatedIndices(file)).sort((a, b) => b - a);
  let ours = -1;
  for (const index of indices) if (current && (await inoOf(rotatedName(file, index))) === current.ino) ours = index;
  const wanted = ours > 0 ? ours - 1 : (indices[0] ?? 0);
  const opened = await openOne(rotatedName(file, wanted));
  if (!opened) return undefined;
  // Names may have shifted meanwhile; then look again at the next turn.
  const settled = opened.ino !== current?.ino && (ours < 0 || (await inoOf(rotatedName(file, ours))) === current?.ino);
  if (settled) return { opened, lost: current !== undefined && ours < 0 };
  await opened.handle.close();
  return undefined;
}

async function inoOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).ino;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
