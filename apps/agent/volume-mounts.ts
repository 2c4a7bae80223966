/**
 * What the mounts of a task need to have mounted on the node first: volumes with `driver_opts` (nfs, tmpfs), which are mounted when
 * the first task needs them and unmounted when the last has gone, and directories within volumes (`subpath`), which are mounted by an
 * open handle, so that nothing that a container does to the path in the meantime leads anywhere else.
 *
 * A mount is known by its place: the name of the volume and a hash of its options. What is mounted is read off the kernel, so
 * that a restarted agent goes on with what is there.
 */
import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { mkdir, readdir, readFile, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isIpv4 } from '#base/address.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { Run } from '#linux/runner.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import type { MountWish } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { openEntry, withSpotBelow } from '#runtime/rootfs-files.js';
import { describeVolumeOptions, isNfs, serverOf, type VolumeOptions } from '#model/volume-options.js';
import { errnoOf } from './atomic-file.js';

/** A server that does not answer keeps mount(2) waiting for minutes; the task is tried again anyway. */
const MOUNT_TIMEOUT_MS = 20_000;
const HASH_LENGTH = 16;

export interface VolumeMountsOptions {
  /** Mount points are below it. */
  dir: string;
  nodeName: string;
  run: Run;
  log: Log;
  /** Address of a server that is known by name; this machine's resolver if left out. */
  resolve?: (host: string) => Promise<string>;
}

/** A file or directory within a volume. */
export interface VolumePart {
  name: string;
  /** Where the volume is. */
  root: string;
  /** From there; symlinks in it lead nowhere else. */
  subpath: string;
}

/** The arguments of mount(8). Only for nfs and tmpfs. @param address of the server (nfs) */
export function mountArgv({ type, device, options }: VolumeOptions, target: string, address = ''): string[] {
  // The kernel itself is asked, as Docker asks it: mount.nfs need not be there, and takes other options.
  const how = isNfs({ type }) ? ['-i'] : [];
  const given = isNfs({ type }) ? [...options.filter((option) => !option.startsWith('addr=')), `addr=${address}`] : options;
  return ['mount', ...how, '-t', type, ...(given.length > 0 ? ['-o', given.join(',')] : []), '--', device, target];
}

/** Where file systems are mounted. @param mountinfo the text of /proc/self/mountinfo (proc(5)) */
export function mountPoints(mountinfo: string): Set<string> {
  const unescape = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  return new Set(
    mountinfo
      .split('\n')
      .flatMap((line) => line.split(' ')[4] ?? [])
      .map(unescape),
  );
}

const needsMount = (mount: MountWish): mount is MountWish & { source: string; volumeOptions: VolumeOptions } =>
  mount.type === 'volume' && mount.source !== undefined && mount.volumeOptions !== undefined && mount.volumeOptions.type !== 'none';

const defaultResolve = async (host: string): Promise<string> => (await lookup(host)).address;

export class VolumeMounts {
  readonly #o: VolumeMountsOptions;
  /** Mount point → ids of the tasks that need it. */
  readonly #holders = new Map<string, Set<string>>();
  /** What is being done at a mount point: one thing after another. */
  readonly #busy = new Map<string, Promise<void>>();

  constructor(options: VolumeMountsOptions) {
    this.#o = options;
  }

  /** Mounts a volume for a task, where it is not mounted yet. @returns where. @throws UNAVAILABLE naming volume and device; BAD_NAME */
  async hold(taskId: string, name: string, options: VolumeOptions): Promise<string> {
    const path = this.#placeOf(name, options);
    this.#heldBy(path, taskId);
    await this.#inOrder(path, () => this.#mount(path, name, options));
    return path;
  }

  /**
   * Mounts a part of a volume for a task, anew for each of its containers: what was there may have been replaced.
   * @param target where it will be in the container. @returns where it is. @throws NOT_FOUND, COMMAND_FAILED
   */
  async holdPart(taskId: string, part: VolumePart, target: string): Promise<string> {
    const path = this.#partOf(taskId, target);
    this.#heldBy(path, taskId);
    await this.#inOrder(path, () => this.#mountPart(path, part));
    return path;
  }

