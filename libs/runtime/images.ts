/** Images by name: what is here, whether it can run on this machine, and the labels that keep an image's parts from the garbage collector. */
import type { Log } from '#base/log.js';
import { WeftError } from '#base/errors.js';
import type { ContainerdClient } from './client.js';
import { isAlreadyExists, isNotFound, orUndefined } from './client.js';
import { MAX_DOCUMENT_BYTES, hasBlob, labelBlob, readBlob } from './content.js';
import { ImagesService } from './gen/services/images/v1/images.js';
import type { Image } from './gen/services/images/v1/images.js';
import { formatPlatform, parseConfig, parseManifest, platformMatches, selectPlatform } from './image-config.js';
import type { Descriptor, ImageConfig, ImageIndex, ImageManifest, ImagePlatform } from './image-config.js';
import { withLease } from './lease.js';
import { formatReference, parseReference, repositoryOf } from './reference.js';
import type { ImageInfo } from './runtime.js';
import { hasSnapshot, topChainId, unpackLayers } from './unpack.js';

/** What the image functions share. */
export interface ImageContext {
  client: ContainerdClient;
  snapshotter: string;
  platform: ImagePlatform;
  log: Log;
  /** Parsed images by the digest that their name points to: immutable, and read on every container's start. */
  parsed: Map<string, LoadedImage>;
}

/** An image's documents for this platform. */
export interface LoadedImage {
  target: Descriptor;
  index?: ImageIndex;
  manifestDigest: string;
  manifest: ImageManifest;
  config: ImageConfig;
  chainId: string;
}

const MAX_PARSED = 128;

/**
 * Reads index, manifest and config of what `target` points to.
 * @throws IMAGE_INVALID if a part is missing or malformed, or there is nothing for this platform
 */
export async function loadImage(ctx: ImageContext, target: Pick<Descriptor, 'digest' | 'size' | 'mediaType'>): Promise<LoadedImage> {
  const known = ctx.parsed.get(target.digest);
  if (known) return known;
  const top = parseManifest(await document(ctx, target.digest, 'the manifest'), 'the manifest');
  const entry = 'index' in top ? selectPlatform(top.index.manifests, ctx.platform) : target;
  if (!entry) throw wrongPlatform(ctx, 'index' in top ? top.index.manifests.flatMap((d) => (d.platform ? [d.platform] : [])) : []);
  const inner = 'index' in top ? parseManifest(await document(ctx, entry.digest, 'the manifest'), 'the manifest') : top;
  if (!('manifest' in inner)) throw new WeftError('IMAGE_INVALID', 'the index of the image points to another index');
  const config = parseConfig(await document(ctx, inner.manifest.config.digest, 'the config'), 'the config');
  // An image made by hand may not say what it is for; then it is taken at its word.
  if (config.platform.os && !platformMatches(config.platform, ctx.platform)) throw wrongPlatform(ctx, [config.platform]);
  const loaded = {
    target: { mediaType: target.mediaType, digest: target.digest, size: target.size },
    ...('index' in top ? { index: top.index } : {}),
    manifestDigest: entry.digest,
    manifest: inner.manifest,
    config,
    chainId: topChainId(config.diffIds),
  };
  if (ctx.parsed.size >= MAX_PARSED) ctx.parsed.delete(ctx.parsed.keys().next().value as string);
  ctx.parsed.set(target.digest, loaded);
  return loaded;
}

async function document(ctx: ImageContext, digest: string, what: string): Promise<Buffer> {
  const bytes = await readBlob(ctx.client, digest);
  if (!bytes) throw new WeftError('IMAGE_INVALID', { what: `${what} ${digest} is missing` });
  return bytes;
}

function wrongPlatform(ctx: ImageContext, has: ImagePlatform[]): WeftError {
  const list = [...new Set(has.map(formatPlatform))].filter((p) => !p.startsWith('unknown')).join(', ');
  return new WeftError('IMAGE_INVALID', {
    what: `the image has nothing for ${formatPlatform(ctx.platform)}`,
    why: list ? `it is for ${list}` : 'its index names no platform',
    hint: `Build or pull it for ${formatPlatform(ctx.platform)}.`,
  });
}

/**
 * Makes an image whole whose blobs are in the store: labels from parent to child (so that the name alone keeps everything), and its layers
 * unpacked for this platform. @throws IMAGE_INVALID, RUNTIME
 */
export async function sealImage(ctx: ImageContext, lease: string, target: Descriptor): Promise<LoadedImage> {
  const image = await loadImage(ctx, target);
  const { client, snapshotter } = ctx;
  for (const layer of image.manifest.layers) {
    if (!(await hasBlob(client, layer.digest, lease))) throw new WeftError('IMAGE_INVALID', `the layer ${layer.digest} is missing`);
  }
  await unpackLayers(client, snapshotter, lease, image.manifest.layers, image.config.diffIds);
  if (image.chainId)
    await labelBlob(client, image.manifest.config.digest, { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: image.chainId });
  await labelChildren(client, image.manifestDigest, [image.manifest.config.digest, ...image.manifest.layers.map((l) => l.digest)]);
  if (image.index) await labelChildren(client, target.digest, [image.manifestDigest]);
  return image;
}

