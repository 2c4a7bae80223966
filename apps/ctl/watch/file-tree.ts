/** What is below a path, looked at again and again: the difference between two looks is what has changed. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What of a tree is looked at, by relative path. */
export interface TreeFilter {
  /** Left out, a directory with all that is in it. */
  ignored: (path: string) => boolean;
  /** Of the files that are left. */
  wanted: (path: string) => boolean;
}

/** Path relative to what is watched, '' for itself → what changes when its content does. Directories are not in it. */
export type FileTree = ReadonlyMap<string, string>;

export interface TreeChange {
  /** New, or not as before. */
  changed: string[];
  gone: string[];
}

/** Files and symlinks below `path`, or `path` itself. What cannot be read is not there. */
export async function lookAt(path: string, filter: TreeFilter): Promise<FileTree> {
  const found = new Map<string, string>();
  await gather(path, '', filter, found);
  return found;
}

async function gather(root: string, below: string, filter: TreeFilter, found: Map<string, string>): Promise<void> {
  if (below !== '' && filter.ignored(below)) return;
  const facts = await lstat(join(root, below), { bigint: true }).catch(() => undefined);
  if (facts?.isDirectory()) {
    const names = await readdir(join(root, below)).catch(() => []);
    for (const name of names) await gather(root, below === '' ? name : `${below}/${name}`, filter, found);
  } else if ((facts?.isFile() || facts?.isSymbolicLink()) && (below === '' || filter.wanted(below))) {
    // An editor that writes a new file and renames it keeps neither inode nor time of change of the inode.
    found.set(below, [facts.ino, facts.size, facts.mtimeNs, facts.ctimeNs, facts.mode].join(':'));
  }
}

/** Pure. */
export function difference(before: FileTree, after: FileTree): TreeChange {
  return {
    changed: [...after].filter(([path, mark]) => before.get(path) !== mark).map(([path]) => path),
    gone: [...before.keys()].filter((path) => !after.has(path)),
  };
}
