/**
 * Layers into snapshots: prepare on the parent, apply the layer's tar, check that it was the one that the config names, commit under its
 * chain id (OCI image specification, "Layer ChainID"), so that images share what they have in common.
 */
import { createHash, randomUUID } from 'node:crypto';
import { WeftError } from '#base/errors.js';
import type { ContainerdClient } from './client.js';
import { isAlreadyExists, isNotFound, orUndefined, statusOf } from './client.js';
import { labelBlob } from './content.js';
import { DiffService } from './gen/services/diff/v1/diff.js';
import { SnapshotsService } from './gen/services/snapshots/v1/snapshots.js';
import type { Mount } from './gen/types/mount.js';
import type { Descriptor } from './image-config.js';
import { addToLease } from './lease.js';

/** Gigabytes on a slow disk. */
const APPLY_DEADLINE_MS = 15 * 60_000;
const UNCOMPRESSED_LABEL = 'containerd.io/uncompressed';

/** Chain ids of each prefix of the layers, lowest first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chains: string[] = [];
  for (const diffId of diffIds) {
    const parent = chains.at(-1);
    chains.push(parent ? `sha256:${createHash('sha256').update(`${parent} ${diffId}`).digest('hex')}` : diffId);
  }
  return chains;
}

/** The chain id of the whole: the parent of containers' snapshots. Empty for an image without layers. */
export const topChainId = (diffIds: readonly string[]): string => chainIds(diffIds).at(-1) ?? '';

export async function hasSnapshot(client: ContainerdClient, snapshotter: string, key: string): Promise<boolean> {
  return (await orUndefined(client.call(SnapshotsService.stat, { snapshotter, key }))) !== undefined;
}

/** Unpacks the layers that are not unpacked yet. @throws IMAGE_INVALID if a layer is not what the config says, RUNTIME */
export async function unpackLayers(
  client: ContainerdClient,
  snapshotter: string,
  lease: string,
  layers: readonly Descriptor[],
  diffIds: readonly string[],
): Promise<void> {
  if (layers.length !== diffIds.length) {
    throw new WeftError('IMAGE_INVALID', {
      what: 'the image is inconsistent',
      why: `its manifest has ${layers.length} layers, its config ${diffIds.length}`,
    });
  }
  const chains = chainIds(diffIds);
  for (const [i, layer] of layers.entries()) {
    const chain = chains[i] as string;
    // Kept first, looked for then: the other way round, the garbage collector could take it in between.
    await addToLease(client, lease, `snapshots/${snapshotter}`, chain);
    if (!(await hasSnapshot(client, snapshotter, chain))) {
      await unpackLayer(client, { snapshotter, lease, layer, diffId: diffIds[i] as string, parent: chains[i - 1] ?? '', chain });
    }
  }
}

interface LayerStep {
  snapshotter: string;
  lease: string;
  layer: Descriptor;
  diffId: string;
  parent: string;
  chain: string;
}

async function unpackLayer(client: ContainerdClient, step: LayerStep): Promise<void> {
  const { snapshotter, lease, parent, chain } = step;
  const key = `weft-unpack-${randomUUID()}`;
  const { mounts } = await client.call(SnapshotsService.prepare, { snapshotter, key, parent, labels: {} }, { lease });
  try {
    await applyLayer(client, step, mounts);
    await client.call(SnapshotsService.commit, { snapshotter, name: chain, key, labels: {} }, { lease, deadlineMs: 60_000 });
  } catch (error) {
    await client.call(SnapshotsService.remove, { snapshotter, key }).catch(() => undefined);
    // Someone else unpacked the same layer in the meantime.
    if (!isAlreadyExists(error)) throw error;
  }
}

async function applyLayer(client: ContainerdClient, { layer, diffId, lease }: LayerStep, mounts: Mount[]): Promise<void> {
  const diff = { mediaType: layer.mediaType, digest: layer.digest, size: layer.size, annotations: {} };
  const { applied } = await client
    .call(DiffService.apply, { diff, mounts }, { lease, deadlineMs: APPLY_DEADLINE_MS })
    .catch((cause: unknown) => {
      if (isNotFound(cause)) throw new WeftError('IMAGE_INVALID', { what: `the layer ${layer.digest} is missing`, cause });
      // Anything but "containerd does not answer" is about what is in the layer: not a tar, a broken gzip, an unknown type.
      if (cause instanceof WeftError && statusOf(cause) !== undefined && ![4, 14].includes(statusOf(cause) as number)) {
        throw new WeftError('IMAGE_INVALID', { what: `the layer ${layer.digest} cannot be unpacked`, why: cause.why, cause });
      }
      throw cause;
    });
  if (applied?.digest !== diffId) {
    throw new WeftError('IMAGE_INVALID', {
      what: `the layer ${layer.digest} is not the one that the image's config names`,
      why: `it unpacks to ${applied?.digest}`,
    });
  }
  await labelBlob(client, layer.digest, { [UNCOMPRESSED_LABEL]: diffId });
}
