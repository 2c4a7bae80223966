/** The content store: blobs by digest, written as streams and read whole (small ones: manifests and configs). */
import { createHash, randomUUID } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';
import type { ContainerdClient } from './client.js';
import { containerdError, isAlreadyExists, isNotFound } from './client.js';
import { addToLease } from './lease.js';
import { ContentService, WriteAction } from './gen/services/content/v1/content.js';
import type { WriteContentRequest, WriteContentResponse } from './gen/services/content/v1/content.js';

/** Manifests, indexes and configs larger than this are refused (registries have the same limit for manifests). */
export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
/** A blob's last bytes may take long to reach a slow disk. */
const COMMIT_DEADLINE_MS = 120_000;
/** Requests sent and not yet acknowledged. */
const WINDOW = 16;

export interface BlobWritten {
  digest: string;
  /** Bytes. */
  size: number;
}

/** True if the blob is there; it is then kept by the lease too. */
export async function hasBlob(client: ContainerdClient, digest: string, lease?: string): Promise<boolean> {
  // Kept first, looked for then: the other way round, the garbage collector could take it in between.
  if (lease) await addToLease(client, lease, 'content', digest);
  try {
    await client.call(ContentService.info, { digest });
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
  return true;
}

/** A blob's bytes as they are stored, not checked. @throws NOT_FOUND, RUNTIME */
export async function* streamBlob(client: ContainerdClient, digest: string): AsyncGenerator<Buffer> {
  const stream = client.stream(ContentService.read, { digest, offset: 0, size: 0 });
  try {
    for await (const { data } of stream as AsyncIterable<{ data: Buffer }>) yield data;
  } catch (error) {
    if (isNotFound(error)) throw new WeftError('NOT_FOUND', { what: `no blob ${digest} on this node`, cause: error });
    throw containerdError(ContentService.read.path, error as ServiceError);
  } finally {
    stream.cancel();
  }
}

/** A small blob, whole; its digest is checked. Undefined if it is not there. @throws IMAGE_INVALID if it is too large or damaged */
export async function readBlob(client: ContainerdClient, digest: string): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const data of streamBlob(client, digest)) {
      size += data.length;
      if (size > MAX_DOCUMENT_BYTES) throw new WeftError('IMAGE_INVALID', `${digest} is larger than a manifest or config may be`);
      chunks.push(data);
    }
  } catch (error) {
    if (error instanceof WeftError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
  const bytes = Buffer.concat(chunks);
  if (digestOf(bytes) !== digest) throw new WeftError('IMAGE_INVALID', `the stored blob ${digest} is damaged`);
  return bytes;
}

export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Sets labels on a blob, leaving its others. */
export async function labelBlob(client: ContainerdClient, digest: string, labels: Record<string, string>): Promise<void> {
  const info = { digest, size: 0, createdAt: undefined, updatedAt: undefined, labels };
  await client.call(ContentService.update, { info, updateMask: Object.keys(labels).map((key) => `labels.${key}`) });
}

/**
 * Streams a blob into the store under a lease. Nothing is kept in memory; what arrives is hashed, and a blob that is not what `expected`
 * says is thrown away. @throws IMAGE_INVALID on a wrong digest or size, RUNTIME
 */
export async function writeBlob(
  client: ContainerdClient,
  chunks: AsyncIterable<Uint8Array>,
  options: { lease: string; expected?: { digest: string; size?: number }; onBytes?: (bytes: number) => void },
): Promise<BlobWritten> {
  const upload = new Upload(client, options.lease);
  try {
    for await (const chunk of chunks) {
      await upload.write(chunk);
      options.onBytes?.(chunk.length);
      if (options.expected?.size !== undefined && upload.size > options.expected.size)
        throw wrong(options.expected.digest, 'it is longer than announced');
    }
    const { digest, size } = upload.hashed();
    if (options.expected && digest !== options.expected.digest) throw wrong(options.expected.digest, `its content has ${digest}`);
    await upload.commit(digest);
    return { digest, size };
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

/** Writes bytes that are at hand. */
export async function writeDocument(client: ContainerdClient, bytes: Uint8Array, lease: string): Promise<BlobWritten> {
  return writeBlob(client, oneChunk(bytes), { lease });
}

export async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const wrong = (digest: string, why: string) => new WeftError('IMAGE_INVALID', { what: `the blob ${digest} is not what it should be`, why });

/** One Content.Write stream: containerd acknowledges each request, and a window of them bounds what is in flight. */
class Upload {
  readonly #client: ContainerdClient;
  readonly #lease: string;
  readonly #ref = `weft-${randomUUID()}`;
  readonly #hash: Hash = createHash('sha256');
  readonly #stream: ClientDuplexStream<WriteContentRequest, WriteContentResponse>;
  #waiters: (() => void)[] = [];
  #unacknowledged = 0;
  #failure: ServiceError | undefined;
  #ended = false;
  size = 0;

  constructor(client: ContainerdClient, lease: string) {
    this.#client = client;
    this.#lease = lease;
    this.#stream = client.duplex(ContentService.write, { lease });
    this.#stream.on('data', () => {
      this.#unacknowledged--;
      this.#wake();
    });
    this.#stream.on('error', (error: ServiceError) => {
      this.#failure ??= error;
      this.#wake();
    });
    this.#stream.on('end', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  async write(data: Uint8Array): Promise<void> {
    if (data.length === 0) return;
    await this.#until(() => this.#unacknowledged < WINDOW);
    this.#hash.update(data);
    this.#send({ action: WriteAction.WRITE, offset: this.size, data });
    this.size += data.length;
  }

  hashed(): BlobWritten {
    return { digest: `sha256:${this.#hash.digest('hex')}`, size: this.size };
  }

  /** Makes the blob final. One that is there already is as good. */
  async commit(digest: string): Promise<void> {
    await this.#until(() => this.#unacknowledged === 0);
    // Before the commit: if the blob is there already and nobody needs it, the garbage collector may be about to take it.
    await addToLease(this.#client, this.#lease, 'content', digest);
    this.#send({ action: WriteAction.COMMIT, offset: this.size, data: new Uint8Array(0), total: this.size, expected: digest });
    const timer = setTimeout(() => this.#stream.cancel(), COMMIT_DEADLINE_MS);
    try {
      await this.#until(() => this.#unacknowledged === 0);
      this.#stream.end();
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives up: containerd drops what it has of the blob. */
  async abort(): Promise<void> {
    this.#stream.cancel();
    await this.#client.call(ContentService.abort, { ref: this.#ref }).catch(() => undefined);
  }

  #send(part: { action: WriteAction; offset: number; data: Uint8Array; total?: number; expected?: string }): void {
    this.#unacknowledged++;
    this.#stream.write({
      ref: this.#ref,
      total: 0,
      expected: '',
      labels: {},
      ...part,
      data: Buffer.from(part.data.buffer, part.data.byteOffset, part.data.byteLength),
    });
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#failure) throw containerdError(ContentService.write.path, this.#failure);
      if (this.#ended) throw new WeftError('RUNTIME', 'containerd ended the upload of a blob early');
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    if (this.#failure) throw containerdError(ContentService.write.path, this.#failure);
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}
