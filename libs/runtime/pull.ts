/** Images from registries: manifest, config and the layers that are not here yet, each verified, then unpacked and named. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '#base/errors.js';
import { hasBlob, writeBlob, writeDocument } from './content.js';
import { formatPlatform, isIndexType, isManifestType, MEDIA, parseManifest, selectPlatform } from './image-config.js';
import type { Descriptor, ImageManifest } from './image-config.js';
import { infoOf, nameImage, sealImage } from './images.js';
import type { ImageContext } from './images.js';
import { withLease } from './lease.js';
import { formatReference, parseReference } from './reference.js';
import { Registry } from './registry.js';
import type { RemoteManifest } from './registry.js';
import type { ImageInfo, PullProgress, RegistryAuth } from './runtime.js';

const PARALLEL_BLOBS = 4;
const BLOB_TRIES = 3;
const RETRY_MS = 1000;
const REPORT_EVERY_MS = 200;

/** @throws BAD_NAME, IMAGE_UNKNOWN, UNAUTHENTICATED, RUNTIME */
export async function resolveRemote(reference: string, auth?: RegistryAuth): Promise<{ digest: string }> {
  const ref = parseReference(reference);
  return { digest: await new Registry(ref, auth).resolve(ref.digest ?? ref.tag ?? 'latest') };
}

/** @throws BAD_NAME, IMAGE_UNKNOWN, IMAGE_INVALID, UNAUTHENTICATED, RUNTIME */
export async function pullImage(
  ctx: ImageContext,
  reference: string,
  auth: RegistryAuth | undefined,
  onProgress: (progress: PullProgress) => void,
): Promise<ImageInfo> {
  const ref = parseReference(reference);
  const name = formatReference(ref);
  const registry = new Registry(ref, auth);
  return withLease(ctx.client, async (lease) => {
    onProgress({ message: `${name}: asking the registry` });
    const top = await registry.manifest(ref.digest ?? ref.tag ?? 'latest');
    const target = await keepManifest(ctx, lease, top);
    const manifest = await platformManifest(ctx, lease, registry, top);
    await fetchBlobs(ctx, lease, registry, [manifest.config, ...manifest.layers], (doneBytes, totalBytes) =>
      onProgress({ message: `${name}: downloading`, doneBytes, totalBytes }),
    );
    onProgress({ message: `${name}: unpacking` });
    const image = await sealImage(ctx, lease, target);
    await nameImage(ctx, name, target);
    onProgress({ message: `${name}: ready` });
    return infoOf(name, image);
  });
}

async function keepManifest(ctx: ImageContext, lease: string, remote: RemoteManifest): Promise<Descriptor> {
  await writeDocument(ctx.client, remote.bytes, lease);
  return { mediaType: mediaTypeOf(remote), digest: remote.digest, size: remote.bytes.length };
}

function mediaTypeOf({ bytes, mediaType }: RemoteManifest): string {
  if (isIndexType(mediaType) || isManifestType(mediaType)) return mediaType;
  return 'index' in parseManifest(bytes, 'the manifest') ? MEDIA.ociIndex : MEDIA.ociManifest;
}

async function platformManifest(ctx: ImageContext, lease: string, registry: Registry, top: RemoteManifest): Promise<ImageManifest> {
  const parsed = parseManifest(top.bytes, 'the manifest');
  if ('manifest' in parsed) return parsed.manifest;
  const entry = selectPlatform(parsed.index.manifests, ctx.platform);
  if (!entry)
    throw new WeftError('IMAGE_INVALID', {
      what: `the image has nothing for ${formatPlatform(ctx.platform)}`,
      why: 'its index lists other platforms only',
    });
  const inner = await registry.manifest(entry.digest);
  await keepManifest(ctx, lease, inner);
  const manifest = parseManifest(inner.bytes, 'the manifest');
  if ('manifest' in manifest) return manifest.manifest;
  throw new WeftError('IMAGE_INVALID', 'the index of the image points to another index');
}

async function fetchBlobs(
  ctx: ImageContext,
  lease: string,
  registry: Registry,
  blobs: readonly Descriptor[],
  report: (doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  // The same layer may stand in a manifest more than once.
  const queue = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
  const totalBytes = queue.reduce((sum, blob) => sum + blob.size, 0);
  let doneBytes = 0;
  let reportedAt = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    if (performance.now() - reportedAt < REPORT_EVERY_MS && doneBytes < totalBytes) return;
    reportedAt = performance.now();
    report(doneBytes, totalBytes);
  };
  const abort = new AbortController();
  const worker = async () => {
    for (let blob = queue.shift(); blob && !abort.signal.aborted; blob = queue.shift()) {
      if (await hasBlob(ctx.client, blob.digest, lease)) onBytes(blob.size);
      else await fetchBlob(ctx, lease, registry, blob, onBytes);
    }
  };
  const failures = (
    await Promise.allSettled(
      Array.from({ length: PARALLEL_BLOBS }, () =>
        worker().catch((error: unknown) => {
          abort.abort();
          throw error;
        }),
      ),
    )
  ).filter((result) => result.status === 'rejected');
  if (failures[0]) throw failures[0].reason;
}

/** Broken connections are tried again from the start; a wrong digest is not. */
async function fetchBlob(
  ctx: ImageContext,
  lease: string,
  registry: Registry,
  blob: Descriptor,
  onBytes: (bytes: number) => void,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    let received = 0;
    const count = (bytes: number) => {
      received += bytes;
      onBytes(bytes);
    };
    try {
      await writeBlob(ctx.client, await registry.blob(blob.digest), { lease, expected: blob, onBytes: count });
      return;
    } catch (error) {
      onBytes(-received);
      if (attempt >= BLOB_TRIES || !(error instanceof WeftError && error.code === 'RUNTIME')) throw error;
      ctx.log.warn({ digest: blob.digest, attempt, reason: error.message }, 'a layer broke off, trying again');
      await sleep(RETRY_MS * attempt);
    }
  }
}
