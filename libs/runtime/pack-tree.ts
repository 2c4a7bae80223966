/**
 * A file or directory as a tar stream (POSIX.1-2001 pax), below a root that a stranger filled: directories are opened one below the
 * other, and no symlink is followed but at the end of the path asked for, where the caller wants that.
 */
import { once } from 'node:events';
import { constants } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { EventEmitter } from 'node:events';
import { pack, type Header, type Pack } from 'tar-stream';
import { messageOf, WeftError } from '#base/errors.js';
import { kindOf, PERMISSIONS } from './file-facts.js';
import { openDirectory, withSpotBelow } from './rootfs-files.js';

type Entry = Partial<Header> & Pick<Header, 'name'>;
type Sink = ReturnType<Pack['entry']>;

export interface PackOptions {
  /** The directory whose content links and paths cannot leave. */
  root: string;
  /** What to pack, below the root. */
  path: string;
  /** A symlink at the end of `path` is followed. */
  follow: boolean;
  /** What the packed thing is called in the archive; '' for the content of a directory alone. */
  as: string;
  /** Hears of what cannot be in an archive: sockets, devices, pipes. */
  onSkipped?: (path: string) => void;
}

/** Files are read by so much, in bytes. */
const CHUNK_BYTES = 256 * 1024;
/** Each level holds a descriptor open. */
const MAX_DEPTH = 200;
/** A FIFO must not make us wait, and a symlink must not lead us. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** The bytes of the archive. @throws NOT_FOUND; BAD_VALUE for what is too deep, or changes its size while it is read */
export async function* packTree(options: PackOptions): AsyncGenerator<Buffer> {
  const tar = pack();
  const packer = new Packer(tar, options.onSkipped ?? (() => undefined));
  const work = packer.run(options).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error instanceof Error ? error : new Error(messageOf(error))),
  );
  try {
    for await (const chunk of tar as unknown as AsyncIterable<Buffer>) yield chunk;
  } finally {
    packer.ended = true;
    tar.destroy();
    await work;
  }
}

class Packer {
  /** Nobody reads any more. */
  ended = false;
  readonly #tar: Pack;
  readonly #onSkipped: (path: string) => void;

  constructor(tar: Pack, onSkipped: (path: string) => void) {
    this.#tar = tar;
    this.#onSkipped = onSkipped;
  }

  async run({ root, path, follow, as }: PackOptions): Promise<void> {
    const found = await withSpotBelow(
      root,
      path,
      async ({ directory, name }) => {
        await this.#add(name === undefined ? `${directory}/.` : `${directory}/${name}`, as, 0);
        return true;
      },
      { last: follow ? 'follow' : 'keep' },
    ).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    if (!found) throw new WeftError('NOT_FOUND', { what: `there is no ${path.slice(0, 256)}`, hint: 'Look with `ctl exec … ls`.' });
  }

  async #add(path: string, name: string, depth: number): Promise<void> {
    if (this.ended) return;
    const stat = await lstat(path);
    switch (kindOf(stat)) {
      case 'file':
        return this.#file(path, name);
      case 'directory':
        return this.#directory(path, name, stat, depth);
      case 'link':
        return this.#entry({ ...headerOf(name, stat), type: 'symlink', size: 0, linkname: await readlink(path) });
      case 'other':
        return this.#onSkipped(name);
    }
  }

  async #directory(path: string, name: string, stat: Stats, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw new WeftError('BAD_VALUE', { what: `${name.slice(0, 128)}… is nested more than ${MAX_DEPTH} deep` });
    if (name !== '') await this.#entry({ ...headerOf(`${name}/`, stat), type: 'directory', size: 0 });
    const handle = await openDirectory(path);
    try {
      const directory = `/proc/self/fd/${handle.fd}`;
      for (const child of await readdir(directory)) {
        // What went while we were reading was not there.
        await this.#add(`${directory}/${child}`, name === '' ? child : `${name}/${child}`, depth + 1).catch((error: unknown) => {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        });
      }
    } finally {
      await handle.close();
    }
  }

  /** The header promises a size: a file that grows is cut there, one that shrinks is an error. */
  async #file(path: string, name: string): Promise<void> {
    const file = await open(path, READ_FLAGS);
    try {
      const stat = await file.stat();
      const { promise, settle } = settled();
      const sink = this.#tar.entry({ ...headerOf(name, stat), type: 'file', size: stat.size }, settle);
      sink.on('error', () => undefined);
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(1, stat.size)));
      for (let left = stat.size; left > 0 && !this.ended;) {
        const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, left));
        if (bytesRead === 0) throw new WeftError('BAD_VALUE', { what: `${name} became shorter while it was read`, hint: 'Copy it again.' });
        left -= bytesRead;
        await written(sink, Buffer.from(buffer.subarray(0, bytesRead)), promise);
      }
      sink.end(undefined);
      await promise;
    } finally {
      await file.close();
    }
  }

  async #entry(header: Entry): Promise<void> {
    const { promise, settle } = settled();
    this.#tar.entry(header, settle);
    await promise;
  }
}

const headerOf = (name: string, stat: Stats): Entry => ({
  name,
  mode: stat.mode & PERMISSIONS,
  uid: stat.uid,
  gid: stat.gid,
  mtime: new Date(Math.floor(stat.mtimeMs / 1000) * 1000),
});

/** A callback as a promise. That the reader went away is no error of the writer's. */
function settled(): { promise: Promise<void>; settle: (error?: Error | null) => void } {
  let settle: (error?: Error | null) => void = () => undefined;
  const promise = new Promise<void>((resolve) => (settle = () => resolve()));
  return { promise, settle };
}

/** Waits where the reader is slower; no longer than the entry lives, which ends when the reader goes away. */
async function written(sink: Sink, bytes: Buffer, ended: Promise<void>): Promise<void> {
  if (sink.write(bytes)) return;
  const heard = new AbortController();
  const drained = once(sink as unknown as EventEmitter, 'drain', { signal: heard.signal }).catch(() => undefined);
  await Promise.race([drained, ended]);
  heard.abort();
}
