/**
 * The archive of a tree → files below a directory. The archive came from a controller, but its names came from a user: every
 * one has to be below the root, nothing is written through a link, and a link may lead nowhere else.
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { messageOf, WeftError } from '#base/errors.js';
import { MAX_TREE_ARCHIVE_BYTES, MAX_TREE_ENTRIES, TREE_ROOT } from '#model/content.js';

const PERMISSIONS = 0o7777;

/** Unpacks into `dir`, which is empty. @throws CORRUPT when the bytes are not those that `id` names, or not such an archive */
export async function unpackTree(archive: AsyncIterable<Uint8Array>, id: string, dir: string): Promise<void> {
  const hash = createHash('sha256');
  const tar = extract();
  const flow = pipeline(Readable.from(counted(archive, (piece) => hash.update(piece))), tar);
  flow.catch(() => undefined);
  const tree = new Unpacking(dir);
  try {
    // tar-stream's entries are streams of Buffers; their types name another iterator.
    for await (const entry of tar) await tree.add(entry.header, entry as unknown as Readable);
    await flow;
    await tree.finish();
  } catch (error) {
    tar.destroy();
    throw error instanceof WeftError
      ? error
      : new WeftError('CORRUPT', { what: 'the archive of a tree cannot be unpacked', why: messageOf(error) });
  }
  if (hash.digest('hex') !== id) throw corrupt('it is not what its id says');
}

const corrupt = (why: string): WeftError => new WeftError('CORRUPT', { what: 'the archive of a tree cannot be unpacked', why });

async function* counted(archive: AsyncIterable<Uint8Array>, onPiece: (piece: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of archive) {
    bytes += piece.length;
    if (bytes > MAX_TREE_ARCHIVE_BYTES) throw corrupt('it is larger than any can be');
    onPiece(piece);
    yield piece;
  }
}

class Unpacking {
  readonly #dir: string;
  /** Of the archive, with the bits they get last: one that may not be written to could not be filled. */
  readonly #directories = new Map<string, number>();
  #entries = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async add({ name, type, mode = 0o644, linkname }: Header, content: Readable): Promise<void> {
    const clean = name.replace(/\/$/, '');
    this.#check(clean);
    const path = join(this.#dir, clean);
    if (type === 'directory') {
      await mkdir(path, { mode: 0o700 });
      this.#directories.set(clean, mode & PERMISSIONS);
      content.resume();
    } else if (type === 'symlink') {
      content.resume();
      await symlink(linkOf(clean, linkname ?? ''), path);
    } else if (type === 'file') {
      // wx: never through something that is there.
      await pipeline(content, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
      await chmod(path, mode & PERMISSIONS);
    } else throw corrupt(`it has an entry of type ${type}`);
  }

  /** Deepest first. */
  async finish(): Promise<void> {
    if (this.#entries === 0) throw corrupt('it is empty');
    for (const [name, mode] of [...this.#directories].reverse()) await chmod(join(this.#dir, name), mode);
  }

  /** The parent of every entry is a directory of this archive: so it is no link, and the name leads nowhere else. */
  #check(name: string): void {
    if (++this.#entries > MAX_TREE_ENTRIES) throw corrupt('it has more entries than any can have');
    const parts = name.split('/');
    if (parts[0] !== TREE_ROOT || parts.some((part) => part === '' || part === '.' || part === '..') || name.includes('\0'))
      throw corrupt(`it names ${JSON.stringify(name.slice(0, 256))}`);
    if (parts.length > 1 && !this.#directories.has(dirname(name)))
      throw corrupt(`${JSON.stringify(name.slice(0, 256))} is in no directory of it`);
  }
}

function linkOf(name: string, target: string): string {
  const below = posix.normalize(posix.join(name, '..', target));
  if (target === '' || target.startsWith('/') || (below !== TREE_ROOT && !below.startsWith(`${TREE_ROOT}/`)))
    throw corrupt(`a link leads to ${JSON.stringify(target.slice(0, 256))}`);
  return target;
}
