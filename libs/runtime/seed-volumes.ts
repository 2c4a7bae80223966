/** New volumes begin with what the image has at their place, owners and modes included, as Docker does it: a program that is not root can then write. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { WeftError, messageOf } from '#base/errors.js';
import type { ImageView } from './image-view.js';
import { withDirectoryBelow } from './rootfs-files.js';
import type { Mount } from './runtime.js';

const run = promisify(execFile);
const COPY_TIMEOUT_MS = 10 * 60_000;

/** Copies in progress, by volume: two containers may begin on one volume at the same time. */
const seeding = new Map<string, Promise<void>>();

/** Only empty directories are filled. @throws RUNTIME */
export async function seedVolumes(view: ImageView, chainId: string, mounts: readonly Mount[]): Promise<void> {
  for (const { type, source, target, seed } of mounts) {
    if (!seed || type !== 'bind' || !source || chainId === '') continue;
    await seeding.get(source)?.catch(() => undefined);
    const copy = seedOne(view, chainId, source, target).finally(() => seeding.delete(source));
    seeding.set(source, copy);
    await copy;
  }
}

async function seedOne(view: ImageView, chainId: string, source: string, target: string): Promise<void> {
  if ((await readdir(source)).length > 0) return;
  await view.with(chainId, (root) =>
    withDirectoryBelow(root, target, async (directory) => {
      try {
        // "/." is the directory's content and its own attributes; -a copies symlinks as such.
        await run('cp', ['-a', '--', `${directory}/.`, source], { timeout: COPY_TIMEOUT_MS });
      } catch (cause) {
        throw new WeftError('RUNTIME', { what: `cannot fill the volume for ${target} from the image`, why: messageOf(cause), cause });
      }
    }),
  );
}
