/**
 * A tar stream into a directory below a root, which neither the archive nor what is there already can lead out of: names with `..` are
 * refused, every part is opened below the one before it, and what exists at an entry's own place is replaced, never followed.
 */
import { systemClock } from '#base/clock.js';
import { constants } from 'node:fs';
import { chmod, lchown, link, lstat, lutimes, mkdir, open, readdir, rmdir, symlink, unlink, utimes } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { messageOf, WeftError } from '#base/errors.js';
import { factsBelow, kindOf, PERMISSIONS, type FileKind } from './file-facts.js';
import { openDirectory, withSpotBelow, type Descent, type Spot } from './rootfs-files.js';

type Entry = Partial<Header> & Pick<Header, 'name'>;

export interface UnpackOptions {
  /** The directory that symlinks and paths cannot leave. */
  root: string;
  /** The directory that entries are relative to, below the root. It must be there, unless `makeParents`. */
  into: string;
  /** Whom new files belong to: as the archive says; or this user; left out: whoever runs us. */
  owner?: 'archive' | { uid: number; gid: number } | undefined;
  /** Directories that lead to `into` and are missing are made. */
  makeParents?: boolean;
  /** Symlinks that are there already, on the way to an entry: followed below the root (if left out), or refused. */
  links?: Descent['links'];
  /** Bits that no file gets, e.g. those that make it run as its owner. */
  withoutMode?: number;
}

export interface Unpacked {
  /** Entries: files, directories and links. */
  entries: number;
  /** Bytes of their content. */
  bytes: number;
  /** Entries that cannot be made here: devices, pipes. */
  skipped: string[];
}

const CREATE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const NEW_DIRECTORY = 0o755;
/** Names of skipped entries that are told. */
const MAX_SKIPPED = 20;

