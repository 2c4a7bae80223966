/** Finds the image a task was pinned to on this node, or has it from another node, or from its registry without credentials. */
import { messageOf, WeftError } from '#base/errors.js';
import type { ContainerWish } from '#model/stack.js';
import type { ImageInfo, Runtime } from '#runtime/runtime.js';
import type { ImagePeers } from './image-peers.js';

type Images = Pick<Runtime, 'resolveImage' | 'listImages' | 'pullImage'>;

/** `registry:5000/app:1.2@sha256:…` → `registry:5000/app`. A tag's colon comes after the last slash. */
export function repositoryOf(reference: string): string {
  const [name = ''] = reference.split('@');
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

/** Where an image can come from that is not here. */
export interface ImageSources {
  peers?: Pick<ImagePeers, 'fetch'> | undefined;
  /** Hears what is waited for, in words. */
  onWait?: (message: string) => void;
}

/**
 * The image, under the name by which the runtime has it.
 * @throws IMAGE_UNKNOWN when it is neither here nor to be had
 */
export async function ensureImage(
  images: Images,
  wish: Pick<ContainerWish, 'image' | 'imageDigest'>,
  nodeName: string,
  { peers, onWait = () => undefined }: ImageSources = {},
): Promise<ImageInfo> {
  const { image, imageDigest } = wish;
  const byName = await images.resolveImage(image);
  if (byName && (!imageDigest || byName.digest === imageDigest)) return byName;
  const pinned = imageDigest ? `${repositoryOf(image)}@${imageDigest}` : image;
  if (imageDigest) {
    const byDigest = (await images.resolveImage(pinned)) ?? (await images.listImages()).find((i) => i.digest === imageDigest);
    if (byDigest) return byDigest;
  }
  // A name that stands for something else here keeps doing so.
  const given = imageDigest && peers ? await fromPeers(peers, byName ? pinned : image, imageDigest, onWait) : undefined;
  if (given && !('why' in given)) return given;
  onWait(`waiting for the image ${image} from its registry`);
  try {
    return await images.pullImage(pinned, undefined, () => undefined);
  } catch (error) {
    const weft = error instanceof WeftError ? error : undefined;
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `image ${image}${imageDigest ? ` (${imageDigest.slice(0, 19)}…)` : ''} is not on node ${nodeName}`,
      why: `${given ? `no other node gives it (${given.why}); ` : ''}it cannot be pulled either: ${weft?.message ?? String(error)}`,
      cause: error,
    });
  }
}

/** What was pinned by its digest is the same wherever it comes from. */
async function fromPeers(
  peers: Pick<ImagePeers, 'fetch'>,
  name: string,
  digest: string,
  onWait: (message: string) => void,
): Promise<ImageInfo | { why: string }> {
  onWait(`waiting for the image ${name} from another node`);
  try {
    return await peers.fetch(name, digest, ({ doneBytes = 0, totalBytes = 0 }) => {
      if (totalBytes > 0) onWait(`waiting for the image ${name} from another node: ${Math.floor((100 * doneBytes) / totalBytes)} %`);
    });
  } catch (error) {
    return { why: messageOf(error) };
  }
}
