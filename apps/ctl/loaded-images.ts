/** What `ctl image load` and `push` have in common: the archive on this machine, and what the nodes say of its images. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import { fromDetail } from '#rpc/errors.js';
import type { ImageProgress } from '#rpc/gen/weft/v1/api.js';
import type { LiveLines } from './live-lines.js';
import { bytes } from './render/quantity.js';
import type { Shell } from './shell.js';

/** Bytes in one message: the protocol's limit (proto, LoadImage). */
export const CHUNK_BYTES = 256 * 1024;

export interface Archive {
  input: Readable;
  name: string;
  /** 0 when it is not known. */
  sizeBytes: number;
}

/** @throws NOT_FOUND, IMAGE_INVALID */
export async function openArchive(shell: Shell, archive: string): Promise<Archive> {
  if (archive === '-') return { input: shell.stdin, name: 'standard input', sizeBytes: 0 };
  const path = resolve(shell.cwd, archive);
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new WeftError('NOT_FOUND', { what: `there is no file ${archive}`, hint: 'Make one with `docker save -o FILE IMAGE`.' });
  if (!found.isFile()) throw new WeftError('IMAGE_INVALID', { what: `${archive} is not a file` });
  return { input: createReadStream(path, { highWaterMark: CHUNK_BYTES }), name: basename(path), sizeBytes: found.size };
}

export interface Loaded {
  name: string;
  digest: string;
  sizeBytes: number;
}

/** What came so far. */
export interface Tally {
  images: Map<string, Loaded>;
  /** `node: why` */
  failures: string[];
  first: WeftError | undefined;
}

export const newTally = (): Tally => ({ images: new Map(), failures: [], first: undefined });

/** Takes a line of progress in, and shows it. */
export function note(tally: Tally, lines: LiveLines, { node, message, image, error, totalBytes }: ImageProgress): void {
  if (error) {
    tally.first ??= fromDetail(error);
    tally.failures.push(`${node || 'the cluster'}: ${fromDetail(error).message}`);
  }
  if (image) tally.images.set(image.name, { name: image.name, digest: image.digest, sizeBytes: image.sizeBytes });
  if (node === '') return;
  const amount = totalBytes > 0 ? ` ${bytes(totalBytes)}` : '';
  const text = `${node}: ${image ? `${image.name} ` : ''}${message}${amount}`;
  lines.set(node, text, image || error ? text : '');
}

/** What is on every node now. @throws what the first node failed with, IMAGE_INVALID */
export function loadedOf({ images, failures, first }: Tally, archive: string): Loaded[] {
  if (first)
    throw new WeftError(first.code, { what: `${archive} is not loaded on every node`, why: failures.join('\n'), hint: first.hint });
  if (images.size > 0) return [...images.values()];
  throw new WeftError('IMAGE_INVALID', {
    what: `${archive} holds no image with a name`,
    hint: 'Save it by name: `docker save -o FILE NAME:TAG`.',
  });
}

/** One line an image. */
export const loadedText = (images: readonly Loaded[]): string => images.map((image) => `loaded ${image.name} ${image.digest}\n`).join('');
