/**
 * A task's mounts on this node, but for trees (contents/tree-mounts.ts). A named volume is a directory under the data directory, made empty when it is first used
 * and, while it is empty, filled by the runtime with what the image has at that place. Only a command deletes a volume.
 */
import { chmod, lstat, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WeftError } from '#base/errors.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import type { MountWish } from '#model/stack.js';
import { isReadOnly, type VolumeOptions } from '#model/volume-options.js';
import type { Mount } from '#runtime/runtime.js';
import { errnoOf, isThere } from './atomic-file.js';
import type { VolumePart } from './volume-mounts.js';

/** What has to be mounted on the node first, for one task. */
export interface HeldMounts {
  /** @returns where the volume is mounted */
  hold: (name: string, options: VolumeOptions) => Promise<string>;
  /** @returns where a part of a volume is mounted. @param target in the container */
  holdPart: (part: VolumePart, target: string) => Promise<string>;
}

/** @throws NOT_FOUND naming node and path when a bind source does not exist; UNAVAILABLE naming a volume that cannot be mounted; BAD_NAME */
export async function prepareMounts(
  wishes: readonly MountWish[],
  volumesDir: string,
  nodeName: string,
  held: HeldMounts = NOTHING_HELD,
): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const { type, ...wish } of wishes)
    if (type !== 'tree') mounts.push(await prepareMount({ ...wish, type }, { volumesDir, nodeName, held }));
  return mounts;
}

const NOTHING_HELD: HeldMounts = {
  hold: () => Promise.reject(new WeftError('INTERNAL', 'nothing can be mounted here')),
  holdPart: () => Promise.reject(new WeftError('INTERNAL', 'nothing can be mounted here')),
};

interface MountPlace {
  volumesDir: string;
  nodeName: string;
  held: HeldMounts;
}

async function prepareMount(wish: MountWish & { type: Exclude<MountWish['type'], 'tree'> }, place: MountPlace): Promise<Mount> {
  const { type, target, readOnly } = wish;
  switch (type) {
    case 'tmpfs':
      return { type, target, readOnly, sizeBytes: wish.sizeBytes, mode: wish.mode };
    case 'volume':
      return prepareVolume(wish, place);
    case 'bind':
      return prepareBind(wish, place.nodeName);
  }
}

async function prepareBind(
  { source = '', target, readOnly, propagation, recursive, createHostPath }: MountWish,
  nodeName: string,
): Promise<Mount> {
  // The whole way, as Docker makes it: root's, and open to be read.
  if (createHostPath) await makeBindSource(source, nodeName);
  else await requireBindSource(source, nodeName);
  const below = recursive && (recursive === 'enabled' ? 'readonly' : recursive);
  return { type: 'bind', source, target, readOnly, ...(propagation ? { propagation } : {}), ...(below ? { recursive: below } : {}) };
}

async function prepareVolume(wish: MountWish, place: MountPlace): Promise<Mount> {
  const { source: name = '', target, subpath } = wish;
  const whole = await wholeVolume(wish, place);
  if (subpath === undefined) return whole;
  const part = { name, root: whole.source ?? '', subpath };
  // What a part of a volume begins with is there already.
  return { ...whole, source: await place.held.holdPart(part, target), seed: false };
}

async function wholeVolume(wish: MountWish, { volumesDir, nodeName, held }: MountPlace): Promise<Mount> {
  const { source = '', target, volumeOptions: options } = wish;
  if (!options) return { type: 'bind', source: await volumeDir(volumesDir, source), target, readOnly: wish.readOnly, seed: !wish.nocopy };
  const readOnly = wish.readOnly || isReadOnly(options);
  // What cannot be written cannot be filled from the image either.
  const mount = { type: 'bind', target, readOnly, seed: !wish.nocopy && !isReadOnly(options) } as const;
  if (options.type !== 'none') return { ...mount, source: await held.hold(source, options) };
  await requireDevice(source, options.device, nodeName);
  const flags = RESTRICTIONS.filter((flag) => options.options.includes(flag));
  return {
    ...mount,
    source: options.device,
    ...(flags.length > 0 ? { flags } : {}),
    ...(options.options.includes('rbind') ? {} : { recursive: 'disabled' }),
  };
}

const RESTRICTIONS = ['nosuid', 'nodev', 'noexec'] as const;

async function requireDevice(volume: string, path: string, nodeName: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => messageOf(error));
  if (typeof found !== 'string' && found.isDirectory()) return;
  throw new WeftError('NOT_FOUND', {
    what: `node ${nodeName} has no directory ${path}, which volume ${volume} is`,
    why: typeof found === 'string' ? found : 'it is something else',
    hint: 'Make it on that node.',
  });
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

async function makeBindSource(path: string, nodeName: string): Promise<void> {
  try {
    // One by one: where nothing can be made (/proc), Node's own recursive mkdir never ends.
    let way = '';
    for (const part of path.split('/').filter((one) => one !== '')) {
      way += `/${part}`;
      if (!(await isThere(way))) await mkdirOnce(way);
    }
  } catch (error) {
    throw new WeftError('NOT_FOUND', { what: `node ${nodeName} has no ${path} to mount`, why: `it cannot be made: ${messageOf(error)}` });
  }
}

/** Another task may make it at the same time. */
async function mkdirOnce(path: string): Promise<void> {
  await mkdir(path, { mode: 0o755 }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
  });
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