  /** A task that runs already, from before this agent. */
  adopt(task: Task): void {
    for (const path of this.#placesOf(task)) this.#heldBy(path, task.id);
  }

  /** Unmounts what nobody needs any more now that the container of a task is gone. Never throws. */
  async release(taskId: string): Promise<void> {
    for (const [path, holders] of this.#holders) if (holders.delete(taskId)) await this.#inOrder(path, () => this.#unmountUnheld(path));
  }

  /** Unmounts what no task needs, whoever mounted it. @param tasks those of the node; @param isAlive whether one still has a place here */
  async sweep(tasks: readonly Task[], isAlive: (taskId: string) => boolean): Promise<void> {
    const used = new Set(tasks.flatMap((task) => this.#placesOf(task)));
    for (const holders of this.#holders.values()) for (const id of holders) if (!isAlive(id)) holders.delete(id);
    for (const entry of await readdir(this.#o.dir).catch(() => [])) {
      const path = join(this.#o.dir, entry);
      if (!used.has(path)) await this.#inOrder(path, () => this.#unmountUnheld(path));
    }
  }

  #placesOf({ id, container }: Task): string[] {
    return [
      ...container.mounts.filter(needsMount).map((mount) => this.#placeOf(mount.source, mount.volumeOptions)),
      ...container.mounts.filter((mount) => mount.subpath !== undefined).map((mount) => this.#partOf(id, mount.target)),
    ];
  }

  /** No name of a volume has two "@". */
  #partOf(taskId: string, target: string): string {
    return join(this.#o.dir, `part@${taskId}@${shortHash(target)}`);
  }

  #placeOf(name: string, options: VolumeOptions): string {
    const hash = createHash('sha256')
      .update(JSON.stringify([options.type, options.device, options.options]))
      .digest('hex');
    return join(this.#o.dir, `${checkName(name, 'volume', GLOBAL_NAME_PATTERN)}@${hash.slice(0, HASH_LENGTH)}`);
  }

  #heldBy(path: string, taskId: string): void {
    const holders = this.#holders.get(path) ?? new Set();
    this.#holders.set(path, holders.add(taskId));
  }

  async #inOrder(path: string, work: () => Promise<void>): Promise<void> {
    const next = (this.#busy.get(path) ?? Promise.resolve()).catch(() => undefined).then(work);
    this.#busy.set(path, next);
    try {
      await next;
    } finally {
      if (this.#busy.get(path) === next) this.#busy.delete(path);
    }
  }

  async #mount(path: string, name: string, options: VolumeOptions): Promise<void> {
    if (await isMounted(path)) return;
    const { nodeName, run, log } = this.#o;
    await mkdir(path, { recursive: true, mode: 0o755 });
    try {
      const address = isNfs(options) ? await this.#addressOf(serverOf(options) ?? '') : undefined;
      await run(mountArgv(options, path, address), { timeoutMs: MOUNT_TIMEOUT_MS });
    } catch (cause) {
      const why = cause instanceof WeftError ? (cause.why ?? cause.what) : messageOf(cause);
      throw new WeftError('UNAVAILABLE', {
        what: `volume ${name} cannot be mounted on node ${nodeName}: ${describeVolumeOptions(options)}`,
        why,
        hint: 'Correct driver_opts of the volume, or see to its server; it is tried again.',
        cause,
      });
    }
    log.info({ volume: name, options: describeVolumeOptions(options) }, 'mounted a volume');
  }

  /** What is open is mounted, by its handle: the path may lead elsewhere a moment later. */
  async #mountPart(path: string, { name, root, subpath }: VolumePart): Promise<void> {
    const { nodeName, run } = this.#o;
    await this.#unmount(path);
    const found = await withSpotBelow(root, subpath, async (spot) => {
      const entry = await openEntry(spot);
      if (!entry) return undefined;
      try {
        await mkdir(this.#o.dir, { recursive: true, mode: 0o700 });
        await (entry.isDirectory ? mkdir(path, { recursive: true }) : writeFile(path, ''));
        await run(['mount', '-c', '--bind', '--', entry.path, path], { timeoutMs: MOUNT_TIMEOUT_MS });
        return true;
      } finally {
        await entry.close();
      }
    });
    if (!found)
      throw new WeftError('NOT_FOUND', {
        what: `volume ${name} has no ${JSON.stringify(subpath)} in it on node ${nodeName}`,
        why: 'a subpath has to be there before it is mounted',
        hint: 'Make it in the volume first, or mount the whole volume.',
      });
  }

  async #addressOf(host: string): Promise<string> {
    if (isIpv4(host) || host.includes(':')) return host;
    return (this.#o.resolve ?? defaultResolve)(host);
  }

  async #unmountUnheld(path: string): Promise<void> {
    if ((this.#holders.get(path)?.size ?? 0) > 0) return;
    this.#holders.delete(path);
    try {
      await this.#unmount(path);
    } catch (error) {
      this.#o.log.warn({ path, error: messageOf(error) }, 'a volume could not be unmounted; it is tried again');
    }
  }

  async #unmount(path: string): Promise<void> {
    if (await isMounted(path)) await this.#detach(path);
    // Never recursive: should it still be mounted, nothing below may go.
    await rmdir(path).catch((error: unknown) => (errnoOf(error) === 'ENOTDIR' ? unlink(path).catch(() => undefined) : undefined));
  }

  /** A server that is away must not keep the node waiting, and what is written already gets there all the same. */
  async #detach(path: string): Promise<void> {
    try {
      // Lazily, and by umount(8) itself: umount.nfs would ask the server first, and live on when umount(8) is stopped.
      await this.#o.run(['umount', '-i', '-l', '--', path], { timeoutMs: MOUNT_TIMEOUT_MS });
    } catch (error) {
      // The kernel takes a mount away first, and then takes leave of the server (nfs4: delegations), which may be what was stopped.
      if (await isMounted(path)) throw error;
    }
  }
}

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, HASH_LENGTH);

const isMounted = async (path: string): Promise<boolean> => mountPoints(await readFile('/proc/self/mountinfo', 'utf8')).has(path);
