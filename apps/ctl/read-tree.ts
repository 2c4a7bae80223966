/**
 * A file or directory from beside the compose file → a tar archive that is the same, byte for byte, wherever and whenever the
 * same names, contents and permission bits are packed: owners and times are left out, names are in order.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, type Stats } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { buffer as gather } from 'node:stream/consumers';
import { pack, type Pack } from 'tar-stream';
import { messageOf } from '#base/errors.js';
import { MAX_TREE_ENTRIES, MAX_TREES_BYTES, TREE_ROOT } from '#model/content.js';

const PERMISSIONS = 0o7777;
const NO_TIME = new Date(0);

export interface PackedTree {
  /** SHA-256 of the archive, hex. */
  id: string;
  archive: Buffer;
}

/** Why something cannot travel: a line for a person, who is told the place in the compose file beside it. */
export class TreeFault extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** What all trees of a stack may still be. */
export class TreeBudget {
  #bytes = MAX_TREES_BYTES;
  #entries = MAX_TREE_ENTRIES;

  /** @throws TreeFault */
  spend(bytes: number): void {
    this.#bytes -= bytes;
    this.#entries -= 1;
    const hint = 'use a volume, an image, or an absolute path that is there on the nodes';
    if (this.#bytes < 0)
      throw new TreeFault(`what a stack takes along from beside its file is at most ${MAX_TREES_BYTES / 1024 / 1024} MiB in all`, hint);
    if (this.#entries < 0) throw new TreeFault(`what a stack takes along from beside its file is at most ${MAX_TREE_ENTRIES} files`, hint);
  }
}

/** @param path absolute; a link here is followed, as a bind mount does. @throws TreeFault */
export async function packTree(path: string, budget: TreeBudget): Promise<PackedTree> {
  const root = followed(path);
  const tar = pack();
  const whole = gather(tar);
  try {
    addEntry(tar, { root, path: root, name: TREE_ROOT }, budget);
  } catch (error) {
    // Nobody reads on: what was gathered is dropped.
    whole.catch(() => undefined);
    tar.destroy();
    throw error instanceof TreeFault ? error : new TreeFault(messageOf(error));
  }
  tar.finalize();
  const archive = await whole;
  return { id: createHash('sha256').update(archive).digest('hex'), archive };
}

function followed(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new TreeFault(messageOf(error));
    throw new TreeFault(`there is no ${path}`, 'make it beside the compose file; an absolute path is one on the nodes');
  }
}

interface Entry {
  root: string;
  path: string;
  /** In the archive. */
  name: string;
}

function addEntry(tar: Pack, entry: Entry, budget: TreeBudget): void {
  const stats = lstatSync(entry.path);
  const header = { name: entry.name, mode: stats.mode & PERMISSIONS, mtime: NO_TIME, uid: 0, gid: 0 };
  budget.spend(stats.isFile() ? stats.size : 0);
  if (stats.isFile()) tar.entry(header, readFileSync(entry.path));
  else if (stats.isSymbolicLink()) tar.entry({ ...header, mode: 0o777, type: 'symlink', linkname: linkInside(entry) });
  else if (stats.isDirectory()) {
    tar.entry({ ...header, type: 'directory' });
    for (const child of readdirSync(entry.path).sort()) {
      addEntry(tar, { ...entry, path: join(entry.path, child), name: `${entry.name}/${child}` }, budget);
    }
  } else throw new TreeFault(`${entry.path} is ${kindOf(stats)}: only files, directories and links travel`);
}

function kindOf(stats: Stats): string {
  if (stats.isSocket()) return 'a socket';
  return stats.isFIFO() ? 'a pipe' : 'a device';
}

/** Where a link leads is looked at by its text: that what it names is there is not asked for. */
function linkInside({ root, path }: Entry): string {
  const target = readlinkSync(path);
  const below = posix.normalize(posix.join(relative(root, path), '..', target));
  if (target.startsWith('/') || below === '..' || below.startsWith('../'))
    throw new TreeFault(`the link ${path} leads to ${target}, outside of what travels`, 'replace it by what it leads to');
  return target;
}
