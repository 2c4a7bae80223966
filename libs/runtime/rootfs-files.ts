/**
 * Reads small files below a directory that a stranger filled (an image, a running container) without ever leaving it. Each part of the path
 * is opened relative to the open directory before it, through /proc/self/fd, and never followed as a symlink by the kernel; symlinks are
 * resolved here, against the root. So neither an absolute symlink nor a part swapped in the meantime leads out.
 */
import { constants } from 'node:fs';
import { open, readlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

const MAX_SYMLINKS = 20;
/** A password file of more is not read. */
const MAX_FILE_BYTES = 1024 * 1024;
/** O_PATH (open(2)), which Node does not name: the same number on x86 and Arm. */
const O_PATH = 0o10000000;
const DIRECTORY_FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** A FIFO or device must not make us wait. */
const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Not there, or not what its name would need to be. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO']);

/** The file's text, or undefined if it is absent, not a regular file, too large, or reached through a loop of symlinks. */
export function readFileBelow(root: string, path: string): Promise<string | undefined> {
  return descend(root, path, async (handles, last) => (last === undefined ? undefined : readRegular(below(handles, last))));
}

/** Runs `use` with a path to the open directory, good for this process and its children while it runs; undefined if there is none. */
export function withDirectoryBelow<T>(root: string, path: string, use: (directory: string) => Promise<T>): Promise<T | undefined> {
  return descend(root, path, async (handles, last) => {
    if (last !== undefined) handles.push(await open(below(handles, last), DIRECTORY_FLAGS));
    return use(`/proc/${process.pid}/fd/${handles.at(-1)?.fd}`);
  });
}

const below = (handles: FileHandle[], part: string): string => `/proc/self/fd/${handles.at(-1)?.fd}/${part}`;

/** Opens directory after directory; `arrive` gets them, and the last part of the path, which is no symlink (undefined: the path ends in the last directory). */
async function descend<T>(
  root: string,
  path: string,
  arrive: (handles: FileHandle[], last: string | undefined) => Promise<T>,
): Promise<T | undefined> {
  const handles: FileHandle[] = [await open(root, O_PATH | constants.O_DIRECTORY)];
  try {
    const pending = partsOf(path);
    let links = 0;
    for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
      if (part === '..') {
        if (handles.length > 1) await handles.pop()?.close();
        continue;
      }
      const target = await readlink(below(handles, part)).catch(() => undefined);
      if (target !== undefined) {
        if (++links > MAX_SYMLINKS) return undefined;
        if (target.startsWith('/')) await Promise.all(handles.splice(1).map((h) => h.close()));
        pending.unshift(...partsOf(target));
      } else if (pending.length > 0) handles.push(await open(below(handles, part), DIRECTORY_FLAGS));
      else return await arrive(handles, part);
    }
    return await arrive(handles, undefined);
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  } finally {
    await Promise.all(handles.map((h) => h.close()));
  }
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

async function readRegular(path: string): Promise<string | undefined> {
  const file = await open(path, FILE_FLAGS);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) return undefined;
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
