/** What is at a place: what `stat` says, in the words that copying needs. */
import type { Stats } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { withSpotBelow } from './rootfs-files.js';

export type FileKind = 'file' | 'directory' | 'link' | 'other';

export interface FileFacts {
  /** Below the root, symlinks resolved. */
  path: string;
  kind: FileKind;
  /** Bytes, of a file. */
  size: number;
  /** Permission bits, with set-user-id, set-group-id and sticky. */
  mode: number;
  /** Milliseconds since the epoch. */
  modifiedAt: number;
  /** What a link says. */
  target?: string;
}

export const kindOf = (stat: Stats): FileKind =>
  stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'link' : 'other';

export const PERMISSIONS = 0o7777;

/**
 * What a path below a root leads to; undefined if there is nothing.
 * @param follow whether a symlink at its end is followed
 */
export async function factsBelow(root: string, path: string, follow: boolean): Promise<FileFacts | undefined> {
  return withSpotBelow(
    root,
    path,
    async ({ directory, name, path: resolved }): Promise<FileFacts | undefined> => {
      const at = name === undefined ? `${directory}/.` : `${directory}/${name}`;
      const stat = await lstat(at).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (!stat) return undefined;
      const kind = kindOf(stat);
      const facts = { path: resolved, kind, size: stat.size, mode: stat.mode & PERMISSIONS, modifiedAt: Math.round(stat.mtimeMs) };
      return kind === 'link' ? { ...facts, target: await readlink(at) } : facts;
    },
    { last: follow ? 'follow' : 'keep' },
  );
}
