/** /etc/passwd and /etc/group of an image (by a mount of its snapshot, once) and of a running container (through its root). */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ContainerdClient } from './client.js';
import { isNotFound } from './client.js';
import { SnapshotsService } from './gen/services/snapshots/v1/snapshots.js';
import { withLease } from './lease.js';
import { readFileBelow } from './rootfs-files.js';
import { cleanMounts, withMounted } from './temp-mount.js';

export interface UserFiles {
  passwd: string;
  group: string;
}

const MAX_KNOWN = 128;

export class ImageUserFiles {
  readonly #client: ContainerdClient;
  readonly #snapshotter: string;
  readonly #directory: string;
  readonly #known = new Map<string, Promise<UserFiles>>();

  constructor(client: ContainerdClient, snapshotter: string, stateDir: string) {
    this.#client = client;
    this.#snapshotter = snapshotter;
    this.#directory = join(stateDir, 'views');
  }

  /** Clears what a crash may have left. */
  async clean(): Promise<void> {
    await cleanMounts(this.#directory);
  }

  /** Files of the image with this top layer; empty text for those it does not have. @throws RUNTIME */
  read(chainId: string): Promise<UserFiles> {
    if (chainId === '') return Promise.resolve({ passwd: '', group: '' });
    const known = this.#known.get(chainId);
    if (known) return known;
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    const reading = this.#look(chainId);
    this.#known.set(chainId, reading);
    reading.catch(() => this.#known.delete(chainId));
    return reading;
  }

  /** The view lives under a lease, so that one left by a crash is collected. */
  #look(chainId: string): Promise<UserFiles> {
    const snapshotter = this.#snapshotter;
    return withLease(this.#client, async (lease) => {
      const key = `weft-view-${randomUUID()}`;
      const { mounts } = await this.#client.call(SnapshotsService.view, { snapshotter, key, parent: chainId, labels: {} }, { lease });
      try {
        return await withMounted(this.#directory, mounts, userFilesBelow);
      } finally {
        await this.#client.call(SnapshotsService.remove, { snapshotter, key }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
      }
    });
  }
}

/** Of a directory that is a root file system: a mounted image, or /proc/<pid>/root. */
export async function userFilesBelow(root: string): Promise<UserFiles> {
  const [passwd, group] = await Promise.all([readFileBelow(root, '/etc/passwd'), readFileBelow(root, '/etc/group')]);
  return { passwd: passwd ?? '', group: group ?? '' };
}
