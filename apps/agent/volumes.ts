/**
 * A task's mounts on this node, but for trees (contents/tree-mounts.ts). A named volume is a directory under the data directory, made empty when it is first used
 * and, while it is empty, filled by the runtime with what the image has at that place. Only a command deletes a volume.
 */
import { chmod, lstat, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WeftError } from '#base/errors.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import type { MountWish } from '#model/stack.js';
import type { Mount } from '#runtime/runtime.js';
import { errnoOf } from './atomic-file.js';

/** @throws NOT_FOUND naming node and path when a bind source does not exist; BAD_NAME */
export async function prepareMounts(wishes: readonly MountWish[], volumesDir: string, nodeName: string): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const wish of wishes) if (wish.type !== 'tree') mounts.push(await prepareMount({ ...wish, type: wish.type }, volumesDir, nodeName));
  return mounts;
}

async function prepareMount(
  wish: MountWish & { type: Exclude<MountWish['type'], 'tree'> },
  volumesDir: string,
  nodeName: string,
): Promise<Mount> {
  const { type, source = '', target, readOnly } = wish;
  switch (type) {
    case 'tmpfs':
      return { type, target, readOnly, sizeBytes: wish.sizeBytes, mode: wish.mode };
    case 'volume':
      return { type: 'bind', source: await volumeDir(volumesDir, source), target, readOnly, seed: !wish.nocopy };
    case 'bind':
      await requireBindSource(source, nodeName);
      return { type, source, target, readOnly, ...(wish.propagation ? { propagation: wish.propagation } : {}) };
  }
}

/** Deletes a volume and its data; without a word where there is none. @throws BAD_NAME */
export const removeVolume = (volumesDir: string, name: string): Promise<void> =>
  rm(join(volumesDir, checkName(name, 'volume', GLOBAL_NAME_PATTERN)), { recursive: true, force: true });

async function volumeDir(volumesDir: string, name: string): Promise<string> {
  const path = join(volumesDir, checkName(name, 'volume', GLOBAL_NAME_PATTERN));
  await mkdir(volumesDir, { recursive: true, mode: 0o711 });
  try {
    await mkdir(path, { mode: 0o755 });
    await chmod(path, 0o755);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    const there = await lstat(path);
    // A link in its place would lead a container anywhere on the node.
    if (!there.isDirectory()) throw new WeftError('CONFLICT', { what: `volume ${name} cannot be used`, why: `${path} is not a directory` });
  }
  return path;
}

async function requireBindSource(path: string, nodeName: string): Promise<void> {
  try {
    await stat(path);
  } catch (error) {
    throw new WeftError('NOT_FOUND', {
      what: `node ${nodeName} has no ${path} to mount`,
      why: messageOf(error),
      hint: 'Make it on that node, or use a named volume.',
    });
  }
}
