/**
 * Images on their way from one place to another (proto, ImageTransfer): the giver offers, the taker says which blobs it
 * lacks, and those come one after another. The same messages pass between `ctl`, controllers and nodes.
 */
import { WeftError } from '#base/errors.js';
import type { ImageOffer as WireOffer, ImageTransfer } from './gen/weft/v1/api.js';

/** As `ImageOffer` of libs/runtime. Sizes are bytes. */
export interface TransferOffer {
  name: string;
  target: { digest: string; size: number; mediaType: string };
  blobs: { digest: string; size: number }[];
}

export interface TransferBlob {
  digest: string;
  chunks: AsyncIterable<Uint8Array>;
}

/** Bytes in one message: the protocol's limit. */
const CHUNK_BYTES = 256 * 1024;

export const wantedMessage = (digests: readonly string[]): ImageTransfer => ({
  part: { $case: 'wanted', value: { digests: [...digests] } },
});

export function offerMessage(offers: readonly TransferOffer[]): ImageTransfer {
  const images = offers.map(({ name, target, blobs }): WireOffer => ({
    name,
    target: { digest: target.digest, sizeBytes: target.size },
    mediaType: target.mediaType,
    blobs: blobs.map(({ digest, size }) => ({ digest, sizeBytes: size })),
  }));
  return { part: { $case: 'offer', value: { images } } };
}

/** @throws BAD_VALUE when the message is no offer */
export function offersOf(message: ImageTransfer | undefined): TransferOffer[] {
  if (message?.part?.$case !== 'offer') throw outOfTurn('an offer', message);
  return message.part.value.images.map(({ name, target, mediaType, blobs }) => ({
    name,
    target: { digest: target?.digest ?? '', size: target?.sizeBytes ?? 0, mediaType },
    blobs: blobs.map(({ digest, sizeBytes }) => ({ digest, size: sizeBytes })),
  }));
}

/** @throws BAD_VALUE when the message does not say what is wanted */
export function wantedOf(message: ImageTransfer | undefined): string[] {
  if (message?.part?.$case !== 'wanted') throw outOfTurn('what is wanted', message);
  return message.part.value.digests;
}

/** The blobs as messages: the digest of each, then its bytes. */
export async function* blobMessages(
  digests: readonly string[],
  open: (digest: string) => AsyncIterable<Uint8Array>,
): AsyncGenerator<ImageTransfer> {
  for (const digest of digests) {
    yield { part: { $case: 'blob', value: digest } };
    for await (const piece of open(digest)) {
      const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
        yield { part: { $case: 'chunk', value: bytes.subarray(at, at + CHUNK_BYTES) } };
    }
  }
}

/**
 * The blobs that messages carry, each to be read to its end before the next is asked for.
 * @throws BAD_VALUE when bytes come before it is said whose
 */
export async function* blobsIn(messages: AsyncIterator<ImageTransfer>): AsyncGenerator<TransferBlob> {
  let next = await messages.next();
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (next = await messages.next(); !next.done && next.value.part?.$case === 'chunk'; next = await messages.next())
      yield next.value.part.value;
  }
  while (!next.done) {
    const message: ImageTransfer = next.value;
    if (message.part?.$case !== 'blob') throw outOfTurn('a blob', message);
    yield { digest: message.part.value, chunks: chunks() };
    // Whoever did not want its bytes has thrown; one that is empty has none.
    if (next.value === message) next = await messages.next();
  }
}

const outOfTurn = (expected: string, message: ImageTransfer | undefined): WeftError =>
  new WeftError('BAD_VALUE', {
    what: 'images are not sent in the agreed order',
    why: `expected ${expected}, got ${message?.part?.$case ?? 'nothing'}`,
  });
