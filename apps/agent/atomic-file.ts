/** Files that are whole or not there: written beside, synced, renamed (rename(2) is atomic within a file system). */
import { open, readFile, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemClock, type Clock } from '#base/clock.js';
import { after } from '#base/timers.js';

export async function writeAtomic(path: string, text: string, mode = 0o600): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, 'w', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  // The rename itself is on disk once the directory is.
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** ENOENT and the like; undefined for what is no system error. */
export const errnoOf = (error: unknown): string | undefined =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** Whether something is at a path. */
export const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The text of a file, or undefined when there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The few things that what an agent remembers needs of a disk. */
export interface Disk {
  /** The text of a file, or undefined when there is none. */
  read(path: string): Promise<string | undefined>;
  /** Whole or not at all. */
  write(path: string, text: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** What writes are put off by. */
  clock: Clock;
}

export const hostDisk: Disk = { read: readIfThere, write: writeAtomic, rename, clock: systemClock };

/**
 * Writes what `text()` gives, at most once per `delayMs`, in the background. Calls that come together share one write.
 * A failed write is reported and tried again with the next change.
 */
export class LazyFile {
  readonly #path: string;
  readonly #text: () => string;
  readonly #delayMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #disk: Disk;
  /** Called when what `text` gave last is on disk. */
  onWritten: () => void = () => undefined;
  #putOff: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, text: () => string, delayMs: number, onError: (error: unknown) => void, disk: Disk = hostDisk) {
    this.#path = path;
    this.#text = text;
    this.#delayMs = delayMs;
    this.#onError = onError;
    this.#disk = disk;
  }

  touch(): void {
    this.#putOff ??= after(this.#disk.clock, this.#delayMs, () => void this.flush());
  }

  /** Resolves when what was touched before is on disk (or its failure was reported). */
  async flush(): Promise<void> {
    if (this.#putOff) {
      this.#putOff();
      this.#putOff = undefined;
      this.#writing = this.#writing.then(() => this.#disk.write(this.#path, this.#text())).then(() => this.onWritten(), this.#onError);
    }
    await this.#writing;
  }
}
