/** Mounts a snapshot read-only for a moment, to look into it. Node has no mount(2): util-linux does it. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WeftError, messageOf } from '#base/errors.js';
import type { Mount } from './gen/types/mount.js';

const run = promisify(execFile);
const MOUNT_TIMEOUT_MS = 20_000;

/** Runs `work` with the directory where the mounts can be seen. @throws RUNTIME if they cannot be mounted */
export async function withMounted<T>(parent: string, mounts: readonly Mount[], work: (directory: string) => Promise<T>): Promise<T> {
  const directory = join(parent, randomUUID());
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    for (const mount of mounts) await mountAt(mount, directory);
    return await work(directory);
  } finally {
    await unmount(directory);
  }
}

/** Takes away what a crash left mounted under `parent`. */
export async function cleanMounts(parent: string): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) await unmount(join(parent, name));
}

async function mountAt(mount: Mount, directory: string): Promise<void> {
  const { cwd, options } = shorten(mount.options);
  const flags = [...options.filter((o) => o !== 'rw'), ...(options.includes('ro') ? [] : ['ro'])].join(',');
  const type = mount.type === 'bind' ? [] : ['-t', mount.type];
  try {
    // mount(2) rather than fsconfig(2), which limits an option to 256 bytes: less than the layers of a larger image take.
    const env = { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' };
    await run('mount', [...type, '-o', flags, '--', mount.source, directory], { cwd, env, timeout: MOUNT_TIMEOUT_MS });
  } catch (cause) {
    throw new WeftError('RUNTIME', { what: `cannot mount a ${mount.type} snapshot`, why: messageOf(cause), cause });
  }
}

/** mount(2) takes a page of options: many layers fit only when named relative to the directory they share. */
function shorten(options: readonly string[]): { cwd: string; options: string[] } {
  const lower = options.find((o) => o.startsWith('lowerdir='));
  const directories = lower?.slice('lowerdir='.length).split(':') ?? [];
  if (directories.length < 2 || !directories.every((d) => /^\/.*\/\d+\/fs$/.test(d))) return { cwd: '/', options: [...options] };
  const cwd = (directories[0] as string).replace(/\/\d+\/fs$/, '');
  if (!directories.every((d) => d.replace(/\/\d+\/fs$/, '') === cwd)) return { cwd: '/', options: [...options] };
  const short = `lowerdir=${directories.map((d) => d.slice(cwd.length + 1)).join(':')}`;
  return { cwd, options: options.map((o) => (o === lower ? short : o)) };
}

async function unmount(directory: string): Promise<void> {
  // Lazy, and without complaint: it may not be mounted.
  await run('umount', ['-l', '--', directory], { timeout: MOUNT_TIMEOUT_MS }).catch(() => undefined);
  // Never recursive: should it still be mounted, nothing below may go.
  await rmdir(directory).catch(() => undefined);
}
