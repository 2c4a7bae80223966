/**
 * What happened in the cluster, for people: `ctl events`. Seen by every controller in what etcd tells it, written down by the leader,
 * in chunks, of which the newest are kept.
 */
import { z } from 'zod';

export const eventSchema = z.object({
  /** Place in the order of events, from 1. */
  sequence: z.number().int().positive(),
  /** etcd revision that it was seen in. */
  revision: z.number().int().min(0),
  /** Milliseconds since the epoch, by the controller's clock. */
  at: z.number(),
  kind: z.enum(['task', 'node', 'service', 'stack', 'repair']),
  /**
   * task: create, reschedule, start, restart, die, fail, complete, health, stop, destroy. node: join, ready, down, active, pause, drain, remove.
   * service: updating, updated, paused, rolled-back, waiting, waited.
   */
  action: z.string(),
  stack: z.string().default(''),
  service: z.string().default(''),
  /** Of the task, node, service or stack. */
  name: z.string(),
  id: z.string().default(''),
  /** Name of the node that it is about. */
  node: z.string().default(''),
  /** Why, or what more there is to know. */
  message: z.string().default(''),
  exitCode: z.number().int().optional(),
});

export const eventChunkSchema = z.object({ events: z.array(eventSchema) });

/** Events of one chunk. */
export const EVENTS_PER_CHUNK = 100;
/** Chunks that are kept: 1,000 events at least. */
export const EVENT_CHUNKS = 11;

export type Event = z.infer<typeof eventSchema>;
export type EventChunk = z.infer<typeof eventChunkSchema>;