async function labelChildren(client: ContainerdClient, parent: string, children: string[]): Promise<void> {
  await labelBlob(client, parent, Object.fromEntries(children.map((digest, i) => [`containerd.io/gc.ref.content.${i}`, digest])));
}

/** Gives the image a name, or moves the name to it. */
export async function nameImage(ctx: ImageContext, name: string, target: Descriptor): Promise<void> {
  const image: Image = { name, labels: {}, target: { ...target, annotations: {} }, createdAt: undefined, updatedAt: undefined };
  try {
    await ctx.client.call(ImagesService.create, { image });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await ctx.client.call(ImagesService.update, { image, updateMask: ['target'] });
  }
}

/** The image record that a user's name means: by whole name, or by digest under any tag of the same repository. @throws BAD_NAME */
export async function findImage(ctx: ImageContext, reference: string): Promise<{ name: string; target: Descriptor } | undefined> {
  const ref = parseReference(reference);
  const exact = (await orUndefined(ctx.client.call(ImagesService.get, { name: formatReference(ref) })))?.image;
  const found = exact ?? (ref.digest ? await findByDigest(ctx, repositoryOf(ref), ref.digest) : undefined);
  return found?.target ? { name: found.name, target: found.target } : undefined;
}

async function findByDigest(ctx: ImageContext, repository: string, digest: string): Promise<Image | undefined> {
  const { images } = await ctx.client.call(ImagesService.list, { filters: [`target.digest==${digest}`] });
  return images.find((image) => image.target?.digest === digest && repositoryOf(parseReference(image.name)) === repository);
}

/** Undefined unless every part that this platform needs is here. @throws BAD_NAME */
export async function resolveImage(ctx: ImageContext, reference: string): Promise<ImageInfo | undefined> {
  const found = await findImage(ctx, reference);
  if (!found) return undefined;
  try {
    const image = await loadImage(ctx, found.target);
    return (await isComplete(ctx, image)) ? infoOf(found.name, image) : undefined;
  } catch (error) {
    if (error instanceof WeftError && error.code === 'IMAGE_INVALID') return undefined;
    throw error;
  }
}

async function isComplete(ctx: ImageContext, image: LoadedImage): Promise<boolean> {
  if (await hasSnapshot(ctx.client, ctx.snapshotter, image.chainId || 'none')) return true;
  for (const layer of image.manifest.layers) if (!(await hasBlob(ctx.client, layer.digest))) return false;
  return true;
}

/** For a container's start: the image, unpacked. @throws IMAGE_UNKNOWN, IMAGE_INVALID, RUNTIME */
export async function imageToRun(ctx: ImageContext, reference: string): Promise<LoadedImage> {
  const found = await findImage(ctx, reference);
  if (!found) throw new WeftError('IMAGE_UNKNOWN', { what: `no image ${reference} on this node` });
  const image = await loadImage(ctx, found.target);
  const unpacked = image.chainId === '' || (await hasSnapshot(ctx.client, ctx.snapshotter, image.chainId));
  if (!unpacked) await withLease(ctx.client, (lease) => sealImage(ctx, lease, image.target));
  return image;
}

export function infoOf(name: string, image: LoadedImage): ImageInfo {
  const { config, layers } = image.manifest;
  const platforms = image.index?.manifests.flatMap((d) => (d.platform && d.platform.os !== 'unknown' ? [formatPlatform(d.platform)] : []));
  return {
    name,
    digest: image.target.digest,
    sizeBytes: config.size + layers.reduce((sum, layer) => sum + layer.size, 0),
    platforms: platforms?.length
      ? [...new Set(platforms)]
      : [formatPlatform(image.config.platform.os ? image.config.platform : { os: 'linux', architecture: 'unknown' })],
    ...(image.config.healthcheck ? { healthcheck: image.config.healthcheck } : {}),
    ...(image.config.shell ? { shell: image.config.shell } : {}),
  };
}

/** Every named image; one that is broken or for another platform is listed with size 0 and no platforms. */
export async function listImages(ctx: ImageContext): Promise<ImageInfo[]> {
  const { images } = await ctx.client.call(ImagesService.list, { filters: [] });
  return Promise.all(
    images.map(async ({ name, target }) => {
      const digest = target?.digest ?? '';
      const size = Math.min(target?.size ?? 0, MAX_DOCUMENT_BYTES);
      try {
        return infoOf(name, await loadImage(ctx, { digest, size, mediaType: target?.mediaType ?? '' }));
      } catch (error) {
        ctx.log.debug({ name, error }, 'image cannot be read');
        return { name, digest, sizeBytes: 0, platforms: [] };
      }
    }),
  );
}

/** Takes the name away, and with the last name the content (unless containers run on it). Idempotent. @throws BAD_NAME */
export async function removeImage(ctx: ImageContext, reference: string): Promise<void> {
  const found = await findImage(ctx, reference);
  if (!found) return;
  ctx.parsed.delete(found.target.digest);
  try {
    await ctx.client.call(ImagesService.delete, { name: found.name, sync: true }, { deadlineMs: 120_000 });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
