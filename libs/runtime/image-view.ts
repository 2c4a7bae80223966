/** A look into an image: its snapshot mounted read-only for a moment. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { ContainerdClient } from './client.js';
import { isNotFound } from './client.js';
import { SnapshotsService } from './gen/services/snapshots/v1/snapshots.js';
import { withLease } from './lease.js';
import { cleanMounts, withMounted } from './temp-mount.js';

export class ImageView {
  readonly #client: ContainerdClient;
  readonly #snapshotter: string;
  readonly #directory: string;

  constructor(client: ContainerdClient, snapshotter: string, stateDir: string) {
    this.#client = client;
    this.#snapshotter = snapshotter;
    this.#directory = join(stateDir, 'views');
  }

  /** Clears what a crash may have left mounted. */
  async clean(): Promise<void> {
    await cleanMounts(this.#directory);
  }

  /** Runs `look` with the root of the image that has this top layer. The view is under a lease, so that one left by a crash is collected. @throws RUNTIME */
  with<T>(chainId: string, look: (root: string) => Promise<T>): Promise<T> {
    const snapshotter = this.#snapshotter;
    return withLease(this.#client, async (lease) => {
      const key = `weft-view-${randomUUID()}`;
      const { mounts } = await this.#client.call(SnapshotsService.view, { snapshotter, key, parent: chainId, labels: {} }, { lease });
      try {
        return await withMounted(this.#directory, mounts, look);
      } finally {
        await this.#client.call(SnapshotsService.remove, { snapshotter, key }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
      }
    });
  }
}
