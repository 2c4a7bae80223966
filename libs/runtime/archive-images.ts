/** What an archive means: `docker save` of any age (manifest.json), and OCI image layouts (index.json). */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import type { Archive, ArchiveBlob, BlobStore } from './archive.js';
import { oneChunk } from './content.js';
import { MEDIA, decodeImagePart, parseJson, parseManifest } from './image-config.js';
import type { Descriptor } from './image-config.js';
import { normalizeReference } from './reference.js';

export interface NamedTarget {
  name: string;
  target: Descriptor;
}

/** Docker and containerd write the whole name here; the OCI annotation often has only the tag. */
const NAME_ANNOTATION = 'io.containerd.image.name';
const REF_ANNOTATION = 'org.opencontainers.image.ref.name';

const dockerArchive = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()).nullish() }),
);

/** The images that an archive names. @throws IMAGE_INVALID, BAD_NAME */
export async function namedTargets(store: BlobStore, archive: Archive): Promise<NamedTarget[]> {
  const { documents } = archive;
  const fromIndex = documents.has('index.json') ? await ociTargets(store, archive) : [];
  const targets = fromIndex.length === 0 && documents.has('manifest.json') ? await dockerTargets(store, archive) : fromIndex;
  if (targets.length > 0) return targets;
  if (documents.has('index.json') || documents.has('manifest.json')) {
    throw new WeftError('IMAGE_INVALID', {
      what: 'the archive has an image without a name',
      why: 'neither RepoTags nor an annotation names it',
      hint: 'Save it by its name: docker save NAME:TAG.',
    });
  }
  throw new WeftError('IMAGE_INVALID', { what: 'the archive is no image', why: 'it has neither manifest.json nor index.json' });
}

async function ociTargets(store: BlobStore, archive: Archive): Promise<NamedTarget[]> {
  checkBlobNames(archive);
  const top = parseManifest(archive.documents.get('index.json') as Buffer, 'index.json');
  if (!('index' in top)) throw new WeftError('IMAGE_INVALID', 'index.json is not an index');
  const targets: NamedTarget[] = [];
  for (const descriptor of top.index.manifests) {
    const name = nameOf(descriptor.annotations ?? {});
    if (name)
      targets.push({ name, target: { mediaType: await typeOf(store, descriptor), digest: descriptor.digest, size: descriptor.size } });
  }
  return targets;
}

/** In an OCI layout a blob's path is its digest: a path that lies is a damaged archive. */
function checkBlobNames(archive: Archive): void {
  for (const [path, blob] of archive.paths()) {
    const [, algorithm, hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    if (hex !== undefined && algorithm === 'sha256' && blob.digest !== `sha256:${hex}`) {
      throw new WeftError('IMAGE_INVALID', {
        what: 'the archive is damaged',
        why: `${path.slice(0, 100)} has the content of ${blob.digest}`,
      });
    }
  }
}

/** The whole name, or a reference that is more than a tag. @throws BAD_NAME */
function nameOf(annotations: Record<string, string>): string | undefined {
  const whole = annotations[NAME_ANNOTATION];
  if (whole) return normalizeReference(whole);
  const ref = annotations[REF_ANNOTATION];
  return ref && /[/:]/.test(ref) ? normalizeReference(ref) : undefined;
}

async function typeOf(store: BlobStore, descriptor: Descriptor): Promise<string> {
  if (descriptor.mediaType) return descriptor.mediaType;
  const bytes = await store.read(descriptor.digest);
  if (!bytes) throw new WeftError('IMAGE_INVALID', `the manifest ${descriptor.digest} is missing`);
  return 'index' in parseManifest(bytes, 'the manifest') ? MEDIA.ociIndex : MEDIA.ociManifest;
}

async function dockerTargets(store: BlobStore, archive: Archive): Promise<NamedTarget[]> {
  const value = parseJson(archive.documents.get('manifest.json') as Buffer, 'manifest.json');
  const targets: NamedTarget[] = [];
  for (const item of decodeImagePart(dockerArchive, value, 'manifest.json')) {
    const names = (item.RepoTags ?? []).map(normalizeReference);
    if (names.length === 0) continue;
    const config = need(archive, item.Config);
    const layers = (item.Layers ?? []).map((path) => need(archive, path));
    const target = await writeManifest(store, config, layers);
    targets.push(...names.map((name) => ({ name, target })));
  }
  return targets;
}

function need(archive: Archive, path: string): ArchiveBlob {
  const blob = archive.blob(path);
  if (!blob)
    throw new WeftError('IMAGE_INVALID', {
      what: 'the archive is incomplete',
      why: `manifest.json names ${JSON.stringify(path.slice(0, 100))}, which is not in it`,
    });
  return blob;
}

/** The archive has no manifest of the registry's kind: make it. The same archive gives the same digest on every node. */
async function writeManifest(store: BlobStore, config: ArchiveBlob, layers: ArchiveBlob[]): Promise<Descriptor> {
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA.dockerManifest,
    config: { mediaType: MEDIA.dockerConfig, size: config.size, digest: config.digest },
    layers: layers.map((l) => ({ mediaType: l.gzip ? MEDIA.dockerLayerGzip : MEDIA.dockerLayer, size: l.size, digest: l.digest })),
  };
  const written = await store.put(oneChunk(Buffer.from(JSON.stringify(manifest))));
  return { mediaType: MEDIA.dockerManifest, ...written };
}
