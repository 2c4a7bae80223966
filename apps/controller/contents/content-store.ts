/**
 * The bytes of configs, secrets and trees, in the store: base64 in chunks, those of secrets sealed. Any controller writes
 * and reads them. What is there already is not written again, only touched, so that it is not deleted under an `up`.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import {
  CHUNK_BYTES,
  contentKey,
  CONTENT_GRACE_MS,
  MAX_FILE_BYTES,
  MAX_TREE_ARCHIVE_BYTES,
  type ContentKind,
  type ContentRecord,
  type FileKind,
} from '#model/content.js';
import { chunkKeys, keys } from '#model/keys.js';
import type { Store, Write } from '#store/store.js';
import type { Keyring } from '#trust/keyring.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** What was asked for within this time is not touched again: every `up` would write. */
const TOUCH_AGAIN_MS = CONTENT_GRACE_MS / 4;

/** See proto, StoreTreeChunkRequest. */
export interface TreeChunk {
  id: string;
  sizeBytes: number;
  index: number;
  data: Uint8Array;
}

/** Two may send the same tree at the same time: so many tries for each chunk. */
const TRIES = 5;

export interface ContentTools {
  follower: ClusterFollower;
  store: Store;
  keyring: Keyring;
  clock: Clock;
}

export class ContentStore {
  readonly #t: ContentTools;

  constructor(tools: ContentTools) {
    this.#t = tools;
  }

  /** What a config or secret is known by. @throws BAD_VALUE when it is too large */
  idOf(kind: FileKind, bytes: Uint8Array): string {
    if (bytes.length > MAX_FILE_BYTES) {
      const what = `a ${kind} of ${bytes.length} bytes is too large`;
      throw new WeftError('BAD_VALUE', { what, why: `${MAX_FILE_BYTES} bytes are the most`, hint: 'Put it into a volume or an image.' });
    }
    return kind === 'secret' ? this.#t.keyring.nameOf(bytes) : createHash('sha256').update(bytes).digest('hex');
  }