/** @throws NOT_FOUND if there is no such directory; BAD_VALUE for what is no tar, or leads out; CONFLICT where a directory is in the way */
export async function unpackTree(source: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<Unpacked> {
  const unpacker = new Unpacker(options);
  await unpacker.checkTarget();
  const tar = extract();
  const flow = pipeline(Readable.from(source), tar as unknown as NodeJS.WritableStream);
  flow.catch(() => undefined);
  try {
    for await (const entry of tar) {
      await unpacker.take(entry.header, entry as unknown as AsyncIterable<Buffer>);
      entry.resume();
    }
    await flow;
  } catch (error) {
    tar.destroy();
    throw await reasonOf(error, flow);
  }
  return unpacker.finish();
}

/** What the source raised is passed on; what tar makes of its bytes is about the archive. */
async function reasonOf(error: unknown, flow: Promise<void>): Promise<unknown> {
  if (isOfFiles(error)) return fileFailure(error);
  const cause = await flow.then(
    () => error,
    (reason: unknown) => reason,
  );
  if (isOfFiles(cause)) return fileFailure(cause);
  return new WeftError('BAD_VALUE', { what: 'what came is no whole tar archive', why: messageOf(cause), cause });
}

const isOfFiles = (error: unknown): boolean => error instanceof WeftError || (error as NodeJS.ErrnoException).syscall !== undefined;

const REASONS: Readonly<Record<string, string>> = {
  EROFS: 'it is read-only there',
  ENOSPC: 'no space is left there',
  EBUSY: 'it is mounted there',
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  ENAMETOOLONG: 'the name is too long',
};

function fileFailure(error: unknown): unknown {
  if (error instanceof WeftError) return error;
  const why = REASONS[(error as NodeJS.ErrnoException).code ?? ''] ?? (error as NodeJS.ErrnoException).code ?? messageOf(error);
  return new WeftError('CONFLICT', { what: 'a file cannot be written', why, hint: 'Copy to a place that can be written.', cause: error });
}

interface Late {
  path: string;
  mode: number;
  mtime: Date;
}

class Unpacker {
  readonly #options: UnpackOptions;
  readonly #result: Unpacked = { entries: 0, bytes: 0, skipped: [] };
  /** Directories get their mode and time when all is in them. */
  readonly #late: Late[] = [];

  constructor(options: UnpackOptions) {
    this.#options = options;
  }

  async checkTarget(): Promise<void> {
    const { into } = this.#options;
    const facts = await factsBelow(this.#options.root, into, true);
    if (facts?.kind === 'directory' || (facts === undefined && this.#options.makeParents)) return;
    throw new WeftError('NOT_FOUND', { what: `there is no directory ${into.slice(0, 256)}`, hint: 'Make it first.' });
  }

  async take(header: Entry, content: AsyncIterable<Buffer>): Promise<void> {
    const parts = partsOf(header.name);
    // The directory itself: it is there, and stays as it is.
    if (parts.length === 0) return;
    const path = `${this.#options.into}/${parts.join('/')}`;
    const done = await this.#at(path, (spot) => this.#make(spot, header, path, content), true);
    if (done === undefined)
      throw new WeftError('CONFLICT', { what: `${header.name} cannot be made`, why: 'what it is in is no directory' });
    if (done) this.#result.entries++;
    else if (this.#result.skipped.length < MAX_SKIPPED) this.#result.skipped.push(header.name);
  }

  async finish(): Promise<Unpacked> {
    for (const late of this.#late.reverse()) await this.#at(late.path, (spot) => this.#dressDirectory(pathOf(spot), late), false);
    return this.#result;
  }

  #at<T>(path: string, use: (spot: Spot) => Promise<T>, make: boolean): Promise<T | undefined> {
    const { root, links = 'follow' } = this.#options;
    return withSpotBelow(root, path, use, { last: 'keep', links, make });
  }

  /** @returns whether it can be made at all */
  async #make(spot: Spot, header: Entry, path: string, content: AsyncIterable<Buffer>): Promise<boolean> {
    const at = pathOf(spot);
    switch (header.type) {
      case 'directory':
        await this.#directory(at, path, header);
        return true;
      case 'file':
      case 'contiguous-file':
        await this.#file(await inPlace(at, header.name, () => open(at, CREATE_FLAGS, 0o600)), header, content);
        return true;
      case 'symlink':
        await inPlace(at, header.name, () => symlink(header.linkname ?? '', at));
        await this.#own(at, header);
        if (header.mtime) await lutimes(at, header.mtime, header.mtime);
        return true;
      case 'link':
        await this.#hardLink(at, header);
        return true;
      default:
        return false;
    }
  }

  async #directory(at: string, path: string, header: Entry): Promise<void> {
    const there = await kindAt(at);
    if (there === undefined) await mkdir(at, { mode: NEW_DIRECTORY }).catch(unlessThere);
    else if (there === 'link' && (this.#options.links ?? 'follow') === 'follow') return;
    else if (there !== 'directory')
      throw new WeftError('CONFLICT', { what: `cannot make the directory ${header.name}`, why: 'something else is there already' });
    else return;
    await this.#own(at, header);
    this.#late.push({ path, mode: header.mode ?? NEW_DIRECTORY, mtime: header.mtime ?? new Date() });
  }

  async #file(file: FileHandle, header: Entry, content: AsyncIterable<Buffer>): Promise<void> {
    try {
      for await (const chunk of content) {
        await file.writeFile(chunk);
        this.#result.bytes += chunk.length;
      }
      const owner = this.#ownerOf(header);
      if (owner) await file.chown(owner.uid, owner.gid);
      await file.chmod(this.#modeOf(header));
      if (header.mtime) await file.utimes(header.mtime, header.mtime);
    } finally {
      await file.close();
    }
  }

  /** To an entry of this archive, named as there. */
  async #hardLink(at: string, header: Entry): Promise<void> {
    const target = `${this.#options.into}/${partsOf(header.linkname ?? '').join('/')}`;
    const make = (spot: Spot) => inPlace(at, header.name, () => link(pathOf(spot), at));
    const isThere = async (spot: Spot) => (await kindAt(pathOf(spot))) !== undefined && make(spot).then(() => true);
    const linked = await this.#at(target, isThere, false);
    if (!linked)
      throw new WeftError('BAD_VALUE', { what: `${header.name} is a link to ${header.linkname ?? 'nothing'}, which is not there` });
  }

  #modeOf = ({ mode = 0o644 }: Pick<Entry, 'mode'>): number => mode & PERMISSIONS & ~(this.#options.withoutMode ?? 0);

  #ownerOf({ uid = 0, gid = 0 }: Pick<Entry, 'uid' | 'gid'>): { uid: number; gid: number } | undefined {
    return this.#options.owner === 'archive' ? { uid, gid } : this.#options.owner;
  }

  async #own(at: string, header: Pick<Entry, 'uid' | 'gid'>): Promise<void> {
    const owner = this.#ownerOf(header);
    if (owner) await lchown(at, owner.uid, owner.gid);
  }

  /** chmod(2) follows a symlink, which somebody may put there now: so by an open handle. */
  async #dressDirectory(at: string, late: Late): Promise<void> {
    const handle = await openDirectory(at);
    try {
      const path = `/proc/self/fd/${handle.fd}`;
      await chmod(path, this.#modeOf(late));
      await utimes(path, late.mtime, late.mtime);
    } finally {
      await handle.close();
    }
  }
}

const pathOf = ({ directory, name }: Spot): string => `${directory}/${name ?? '.'}`;

/** Parts of a name in an archive. @throws BAD_VALUE if it leads out of the directory */
function partsOf(name: string): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0'))
    throw new WeftError('BAD_VALUE', {
      what: `the archive has a file ${JSON.stringify(name.slice(0, 128))}`,
      why: 'its name leads out of the directory',
      hint: 'Nothing like that is unpacked: look where the archive comes from.',
    });
  return parts;
}

async function kindAt(at: string): Promise<FileKind | undefined> {
  const stat = await lstat(at).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return stat && kindOf(stat);
}

/** Others may write to a volume at the same time: then once more, after a while that is not theirs. */
const TRIES = 10;
const PAUSE_MS = 20;

/** Makes what shall be at a place, where nothing may be; what is there goes, unless it is a directory. */
async function inPlace<T>(at: string, name: string, make: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const kind = await kindAt(at);
    if (kind === 'directory')
      throw new WeftError('CONFLICT', { what: `cannot write the file ${name}`, why: 'a directory of that name is there' });
    if (kind !== undefined) await unlink(at).catch(unlessGone);
    try {
      return await make();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt >= TRIES) throw error;
      await systemClock.sleep(Math.random() * PAUSE_MS);
    }
  }
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Takes away a file, or a directory with all that is in it; nothing there is no error. No symlink is followed at its end. */
export async function removeBelow(root: string, path: string): Promise<void> {
  await withSpotBelow(
    root,
    path,
    async (spot) => {
      if (spot.name === undefined) throw new WeftError('BAD_VALUE', `${path.slice(0, 256)} cannot be removed`);
      await removeAt(spot.directory, spot.name);
    },
    { last: 'keep' },
  );
}

async function removeAt(directory: string, name: string): Promise<void> {
  const at = `${directory}/${name}`;
  const kind = await kindAt(at);
  if (kind === undefined) return;
  if (kind !== 'directory') return unlink(at).catch(unlessGone);
  const handle = await openDirectory(at);
  try {
    const inside = `/proc/self/fd/${handle.fd}`;
    for (const child of await readdir(inside)) await removeAt(inside, child);
  } finally {
    await handle.close();
  }
  await rmdir(at);
}
