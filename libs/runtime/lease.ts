/** Leases keep half-made things (blobs without a manifest, snapshots without an image) from containerd's garbage collector. */
import { randomUUID } from 'node:crypto';
import type { ContainerdClient } from './client.js';
import { isAlreadyExists } from './client.js';
import { LeasesService } from './gen/services/leases/v1/leases.js';

/** A lease left behind by a crash ends by itself after this long. */
const LEASE_LIFE_MS = 24 * 3600 * 1000;

/** Runs `work` under a lease of its own, and gives the lease back however it ends. */
export async function withLease<T>(client: ContainerdClient, work: (lease: string) => Promise<T>): Promise<T> {
  const id = `weft-${randomUUID()}`;
  const expires = new Date(Date.now() + LEASE_LIFE_MS).toISOString();
  await client.call(LeasesService.create, { id, labels: { 'containerd.io/gc.expire': expires } });
  try {
    return await work(id);
  } finally {
    await client.call(LeasesService.delete, { id, sync: false }).catch(() => undefined);
  }
}

/** Adds what was there before the lease. `type` is `content` or `snapshots/<snapshotter>`. */
export async function addToLease(client: ContainerdClient, lease: string, type: string, id: string): Promise<void> {
  try {
    await client.call(LeasesService.addResource, { id: lease, resource: { id, type } });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
