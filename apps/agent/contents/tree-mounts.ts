/**
 * Files and directories from beside a compose file, on the node: unpacked once for all tasks that mount the same content,
 * read-only; a seed is copied for each task, and is the task's own for as long as that lives.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Run } from '#linux/runner.js';
import { TREE_ROOT } from '#model/content.js';
import type { MountWish } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { Mount } from '#runtime/runtime.js';
import { isThere } from '../atomic-file.js';
import type { FetchContent } from './fetch-content.js';
import { unpackTree } from './unpack-tree.js';

/** What no task mounts is kept this long: a container may be on its way out, a task on its way in. */
const KEEP_MS = 10 * 60_000;
const COPY_TIMEOUT_MS = 5 * 60_000;
const ID_PATTERN = /^[0-9a-f]{64}$/;

export interface TreeMountsOptions {
  fetch: FetchContent;
  /** A directory for each content. */
  treesDir: string;
  /** Of a task's own copies. */
  seedsDir: (taskId: string) => string;
  run: Run;
  clock: Clock;
}

export class TreeMounts {
  readonly #o: TreeMountsOptions;
  readonly #unpacking = new Map<string, Promise<void>>();
  /** When a content was first seen without a task, monotonic milliseconds. */
  readonly #idleSince = new Map<string, number>();

  constructor(options: TreeMountsOptions) {
    this.#o = options;
  }

  /** @throws UNAVAILABLE, FORBIDDEN, CORRUPT, COMMAND_FAILED */
  async prepare(task: Task): Promise<Mount[]> {
    const mounts: Mount[] = [];
    for (const wish of task.container.mounts) {
      if (wish.type !== 'tree') continue;
      const source = await this.#unpacked(wish);
      const own = wish.seed ? await this.#copy(task.id, wish, source) : source;
      mounts.push({ type: 'bind', source: own, target: wish.target, readOnly: wish.readOnly || !wish.seed });
    }
    return mounts;
  }

  /** Takes away what none of `tasks` has mounted for a while. */
  async sweep(tasks: readonly Task[]): Promise<void> {
    const used = new Set(tasks.flatMap((task) => task.container.mounts.map((mount) => mount.contentId)));
    for (const id of await readdir(this.#o.treesDir).catch(() => [])) {
      if (used.has(id) || this.#unpacking.has(id)) this.#idleSince.delete(id);
      else await this.#sweepOne(id);
    }
  }

  async #sweepOne(id: string): Promise<void> {
    const now = this.#o.clock.monotonic();
    const since = this.#idleSince.get(id) ?? now;
    this.#idleSince.set(id, since);
    if (now - since < KEEP_MS) return;
    this.#idleSince.delete(id);
    await rm(join(this.#o.treesDir, id), { recursive: true, force: true });
  }

  /** Path of the tree; fetched and unpacked where it is not here yet, once however many tasks ask. */
  async #unpacked({ contentId = '', source }: MountWish): Promise<string> {
    if (!ID_PATTERN.test(contentId)) throw new WeftError('CORRUPT', `nothing says what is in ${source}`);
    const path = join(this.#o.treesDir, contentId);
    if (!(await isThere(path))) {
      let work = this.#unpacking.get(contentId);
      if (!work) {
        work = this.#unpack(contentId, path).finally(() => this.#unpacking.delete(contentId));
        this.#unpacking.set(contentId, work);
      }
      await work;
    }
    return join(path, TREE_ROOT);
  }

  /** Beside, then renamed: what is there is whole. */
  async #unpack(id: string, path: string): Promise<void> {
    await mkdir(this.#o.treesDir, { recursive: true, mode: 0o700 });
    const beside = await mkdtemp(join(this.#o.treesDir, 'new-'));
    try {
      await unpackTree(this.#o.fetch('tree', id), id, beside);
      await rename(beside, path);
    } catch (error) {
      await rm(beside, { recursive: true, force: true });
      throw error;
    }
  }

  /** Made once: a container that is made anew finds what the one before it wrote. */
  async #copy(taskId: string, { target, seed }: MountWish, source: string): Promise<string> {
    const dir = this.#o.seedsDir(taskId);
    const path = join(dir, createHash('sha256').update(target).digest('hex').slice(0, 16));
    if (await isThere(path)) return path;
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const beside = `${path}.new`;
    await rm(beside, { recursive: true, force: true });
    await this.#o.run(['cp', '-a', '--', source, beside], { timeoutMs: COPY_TIMEOUT_MS });
    const owner = `${seed?.uid ?? 0}:${seed?.gid ?? 0}`;
    if (owner !== '0:0') await this.#o.run(['chown', '-hR', owner, '--', beside], { timeoutMs: COPY_TIMEOUT_MS });
    await rename(beside, path);
    return path;
  }
}
