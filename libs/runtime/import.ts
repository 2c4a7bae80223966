/** Images into containerd: from archives, and blob by blob from another place. */
import { WeftError } from '#base/errors.js';
import { readArchive } from './archive.js';
import { namedTargets } from './archive-images.js';
import { hasBlob, readBlob, writeBlob } from './content.js';
import { findImage, infoOf, loadImage, nameImage, sealImage } from './images.js';
import type { ImageContext } from './images.js';
import type { Descriptor } from './image-config.js';
import { withLease } from './lease.js';
import { isDigest, normalizeReference } from './reference.js';
import type { BlobRef, BringBlobs, ImageInfo, ImageOffer } from './runtime.js';

/** Imports, unpacks and names every image of the archive, or nothing. @throws IMAGE_INVALID, BAD_NAME, RUNTIME */
export async function importArchive(ctx: ImageContext, source: AsyncIterable<Uint8Array>): Promise<ImageInfo[]> {
  const { client } = ctx;
  return withLease(client, async (lease) => {
    const store = {
      put: (chunks: AsyncIterable<Uint8Array>) => writeBlob(client, chunks, { lease }),
      read: (digest: string) => readBlob(client, digest),
    };
    const archive = await readArchive(store, source);
    return finish(ctx, lease, await namedTargets(store, archive));
  });
}

/** Nothing is named before everything is whole. */
async function finish(ctx: ImageContext, lease: string, targets: readonly { name: string; target: Descriptor }[]): Promise<ImageInfo[]> {
  const sealed = [];
  for (const { name, target } of targets) sealed.push({ name, target, image: await sealImage(ctx, lease, target) });
  for (const { name, target } of sealed) await nameImage(ctx, name, target);
  return sealed.map(({ name, image }) => infoOf(name, image));
}

/** As `Runtime.describeImage`. @throws BAD_NAME, RUNTIME */
export async function describeImage(ctx: ImageContext, reference: string): Promise<ImageOffer | undefined> {
  const found = await findImage(ctx, reference);
  if (!found) return undefined;
  try {
    const { target, index, manifestDigest, manifest } = await loadImage(ctx, found.target);
    const inner = index?.manifests.filter((entry) => entry.digest === manifestDigest) ?? [];
    const parts = new Map([target, ...inner, manifest.config, ...manifest.layers].map(({ digest, size }) => [digest, { digest, size }]));
    for (const digest of parts.keys()) if (!(await hasBlob(ctx.client, digest))) return undefined;
    return { name: found.name, target, blobs: [...parts.values()] };
  } catch (error) {
    if (error instanceof WeftError && error.code === 'IMAGE_INVALID') return undefined;
    throw error;
  }
}

/** As `Runtime.receiveImages`. @throws IMAGE_INVALID, BAD_NAME, RUNTIME */
export async function receiveImages(ctx: ImageContext, offers: readonly ImageOffer[], bring: BringBlobs): Promise<ImageInfo[]> {
  const targets = offers.map(({ name, target }) => ({ name: normalizeReference(name), target }));
  const odd = offers.flatMap(({ target, blobs }) => [target, ...blobs]).find(({ digest }) => !isDigest(digest));
  if (odd) throw new WeftError('IMAGE_INVALID', `${JSON.stringify(odd.digest.slice(0, 80))} is no digest`);
  return withLease(ctx.client, async (lease) => {
    const lacking = new Map<string, BlobRef>();
    for (const blob of offers.flatMap((offer) => offer.blobs))
      if (!(await hasBlob(ctx.client, blob.digest, lease))) lacking.set(blob.digest, blob);
    for await (const { digest, chunks } of bring([...lacking.values()])) {
      const expected = lacking.get(digest);
      if (!expected) throw new WeftError('IMAGE_INVALID', `the blob ${digest} was not asked for`);
      await writeBlob(ctx.client, chunks, { lease, expected });
    }
    return finish(ctx, lease, targets);
  });
}
