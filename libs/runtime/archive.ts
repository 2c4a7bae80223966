/**
 * Reads an image archive as it comes in: files go straight into a store of blobs, a few documents are kept. Paths in the archive are only
 * ever compared with one another; nothing is written under them.
 */
import { posix } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { WeftError, messageOf } from '#base/errors.js';
import { MAX_DOCUMENT_BYTES } from './content.js';
import type { BlobWritten } from './content.js';

/** An image has some tens of files; this many is no image. */
const MAX_ENTRIES = 20_000;
/** Documents that say what the archive holds. */
const KEPT = new Set(['manifest.json', 'index.json', 'oci-layout']);
/** Parts of Docker's older archives that nothing refers to. */
const IGNORED = /^(?:repositories|[0-9a-f]{64}\/(?:json|VERSION))$/;

/** Where an archive's files go: containerd's content store on a node, a directory where `ctl` runs. */
export interface BlobStore {
  /** Takes a stream in and says what it was. @throws RUNTIME */
  put(chunks: AsyncIterable<Uint8Array>): Promise<BlobWritten>;
  /** A small one, whole; undefined if it is not there. @throws IMAGE_INVALID */
  read(digest: string): Promise<Buffer | undefined>;
}

export interface ArchiveBlob extends BlobWritten {
  gzip: boolean;
}

export interface Archive {
  documents: Map<string, Buffer>;
  /** By path; links are resolved. */
  blob(path: string): ArchiveBlob | undefined;
  paths(): Iterable<[string, ArchiveBlob]>;
}

/** @throws IMAGE_INVALID if it is no tar (plain or gzip), RUNTIME */
export async function readArchive(store: BlobStore, source: AsyncIterable<Uint8Array>): Promise<Archive> {
  const documents = new Map<string, Buffer>();
  const blobs = new Map<string, ArchiveBlob>();
  const links = new Map<string, string>();
  const tar = extract();
  const flow = unzipInto(source, tar);
  flow.catch(() => undefined);
  try {
    let entries = 0;
    for await (const entry of tar) {
      const path = clean(entry.header.name);
      if (++entries > MAX_ENTRIES)
        throw new WeftError('IMAGE_INVALID', { what: 'the archive is no image', why: `it has more than ${MAX_ENTRIES} files` });
      const { type, linkname } = entry.header;
      if ((type === 'symlink' || type === 'link') && linkname) {
        links.set(path, type === 'link' ? clean(linkname) : clean(posix.join(posix.dirname(path), linkname)));
      } else if (type === 'file' && KEPT.has(path)) documents.set(path, await collect(bytesOf(entry), path));
      else if (type === 'file' && !IGNORED.test(path)) blobs.set(path, await put(store, bytesOf(entry)));
      entry.resume();
    }
    await flow;
  } catch (error) {
    tar.destroy();
    throw await asArchiveError(error, flow);
  }
  const blob = (path: string) => blobs.get(clean(path)) ?? blobs.get(links.get(clean(path)) ?? '');
  return { documents, blob, paths: () => blobs.entries() };
}

/** tar-stream's entries are streams of Buffers; their types name another iterator. */
const bytesOf = (entry: unknown): AsyncIterable<Buffer> => entry as AsyncIterable<Buffer>;

const clean = (path: string): string => posix.normalize(path).replace(/^(?:\.?\/)+/, '');

/** What the source itself raised (a broken connection, a code of ours) is passed on; what tar and gzip make of its bytes is about the archive. */
async function asArchiveError(error: unknown, flow: Promise<void>): Promise<unknown> {
  if (error instanceof WeftError) return error;
  const cause = await flow.then(
    () => error,
    (reason: unknown) => (reason instanceof WeftError || reason instanceof SourceError ? reason : error),
  );
  if (cause instanceof SourceError) return cause.cause;
  if (cause instanceof WeftError) return cause;
  return new WeftError('IMAGE_INVALID', { what: 'the archive cannot be read as a tar of an image', why: messageOf(cause), cause });
}

/** Marks errors of whoever hands in the bytes. */
class SourceError extends Error {}

async function* marked(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (cause) {
    throw new SourceError(messageOf(cause), { cause });
  }
}

async function unzipInto(source: AsyncIterable<Uint8Array>, tar: NodeJS.WritableStream): Promise<void> {
  const { head, rest } = await peek(marked(source), 6);
  const unknown = OTHER_FORMATS.find(({ magic }) => magic.every((byte, i) => head[i] === byte));
  if (head.length === 0 || unknown) {
    const error = new WeftError('IMAGE_INVALID', {
      what: 'the archive cannot be read',
      why: unknown ? `${unknown.name} is not supported here` : 'it is empty',
    });
    (tar as unknown as { destroy(error: Error): void }).destroy(error);
    throw error;
  }
  const gzip = head[0] === 0x1f && head[1] === 0x8b;
  await pipeline(Readable.from(rest), gzip ? createGunzip() : new PassThrough(), tar);
}

const OTHER_FORMATS = [
  { name: 'zstd compression', magic: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: 'xz compression', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
  { name: 'bzip2 compression', magic: [0x42, 0x5a, 0x68] },
  { name: 'zip', magic: [0x50, 0x4b, 0x03, 0x04] },
];

/** The first `length` bytes (fewer at the end), and everything including them. */
async function peek(source: AsyncIterable<Uint8Array>, length: number): Promise<{ head: Buffer; rest: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < length) {
    const { done, value } = await iterator.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  async function* rest(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head: head.subarray(0, length), rest: rest() };
}

async function collect(entry: AsyncIterable<Buffer>, path: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of entry) {
    size += chunk.length;
    if (size > MAX_DOCUMENT_BYTES) throw new WeftError('IMAGE_INVALID', `${path} is larger than ${MAX_DOCUMENT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function put(store: BlobStore, entry: AsyncIterable<Uint8Array>): Promise<ArchiveBlob> {
  const { head, rest } = await peek(entry, 2);
  return { ...(await store.put(rest)), gzip: head[0] === 0x1f && head[1] === 0x8b };
}
