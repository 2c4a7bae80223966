/** Removes images that were long unused, when the disk is nearly full (collect-images.ts decides). */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#base/clock.js';
import type { Stop } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { decode, encode } from '#model/codec.js';
import type { ImageInfo, Runtime } from '#runtime/runtime.js';
import { readIfThere, writeAtomic } from '../atomic-file.js';
import { imagesToRemove } from '../collect-images.js';
import type { DesiredStore } from '../desired-store.js';

const PASS_MS = 60_000;

export interface ImagesLoopOptions {
  runtime: Runtime;
  store: DesiredStore;
  /** Keeps when each image was last used. */
  usesFile: string;
  /** Any path on the file system that holds the images; that of `usesFile` counts if it does not exist. */
  root: string;
  clock: Clock;
  log: Log;
}

export function startImagesLoop(options: ImagesLoopOptions): Stop {
  const timer = setInterval(() => {
    collectOnce(options).catch((error: unknown) => options.log.warn({ error: messageOf(error) }, 'could not look for unused images'));
  }, PASS_MS);
  return () => clearInterval(timer);
}

/** One look; returns the names of what was removed. */
export async function collectOnce({ runtime, store, usesFile, root, clock, log }: ImagesLoopOptions): Promise<string[]> {
  const now = clock.now();
  const images = await runtime.listImages();
  const inUse = await usedImages(runtime, store);
  const lastUsed = await noteUses(usesFile, images, inUse, now);
  const { blocks, bfree, bsize } = await statfs(root).catch(() => statfs(dirname(usesFile)));
  const disk = { usedBytes: (blocks - bfree) * bsize, totalBytes: blocks * bsize };
  const names = imagesToRemove({ images, inUse, lastUsed, disk, now });
  for (const name of names) {
    await runtime.removeImage(name);
    log.info(
      { image: name, diskUsed: `${Math.round((100 * disk.usedBytes) / disk.totalBytes)} %` },
      'removed an image that was long unused',
    );
  }
  return names;
}

async function usedImages(runtime: Runtime, store: DesiredStore): Promise<Set<string>> {
  const used = new Set((await runtime.list()).map((c) => c.image));
  for (const { container } of store.byKind.tasks) {
    if (container.imageDigest) used.add(container.imageDigest);
    const info = await runtime.resolveImage(container.image);
    if (info) used.add(info.name);
  }
  return used;
}

async function noteUses(file: string, images: ImageInfo[], inUse: ReadonlySet<string>, now: number): Promise<Map<string, number>> {
  const text = await readIfThere(file);
  const before = new Map(Object.entries(text === undefined ? {} : decode(z.record(z.string(), z.number()), text, file)));
  const after = new Map(images.map((i) => [i.name, inUse.has(i.name) || inUse.has(i.digest) ? now : (before.get(i.name) ?? now)]));
  await writeAtomic(file, encode(Object.fromEntries(after)));
  return after;
}
