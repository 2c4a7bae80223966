/** Which images may go when the disk is nearly full. Pure. */
import type { ImageInfo } from '#runtime/runtime.js';

/** Above this share of the file system images are removed… */
export const FULL_AT = 0.85;
/** …until, by their sizes, this share is reached. */
const ENOUGH_AT = 0.8;
/** An image that was used this recently stays: a task may be on its way back. */
const KEEP_MS = 3_600_000;

export interface CollectInput {
  images: readonly ImageInfo[];
  /** Names and digests that containers or tasks of this node use. */
  inUse: ReadonlySet<string>;
  /** Image name → when it was last seen in use, or first seen; ms since the epoch. */
  lastUsed: ReadonlyMap<string, number>;
  disk: { usedBytes: number; totalBytes: number };
  now: number;
}

/** Names of the images to remove, the longest unused first. Empty while there is room. */
export function imagesToRemove({ images, inUse, lastUsed, disk, now }: CollectInput): string[] {
  if (disk.usedBytes <= FULL_AT * disk.totalBytes) return [];
  const ageOf = (image: ImageInfo) => lastUsed.get(image.name) ?? now;
  const idle = images
    .filter((image) => !inUse.has(image.name) && !inUse.has(image.digest) && now - ageOf(image) >= KEEP_MS)
    .sort((a, b) => ageOf(a) - ageOf(b));
  let excess = disk.usedBytes - ENOUGH_AT * disk.totalBytes;
  const chosen: string[] = [];
  for (const image of idle) {
    if (excess <= 0) break;
    chosen.push(image.name);
    excess -= image.sizeBytes;
  }
  return chosen;
}
