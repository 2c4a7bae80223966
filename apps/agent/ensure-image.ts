/** Finds the image a task was pinned to on this node, or fetches it without credentials. */
import { WeftError } from '#base/errors.js';
import type { ContainerWish } from '#model/stack.js';
import type { ImageInfo, Runtime } from '#runtime/runtime.js';

type Images = Pick<Runtime, 'resolveImage' | 'listImages' | 'pullImage'>;

/** `registry:5000/app:1.2@sha256:…` → `registry:5000/app`. A tag's colon comes after the last slash. */
export function repositoryOf(reference: string): string {
  const [name = ''] = reference.split('@');
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

/**
 * The image, under the name by which the runtime has it.
 * @throws IMAGE_UNKNOWN when it is neither here nor to be had
 */
export async function ensureImage(
  images: Images,
  wish: Pick<ContainerWish, 'image' | 'imageDigest'>,
  nodeName: string,
): Promise<ImageInfo> {
  const { image, imageDigest } = wish;
  const byName = await images.resolveImage(image);
  if (byName && (!imageDigest || byName.digest === imageDigest)) return byName;
  const pinned = imageDigest ? `${repositoryOf(image)}@${imageDigest}` : image;
  if (imageDigest) {
    const byDigest = (await images.resolveImage(pinned)) ?? (await images.listImages()).find((i) => i.digest === imageDigest);
    if (byDigest) return byDigest;
  }
  try {
    return await images.pullImage(pinned, undefined, () => undefined);
  } catch (error) {
    const weft = error instanceof WeftError ? error : undefined;
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `image ${image}${imageDigest ? ` (${imageDigest.slice(0, 19)}…)` : ''} is not on node ${nodeName}`,
      why: `it cannot be pulled either: ${weft?.message ?? String(error)}`,
      cause: error,
    });
  }
}
