/**
 * Reaches files below a directory that a stranger filled (an image, a running container) without ever leaving it. Each part of the path
 * is opened relative to the open directory before it, through /proc/self/fd, and never followed as a symlink by the kernel; symlinks are
 * resolved here, against the root. So neither an absolute symlink nor a part swapped in the meantime leads out.
 */
import { constants } from 'node:fs';
import { mkdir, open, readlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { WeftError } from '#base/errors.js';

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
    return use(pathOf(handles));
  });
}

/** Where a path below a root leads to. Directories are named by open handles: good for this process while `use` runs. */
export interface Spot {
  /** The directory that the last part is in; where the path ends at the root, the root. */
  directory: string;
  /** The last part, which may not be there; undefined where the path ends in a directory that is open already (`..`, the root). */
  name: string | undefined;
  /** The whole path below the root, symlinks resolved: `/etc/hosts`. */
  path: string;
}

export interface Descent {
  /** What becomes of a symlink as the last part: it is followed (if left out), or is itself meant. */
  last?: 'follow' | 'keep';
  /** What becomes of symlinks before that: followed below the root (if left out), or refused. */
  links?: 'follow' | 'refuse';
  /** Directories that are missing on the way are made. */
  make?: boolean;
}

/** Runs `use` with where the path leads to; undefined if the way there is not there. @throws BAD_VALUE for a link that is refused */
export async function withSpotBelow<T>(
  root: string,
  path: string,
  use: (spot: Spot) => Promise<T>,
  descent: Descent = {},
): Promise<T | undefined> {
  let raised: { error: unknown } | undefined;
  const result = await descend(
    root,
    path,
    async (handles, name, names) => {
      const spot = { directory: pathOf(handles), name, path: `/${[...names, ...(name === undefined ? [] : [name])].join('/')}` };
      // What `use` does not find is another matter than a way that is not there.
      return use(spot).catch((error: unknown) => void (raised = { error }));
    },
    descent,
  );
  if (raised) throw raised.error;
  return result as T | undefined;
}

/** Opens a directory that no symlink leads to, to look or go further below it. */
export const openDirectory = (path: string): Promise<FileHandle> => open(path, DIRECTORY_FLAGS);

/** A file or directory that is open by itself: its path leads to it whatever becomes of its name. */
export interface OpenEntry {
  /** Good for this process and its children until closed. */
  path: string;
  isDirectory: boolean;
  close(): Promise<void>;
}

/** Opens what a spot leads to; undefined if there is none, or it is no directory or regular file. */
export async function openEntry({ directory, name = '.' }: Spot): Promise<OpenEntry | undefined> {
  const handle = await open(`${directory}/${name}`, O_PATH | constants.O_NOFOLLOW).catch((error: unknown) => {
    if (ABSENT.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  });
  if (!handle) return undefined;
  const stat = await handle.stat();
  if (stat.isDirectory() || stat.isFile()) return { path: pathOf([handle]), isDirectory: stat.isDirectory(), close: () => handle.close() };
  await handle.close();
  return undefined;
}

/** Opens the root of a process's mounts (`/proc/<pid>/root`, proc(5)), which is a link of a kind that only the kernel can follow. */
export const openRoot = (path: string): Promise<FileHandle> => open(path, O_PATH | constants.O_DIRECTORY);

/** A path to what is open, good for this process and its children. */
const pathOf = (handles: FileHandle[]): string => `/proc/${process.pid}/fd/${handles.at(-1)?.fd}`;

const below = (handles: FileHandle[], part: string): string => `/proc/self/fd/${handles.at(-1)?.fd}/${part}`;

/**
 * Opens directory after directory; `arrive` gets them, the last part of the path, which is no symlink unless that is kept (undefined: the
 * path ends in the last directory), and the names of the directories below the root.
 */
async function descend<T>(
  root: string,
  path: string,
  arrive: (handles: FileHandle[], last: string | undefined, names: readonly string[]) => Promise<T>,
  { last = 'follow', links = 'follow', make = false }: Descent = {},
): Promise<T | undefined> {
  const handles: FileHandle[] = [await openRoot(root)];
  const names: string[] = [];
  try {
    const pending = partsOf(path);
    let followed = 0;
    for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
      if (part === '..') {
        if (handles.length > 1) await handles.pop()?.close();
        names.pop();
        continue;
      }
      const isLast = pending.length === 0;
      const target = isLast && last === 'keep' ? undefined : await readlink(below(handles, part)).catch(() => undefined);
      if (target !== undefined) {
        if (links === 'refuse') throw leadsAway(part);
        if (++followed > MAX_SYMLINKS) return undefined;
        if (target.startsWith('/')) {
          await Promise.all(handles.splice(1).map((h) => h.close()));
          names.length = 0;
        }
        pending.unshift(...partsOf(target));
      } else if (isLast) return await arrive(handles, part, names);
      else {
        handles.push(await enter(below(handles, part), make));
        names.push(part);
      }
    }
    return await arrive(handles, undefined, names);
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  } finally {
    await Promise.all(handles.map((h) => h.close()));
  }
}

async function enter(directory: string, make: boolean): Promise<FileHandle> {
  try {
    return await open(directory, DIRECTORY_FLAGS);
  } catch (error) {
    if (!make || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // Somebody else may make it at the same time.
    await mkdir(directory, { mode: 0o755 }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    return open(directory, DIRECTORY_FLAGS);
  }
}

const leadsAway = (part: string): WeftError =>
  new WeftError('BAD_VALUE', {
    what: `${JSON.stringify(part)} is a symbolic link, and is not followed`,
    why: 'what is below it would be written somewhere else',
    hint: 'Copy into an empty directory.',
  });

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