  /** Stores a config or secret; resolves with its id once this controller's model has it. @throws BAD_VALUE, STORE, OUTCOME_UNKNOWN */
  async putFile(kind: FileKind, bytes: Uint8Array): Promise<string> {
    const { follower, store, clock } = this.#t;
    const id = this.idOf(kind, bytes);
    follower.requireCurrent();
    const known = follower.model.contents.get(contentKey(kind, id));
    const isAsNow = kind === 'config' || known?.keyId === this.#t.keyring.currentId;
    if (known?.state === 'whole' && isAsNow) await this.#touch(known);
    else {
      const keyId = kind === 'secret' ? { keyId: this.#t.keyring.currentId } : {};
      const record: ContentRecord = { kind, id, sizeBytes: bytes.length, chunks: 1, state: 'whole', ...keyId, touchedAt: clock.now() };
      const { revision } = await store.txn(
        [],
        [
          { put: keys.content(kind, id), value: encode(record) },
          { put: chunkKeys.chunk(kind, id, 0), value: this.#toStored(record, 0, bytes) },
        ],
      );
      await follower.reached(revision);
    }
    return id;
  }

  /** Those of the trees that have to be sent; the others are touched. */
  async missingTrees(ids: readonly string[]): Promise<string[]> {
    const { follower } = this.#t;
    follower.requireCurrent();
    const missing: string[] = [];
    for (const id of ids) {
      const known = follower.model.contents.get(contentKey('tree', id));
      if (known?.state === 'whole') await this.#touch(known);
      else missing.push(id);
    }
    return missing;
  }

  /**
   * Stores one chunk of a tree's archive; with the last, the whole is read back and has to be what its id says.
   * @throws BAD_VALUE, CONFLICT (chunks out of order), STORE
   */
  async putTreeChunk({ id, sizeBytes, index, data }: TreeChunk): Promise<void> {
    const { follower, store, clock } = this.#t;
    const chunks = Math.max(1, Math.ceil(sizeBytes / CHUNK_BYTES));
    const lengthOf = (i: number): number => (i < chunks - 1 ? CHUNK_BYTES : sizeBytes - (chunks - 1) * CHUNK_BYTES);
    if (sizeBytes > MAX_TREE_ARCHIVE_BYTES || index >= chunks || data.length !== lengthOf(index))
      throw new WeftError('BAD_VALUE', `chunk ${index + 1} of an archive of ${sizeBytes} bytes cannot have ${data.length} bytes`);
    for (let attempt = 0; attempt < TRIES; attempt++) {
      follower.requireCurrent();
      const known = follower.model.contents.get(contentKey('tree', id));
      if (known?.state === 'whole') return;
      if (!known && index > 0) throw new WeftError('CONFLICT', `chunk ${index + 1} of a tree came before its first`);
      const record: ContentRecord = { kind: 'tree', id, sizeBytes, chunks, state: 'incoming', touchedAt: clock.now() };
      const key = keys.content('tree', id);
      // With every chunk the record is written, too: a revision in which nothing changes below the followed root is never seen.
      const { ok, revision } = await store.txn(
        [{ key, modRevision: follower.model.revisionOf(key) }],
        [
          { put: key, value: encode(record) },
          { put: chunkKeys.chunk('tree', id, index), value: this.#toStored(record, index, data) },
        ],
      );
      await follower.reached(revision);
      if (ok) return index === chunks - 1 ? this.#finishTree(record) : undefined;
    }
    throw new WeftError('CONFLICT', 'a tree could not be stored: somebody else sends the same at the same time');
  }

  async #finishTree(record: ContentRecord): Promise<void> {
    const { follower, store, clock } = this.#t;
    const hash = createHash('sha256');
    for (let index = 0; index < record.chunks; index++) hash.update(await this.#chunk(record, index));
    const key = keys.content('tree', record.id);
    const isRight = hash.digest('hex') === record.id;
    const writes: Write[] = isRight
      ? [{ put: key, value: encode({ ...record, state: 'whole', touchedAt: clock.now() }) }]
      : [{ delete: key }, { deletePrefix: chunkKeys.of('tree', record.id) }];
    const { revision } = await store.txn([], writes);
    await follower.reached(revision);
    if (!isRight) throw new WeftError('BAD_VALUE', 'the archive of a tree is not what its id says');
  }

  /** The bytes of a content, chunk by chunk. @throws NOT_FOUND, CORRUPT */
  async *read(kind: ContentKind, id: string): AsyncGenerator<Buffer> {
    const record = this.#t.follower.model.contents.get(contentKey(kind, id));
    if (record?.state !== 'whole') throw new WeftError('NOT_FOUND', `there is no such ${kind} in the cluster`);
    for (let index = 0; index < record.chunks; index++) yield await this.#chunk(record, index);
  }

  async #chunk(record: ContentRecord, index: number): Promise<Buffer> {
    const { kind, id } = record;
    const entry = await this.#t.store.get(chunkKeys.chunk(kind, id, index));
    if (!entry) throw new WeftError('CORRUPT', `a ${kind} in the store lacks chunk ${index + 1} of ${record.chunks}`);
    if (kind !== 'secret') return Buffer.from(entry.value, 'base64');
    return this.#t.keyring.unseal(entry.value, record.keyId ?? '', chunkKeys.chunk(kind, id, index));
  }

  #toStored({ kind, id }: ContentRecord, index: number, bytes: Uint8Array): string {
    if (kind === 'secret') return this.#t.keyring.seal(bytes, chunkKeys.chunk(kind, id, index));
    return Buffer.from(bytes).toString('base64');
  }

  /** @throws CONFLICT when it was deleted meanwhile */
  async #touch(record: ContentRecord): Promise<void> {
    const { follower, store, clock } = this.#t;
    if (clock.now() - record.touchedAt < TOUCH_AGAIN_MS) return;
    const key = keys.content(record.kind, record.id);
    const compare = { key, modRevision: follower.model.revisionOf(key) };
    const { ok, revision } = await store.txn([compare], [{ put: key, value: encode({ ...record, touchedAt: clock.now() }) }]);
    await follower.reached(revision);
    const now = follower.model.contents.get(contentKey(record.kind, record.id));
    if (!ok && now?.state !== 'whole') throw new WeftError('CONFLICT', `a ${record.kind} was deleted while it was asked for again`);
  }
}
