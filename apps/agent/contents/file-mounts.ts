/**
 * Configs and secrets of a task, as files that are mounted into its container. A config is kept with the task's other files;
 * a secret in memory only, below a directory that is closed to everybody but root, and no longer than its container.
 * What is there is not fetched again: a container is made anew without any controller.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { MAX_FILE_BYTES } from '#model/content.js';
import type { FileMount } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { Mount } from '#runtime/runtime.js';
import { isThere } from '../atomic-file.js';
import type { FetchContent } from './fetch-content.js';

const DEFAULT_MODE = 0o444;

export interface FileMountsOptions {
  fetch: FetchContent;
  /** Directory of a task's configs. */
  configsDir: (taskId: string) => string;
  /** Below it a directory for each task with secrets. */
  secretsDir: string;
  /** Makes `secretsDir`, in memory. */
  openSecrets: (path: string) => Promise<void>;
}

export class FileMounts {
  readonly #o: FileMountsOptions;
  #opened: Promise<void> | undefined;

  constructor(options: FileMountsOptions) {
    this.#o = options;
  }

  /** Fetches what is missing. @throws UNAVAILABLE, FORBIDDEN, CORRUPT, COMMAND_FAILED */
  async prepare(task: Task): Promise<Mount[]> {
    const { files = [] } = task.container;
    if (files.some((file) => file.kind === 'secret')) await this.#open();
    const mounts: Mount[] = [];
    for (const file of files) mounts.push({ type: 'bind', source: await this.#ensure(task.id, file), target: file.target, readOnly: true });
    return mounts;
  }

  /** Takes the secrets of a task away, once its container is gone. */
  async forget(taskId: string): Promise<void> {
    await rm(join(this.#o.secretsDir, taskId), { recursive: true, force: true });
  }

  /** Takes away the secrets of tasks that are not here any more. */
  async sweep(isAlive: (taskId: string) => boolean): Promise<void> {
    const ids = await readdir(this.#o.secretsDir).catch(() => []);
    for (const id of ids) if (!isAlive(id)) await this.forget(id);
  }

  /** One mount, however many tasks begin at once; a failure is tried again with the next. */
  #open(): Promise<void> {
    this.#opened ??= this.#o.openSecrets(this.#o.secretsDir).catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  async #ensure(taskId: string, file: FileMount): Promise<string> {
    const { kind, contentId, target } = file;
    if (contentId === undefined) throw new WeftError('CORRUPT', `nothing says what is in the ${kind} ${file.source}`);
    const dir = kind === 'secret' ? join(this.#o.secretsDir, taskId) : this.#o.configsDir(taskId);
    const path = join(dir, createHash('sha256').update(target).digest('hex').slice(0, 16));
    if (await isThere(path)) return path;
    const bytes = await gather(this.#o.fetch(kind, contentId), kind);
    if (kind === 'config' && createHash('sha256').update(bytes).digest('hex') !== contentId)
      throw new WeftError('CORRUPT', `the config ${file.source} came from the controller, but is not what it should be`);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeWhole(path, bytes, file);
    return path;
  }
}

async function gather(pieces: AsyncIterable<Uint8Array>, kind: string): Promise<Buffer> {
  const all: Uint8Array[] = [];
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > MAX_FILE_BYTES) throw new WeftError('CORRUPT', `a ${kind} from the controller is larger than any can be`);
    all.push(piece);
  }
  return Buffer.concat(all);
}

/** The owner before the mode: chown(2) takes set-user-ID bits away. */
async function writeWhole(path: string, bytes: Buffer, { uid = 0, gid = 0, mode = DEFAULT_MODE }: FileMount): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.chown(uid, gid);
    await file.chmod(mode);
  } finally {
    await file.close();
  }
  await rename(beside, path);
}
