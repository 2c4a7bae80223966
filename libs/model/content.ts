/**
 * Content: what the cluster carries to containers as files. A config or a secret is one file, a tree is a file or directory
 * from beside a compose file. Known by its id: of configs and trees the SHA-256 of their bytes, of secrets an HMAC-SHA256
 * under a key that only controllers have, so that nobody who sees an id can try guesses on it. The bytes are stored apart,
 * in chunks (`chunkKeys` in keys.ts), those of secrets sealed.
 */
import { z } from 'zod';
import { globalNameSchema, idSchema } from './names.js';
import { contentIdSchema } from './stack.js';
import { labelsSchema } from './labels.js';

/** Largest config or secret, as in Docker Swarm. */
export const MAX_FILE_BYTES = 500_000;
/** Largest sum of all trees of one stack. */
export const MAX_TREES_BYTES = 64 * 1024 * 1024;
/** Largest archive of one tree: contents, and a header or two of 512 bytes for each entry (tar). */
export const MAX_TREE_ARCHIVE_BYTES = 2 * MAX_TREES_BYTES;
/** Entries of all trees of one stack. */
export const MAX_TREE_ENTRIES = 20_000;
/** What a tree's own entry is called in its archive: a file, or the directory that all else is below. */
export const TREE_ROOT = 'root';
/** Of content in one chunk: as base64 it stays below what etcd takes in one value. */
export const CHUNK_BYTES = 512 * 1024;
/** Content that nothing refers to is kept this long after an `up` last asked for it. */
export const CONTENT_GRACE_MS = 60 * 60_000;

export { contentIdSchema };
export const contentKindSchema = z.enum(['config', 'secret', 'tree']);
export const fileKindSchema = z.enum(['config', 'secret']);

/** What is known of one content. Written by the API of any controller; deleted by the leader. */
export const contentRecordSchema = z.object({
  kind: contentKindSchema,
  id: contentIdSchema,
  sizeBytes: z.number().int().min(0),
  /** Number of chunks, one at least. */
  chunks: z.number().int().positive(),
  /** incoming: chunks are still being written; nothing may refer to it. */
  state: z.enum(['incoming', 'whole']),
  /** Secrets: the key that seals the chunks. */
  keyId: idSchema.optional(),
  /** An `up` asked for it last, milliseconds since 1970. */
  touchedAt: z.number(),
});

/** A config or secret of no stack, which stacks name as external. Written by the API (`ctl secret create`, `ctl configs create`). */
export const namedContentSchema = z.object({
  kind: fileKindSchema,
  name: globalNameSchema,
  contentId: contentIdSchema,
  sizeBytes: z.number().int().min(0),
  labels: labelsSchema.default({}),
  createdAt: z.number(),
  updatedAt: z.number(),
});

export type ContentKind = z.infer<typeof contentKindSchema>;
export type FileKind = z.infer<typeof fileKindSchema>;
export type ContentRecord = z.infer<typeof contentRecordSchema>;
export type NamedContent = z.infer<typeof namedContentSchema>;

/** One content, as text: the key of maps. */
export const contentKey = (kind: ContentKind, id: string): string => `${kind}/${id}`;
