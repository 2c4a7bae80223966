/**
 * A named volume as the cluster knows it: above all, which node has its data. Written by the leader when the first task that
 * mounts it is placed, and by the API (`ctl volume create`); deleted by the API alone (`ctl volume rm`). Global services have a
 * volume of that name on every node, and no record of it.
 */
import { z } from 'zod';
import { globalNameSchema, idSchema } from './names.js';
import { labelsSchema } from './labels.js';
import { volumeOptionsSchema } from './volume-options.js';

export const volumeRecordSchema = z.object({
  name: globalNameSchema,
  /** '' for one of no stack. */
  stack: z.string(),
  /** None until a task that mounts it was placed; never one of a volume that is the same on every node (nfs). */
  nodeId: idSchema.optional(),
  /** What it is a mount of; a directory of its node if left out. Never changed. */
  options: volumeOptionsSchema.optional(),
  labels: labelsSchema.default({}),
  createdAt: z.number(),
});

export type VolumeRecord = z.infer<typeof volumeRecordSchema>;
