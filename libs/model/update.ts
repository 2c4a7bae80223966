/**
 * How far the update of a service is. Written by the leader, so that the next one goes on where it stopped; `ctl up` takes
 * away what ended (paused, rolled back), and with that begins again. An update that ended well leaves no record.
 */
import { z } from 'zod';
import { idSchema, nameSchema, serviceNameSchema } from './names.js';

export const updateRecordSchema = z.object({
  stack: nameSchema,
  service: serviceNameSchema,
  /** What the tasks shall be made from: `specHash` of a task. */
  target: z.string(),
  /** updating → paused | (nothing: done) | rolling-back → rolled-back | paused. */
  state: z.enum(['updating', 'paused', 'rolling-back', 'rolled-back']),
  /** Nothing of the service changed: its tasks move to other nodes (`ctl rebalance`). There is nothing to roll back to. */
  moves: z.literal(true).optional(),
  /** `ctl rollback` asked for it: the `rollback_config` says how it goes. */
  byCommand: z.literal(true).optional(),
  /** Why it was paused or rolled back. */
  message: z.string().default(''),
  startedAt: z.number(),
  /** New tasks that failed while they were watched. */
  failed: z.array(idSchema).default([]),
  /** New tasks that were up for as long as they are watched. */
  passed: z.array(idSchema).default([]),
});

export type UpdateRecord = z.infer<typeof updateRecordSchema>;
