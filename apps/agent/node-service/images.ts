/** The image calls of the node service: list, load an archive, make images present. */
import { asWeftError, messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { toDetail } from '#rpc/errors.js';
import type { ImageProgress, ListImagesResponse, LoadImageRequest, PrepareImagesRequest, WantedImage } from '#rpc/gen/weft/v1/api.js';
import type { Image } from '#rpc/gen/weft/v1/types.js';
import type { ImageInfo, PullProgress, Runtime } from '#runtime/runtime.js';
import { repositoryOf } from '../ensure-image.js';
import type { ImagePeers } from '../image-peers.js';
import { Queue } from '#base/streams.js';

/** A line of progress each so many bytes of an archive. */
const REPORT_EVERY_BYTES = 4 * 1024 * 1024;

export interface ImageCallDeps {
  runtime: Runtime;
  /** Other nodes, to have images from. */
  peers?: ImagePeers;
  nodeName: string;
  log: Log;
}

export const imageOf = (info: ImageInfo): Image => ({
  name: info.name,
  digest: info.digest,
  sizeBytes: info.sizeBytes,
  platforms: info.platforms,
});

export async function listImages({ runtime, nodeName }: ImageCallDeps): Promise<ListImagesResponse> {
  return { nodes: [{ node: nodeName, images: (await runtime.listImages()).map(imageOf), error: '' }] };
}

/** A line about one image on this node. */
export function progress(node: string, reference: string, fields: Partial<ImageProgress>): ImageProgress {
  return { node, reference, message: '', doneBytes: 0, totalBytes: 0, image: undefined, error: undefined, ...fields };
}

/** @throws IMAGE_INVALID */
export async function* loadImage(deps: ImageCallDeps, requests: AsyncIterable<LoadImageRequest>): AsyncGenerator<ImageProgress> {
  const { runtime, nodeName, log } = deps;
  const queue = new Queue<ImageProgress>();
  let file = '';
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    let done = 0;
    let reported = 0;
    for await (const { part } of requests) {
      if (part?.$case === 'fileName') file = part.value;
      if (part?.$case !== 'chunk') continue;
      done += part.value.length;
      yield part.value;
      if (done - reported < REPORT_EVERY_BYTES) continue;
      reported = done;
      queue.push(progress(nodeName, file, { message: 'receiving', doneBytes: done }));
    }
  };
  runtime.importImage(chunks()).then(
    (images) => {
      for (const image of images) queue.push(progress(nodeName, image.name, { message: 'loaded', image: imageOf(image) }));
      log.info({ file, images: images.map((i) => i.name) }, 'loaded images from an archive');
      queue.end();
    },
    (error: unknown) => queue.end(error),
  );
  yield* queue;
}

/** Resolves or pulls each image; a failure of one is told in its line and does not keep the others from being tried. */
export async function* prepareImages(deps: ImageCallDeps, request: PrepareImagesRequest): AsyncGenerator<ImageProgress> {
  const queue = new Queue<ImageProgress>();
  const all = request.images.map(async (wanted) => {
    try {
      const info = await prepareOne(deps, wanted, (p) => queue.push(progress(deps.nodeName, wanted.reference, p)));
      queue.push(progress(deps.nodeName, wanted.reference, { message: 'ready', image: imageOf(info) }));
    } catch (error) {
      const weft = asWeftError(error, 'RUNTIME', `cannot prepare ${wanted.reference}`);
      deps.log.warn({ image: wanted.reference, error: weft.message }, 'could not prepare an image');
      queue.push(progress(deps.nodeName, wanted.reference, { message: weft.message, error: toDetail(weft) }));
    }
  });
  void Promise.all(all).then(() => queue.end());
  yield* queue;
}

async function prepareOne(deps: ImageCallDeps, wanted: WantedImage, onProgress: (p: Partial<ImageProgress>) => void): Promise<ImageInfo> {
  const { runtime, log } = deps;
  const { reference, auth, refresh, offline } = wanted;
  const here = await findHere(runtime, reference);
  if (here && !refresh) return here;
  const given = here ? undefined : await fromPeers(deps, wanted, onProgress);
  if (given) return given;
  if (here && offline) return here;
  if (offline) throw new WeftError('IMAGE_UNKNOWN', { what: `no node has the image ${reference}`, why: 'and no registry is to be asked' });
  const report = (p: PullProgress) => onProgress({ message: p.message, doneBytes: p.doneBytes ?? 0, totalBytes: p.totalBytes ?? 0 });
  try {
    if (here && here.digest === (await runtime.resolveRemote(reference, auth)).digest) return here;
    const info = await runtime.pullImage(reference, auth, report);
    log.info({ image: info.name, digest: info.digest }, 'pulled an image');
    return info;
  } catch (error) {
    // A refresh that finds no registry is no reason to refuse what was loaded by hand.
    if (
      here &&
      error instanceof WeftError &&
      (error.code === 'IMAGE_UNKNOWN' || error.code === 'UNAVAILABLE' || error.code === 'RUNTIME')
    ) {
      onProgress({ message: `the registry could not be asked (${error.message}); using what is here` });
      return here;
    }
    throw error;
  }
}

/** What the controller saw on other nodes. undefined when there is none, or it cannot be had from them: a registry may have it. */
async function fromPeers(
  { peers, log }: ImageCallDeps,
  { reference, digest }: WantedImage,
  onProgress: (p: Partial<ImageProgress>) => void,
): Promise<ImageInfo | undefined> {
  if (!peers || digest === '') return undefined;
  try {
    return await peers.fetch(reference, digest, onProgress);
  } catch (error) {
    log.info({ image: reference, error: messageOf(error) }, 'no other node gave the image');
    return undefined;
  }
}

/** By name; or, for `name@digest`, whatever here has that digest. */
async function findHere(runtime: Runtime, reference: string): Promise<ImageInfo | undefined> {
  const found = await runtime.resolveImage(reference);
  const digest = reference.split('@')[1];
  if (found || digest === undefined) return found;
  const byName = await runtime.resolveImage(repositoryOf(reference));
  return byName?.digest === digest ? byName : (await runtime.listImages()).find((i) => i.digest === digest);
}
