/** An archive of images taken apart into a directory, blob by blob: what `ctl` has to offer to nodes before it knows what they lack. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { readArchive } from './archive.js';
import type { BlobStore } from './archive.js';
import { namedTargets } from './archive-images.js';
import { MAX_DOCUMENT_BYTES } from './content.js';
import { parseManifest } from './image-config.js';
import type { Descriptor } from './image-config.js';
import type { BlobRef, ImageOffer } from './runtime.js';

/** Bytes of one piece of a blob: what fits into one message between nodes. */
export const BLOB_CHUNK_BYTES = 256 * 1024;

export interface Spool {
  offers: ImageOffer[];
  /** The bytes of a blob of the offers, in pieces of `BLOB_CHUNK_BYTES` at most. */
  open(digest: string): AsyncIterable<Uint8Array>;
  /** Removes the directory. */
  remove(): Promise<void>;
}

/** @param parent where the directory is made @throws IMAGE_INVALID when it is no archive of images, or lacks a part; whatever the source throws */
export async function spoolArchive(source: AsyncIterable<Uint8Array>, parent = tmpdir()): Promise<Spool> {
  const directory = await mkdtemp(join(parent, 'weft-images-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const store = new DirectoryStore(directory);
    const archive = await readArchive(store, source);
    const targets = await namedTargets(store, archive);
    const offers: ImageOffer[] = [];
    for (const { name, target } of targets) offers.push({ name, target, blobs: await partsOf(store, target) });
    return { offers, open: (digest) => createReadStream(store.path(digest), { highWaterMark: BLOB_CHUNK_BYTES }), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Every blob that the target leads to. Of an index, only what the archive holds: it may be of one platform. @throws IMAGE_INVALID */
async function partsOf(store: DirectoryStore, target: Descriptor): Promise<BlobRef[]> {
  const parts = new Map<string, BlobRef>();
  const add = async ({ digest }: { digest: string }): Promise<void> => {
    const size = await store.sizeOf(digest);
    if (size === undefined) throw new WeftError('IMAGE_INVALID', { what: 'the archive is incomplete', why: `it lacks ${digest}` });
    parts.set(digest, { digest, size });
  };
  await add(target);
  const top = parseManifest((await store.read(target.digest)) as Buffer, 'the manifest');
  const manifests = 'index' in top ? top.index.manifests : [target];
  for (const entry of manifests) {
    const bytes = await store.read(entry.digest);
    const inner = bytes && parseManifest(bytes, 'the manifest');
    if (!inner || !('manifest' in inner)) continue;
    for (const part of [entry, inner.manifest.config, ...inner.manifest.layers]) await add(part);
  }
  return [...parts.values()];
}

/** Files named after the digest of what is in them. */
class DirectoryStore implements BlobStore {
  readonly #directory: string;
  #count = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @param digest one that was checked to be one: sha256: and 64 hexadecimal digits */
  path(digest: string): string {
    return join(this.#directory, digest.slice('sha256:'.length));
  }

  async put(chunks: AsyncIterable<Uint8Array>): Promise<BlobRef> {
    const path = join(this.#directory, `incoming-${++this.#count}`);
    const hash = createHash('sha256');
    let size = 0;
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    const digest = `sha256:${hash.digest('hex')}`;
    await rename(path, this.path(digest));
    return { digest, size };
  }

  async sizeOf(digest: string): Promise<number | undefined> {
    return (await stat(this.path(digest)).catch(() => undefined))?.size;
  }

  async read(digest: string): Promise<Buffer | undefined> {
    const size = await this.sizeOf(digest);
    if (size === undefined) return undefined;
    if (size > MAX_DOCUMENT_BYTES) throw new WeftError('IMAGE_INVALID', `${digest} is larger than a manifest or config may be`);
    return readFile(this.path(digest));
  }
}
