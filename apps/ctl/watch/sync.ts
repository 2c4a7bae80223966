/** Changed files into the running containers of a service, as one archive. */
import { lstat, readFile, readlink } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { pack } from 'tar-stream';
import type { Connection } from '../connection.js';
import { copyInto, taskTarget } from '../copy-stream.js';
import type { TreeChange } from './file-tree.js';

export interface SyncPlace {
  /** What is watched here: a file or a directory. */
  path: string;
  /** What it is in the containers. */
  target: string;
}

/** Where in the containers a watched path is. `below` is '' where a file itself is watched. Pure. */
export function placeOf({ target }: Pick<SyncPlace, 'target'>, below: string): { directory: string; name: string } {
  return below === '' ? { directory: posix.dirname(target), name: posix.basename(target) } : { directory: target, name: below };
}

/** Files belong to root and keep their modes. @param tasks ids @throws what the copy fails with */
export async function syncInto(
  connection: Connection,
  tasks: readonly string[],
  place: SyncPlace,
  { changed, gone }: TreeChange,
): Promise<void> {
  const all = [...changed, ...gone];
  if (tasks.length === 0 || all.length === 0) return;
  const { directory } = placeOf(place, all[0] ?? '');
  const remove = gone.map((below) => posix.join(placeOf(place, below).directory, placeOf(place, below).name));
  const start = { directory, makeParents: true, keepOwners: false, uid: 0, gid: 0, remove };
  await copyInto(connection, tasks.map(taskTarget), start, archiveOf(place, changed));
}

/** A file that is gone by the time it is read is left out: the next look tells of it. */
async function* archiveOf(place: SyncPlace, changed: readonly string[]): AsyncGenerator<Uint8Array> {
  const tar = pack();
  const filling = (async () => {
    for (const below of changed) await add(tar, join(place.path, below), placeOf(place, below).name);
    tar.finalize();
  })();
  filling.catch((error: unknown) => tar.destroy(error as Error));
  yield* tar as unknown as AsyncIterable<Uint8Array>;
  await filling;
}

async function add(tar: ReturnType<typeof pack>, path: string, name: string): Promise<void> {
  const facts = await lstat(path).catch(() => undefined);
  if (!facts) return;
  const header = { name, mode: facts.mode & 0o7777, mtime: facts.mtime };
  if (facts.isSymbolicLink()) return void tar.entry({ ...header, type: 'symlink', linkname: await readlink(path) });
  const content = await readFile(path).catch(() => undefined);
  if (content) tar.entry(header, content);
}

/** For messages: one name, or how many. */
export const filesText = (place: SyncPlace, files: readonly string[]): string =>
  files.length === 1 ? files[0] || basename(place.path) : `${files.length} files`;
