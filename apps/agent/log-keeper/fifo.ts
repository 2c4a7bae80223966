/**
 * The reading end of a FIFO.
 *
 * It is opened O_RDWR, so that it never sees an end of file, and its writer never an error, when the other side comes and
 * goes; and O_NONBLOCK, so that opening waits for nobody. It is read as a pipe handle, by epoll: a file stream would
 * hold one thread of the pool in `read`, and four silent containers would stop every file operation of the process.
 *
 * All FIFOs read into one shared buffer. That is safe because a read and its callback happen in one go, and the callback copies.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { close, fstat, open, readSync } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { WeftError, messageOf } from '#base/errors.js';
import { hasCode } from '#logs/fs-error.js';

const READ_BYTES = 64 * 1024;
/** A pipe holds 64 KiB, at most 1 MiB: more rounds than this means that someone goes on writing. */
const MAX_DRAIN_ROUNDS = 64;
/** A read shorter than this was no full pipe: wait PACE_MS for more, so that small writes do not cost a wake-up each. */
const SMALL_READ_BYTES = 4 * 1024;
const PACE_MS = 4;

const shared = Buffer.allocUnsafeSlow(READ_BYTES);
const run = promisify(execFile);

async function kindOf(path: string): Promise<'fifo' | 'other' | 'nothing'> {
  try {
    return (await lstat(path)).isFIFO() ? 'fifo' : 'other';
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'nothing';
    throw error;
  }
}

/** Makes the FIFOs that are not there (mode 0600), directories included. @throws CONFLICT when a path is something else */
export async function makeFifos(paths: readonly string[]): Promise<void> {
  const missing: string[] = [];
  for (const path of paths) {
    const kind = await kindOf(path);
    if (kind === 'other') throw new WeftError('CONFLICT', { what: `${path} is not a FIFO`, hint: 'Remove it, or name another path.' });
    if (kind === 'fifo') continue;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    missing.push(path);
  }
  if (missing.length === 0) return;
  // Node has no mkfifo of its own.
  await run('mkfifo', ['-m', '600', '--', ...missing]).catch((error: unknown) => {
    throw new WeftError('COMMAND_FAILED', { what: 'could not make FIFOs for a log', why: messageOf(error), cause: error });
  });
}

export interface Fifo {
  pause(): void;
  resume(): void;
  /** Reads at once, on the spot, what is in the pipe. */
  drain(): void;
  close(): void;
}

/**
 * Opens the reading side; `onData` must use up the buffer before it returns. Nothing is read before `resume()`.
 * @throws NOT_FOUND when there is no FIFO at `path`
 */
export async function openFifo(path: string, onData: (chunk: Buffer) => void, onError: (error: unknown) => void): Promise<Fifo> {
  const fd = await openDescriptor(path);
  let wanted = false;
  let timer: NodeJS.Timeout | undefined;
  const pace = (): void => {
    timer = undefined;
    if (wanted) socket.resume();
  };
  const callback = (size: number): boolean => {
    onData(shared.subarray(0, size));
    if (!wanted) return false;
    if (size >= SMALL_READ_BYTES) return true;
    timer ??= setTimeout(pace, PACE_MS);
    return false;
  };
  const options = { fd, readable: true, writable: false, manualStart: true, onread: { buffer: shared, callback } };
  const socket = new Socket(options);
  socket.on('error', onError);
  return {
    pause: () => {
      wanted = false;
      socket.pause();
    },
    resume: () => {
      wanted = true;
      if (timer === undefined) socket.resume();
    },
    drain: () => drainNow(fd, onData),
    close: () => {
      wanted = false;
      clearTimeout(timer);
      socket.destroy();
    },
  };
}

function openDescriptor(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string, cause?: unknown): void =>
      reject(new WeftError('NOT_FOUND', { what: `cannot open the FIFO ${path}`, why, cause }));
    open(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW, (openError, fd) => {
      if (openError) return refuse(openError.message, openError);
      fstat(fd, (statError, stats) => {
        if (!statError && stats.isFIFO()) return resolve(fd);
        close(fd, () => refuse(statError ? statError.message : 'it is something else'));
      });
    });
  });
}

function drainNow(fd: number, onData: (chunk: Buffer) => void): void {
  for (let round = 0; round < MAX_DRAIN_ROUNDS; round++) {
    try {
      const size = readSync(fd, shared, 0, READ_BYTES, null);
      if (size === 0) return;
      onData(shared.subarray(0, size));
    } catch (error) {
      if (hasCode(error, 'EAGAIN')) return;
      throw error;
    }
  }
}
