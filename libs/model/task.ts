/**
 * A task: one placed instance of a service in a slot. Who writes what:
 * the leader writes the task (immutable but for `desired`, `stopReason`, `orphan`, `drainMs`, `ports` and `endpoints`); the agent of its node writes the status,
 * through the controller that holds its stream.
 */
import { z } from 'zod';
import { idSchema, hostnameSchema, nameSchema, serviceNameSchema } from './names.js';
import { endpointSchema } from './network.js';
import { containerWishSchema, limitsSchema, linkSchema, networkModeSchema, portSchema, restartPolicySchema } from './stack.js';

export const taskSchema = z.object({
  id: idSchema,
  stack: nameSchema,
  service: serviceNameSchema,
  /** 1 … replicas. */
  slot: z.number().int().positive(),
  nodeId: idSchema,
  /** `<stack>-<service>-<slot>`, as Compose names containers. */
  name: hostnameSchema,
  /** Hash of what the task was made from; another hash in the service means: replace. */
  specHash: z.string(),
  container: containerWishSchema,
  ports: z.array(portSchema).default([]),
  endpoints: z.array(endpointSchema).default([]),
  networkMode: networkModeSchema.optional(),
  /** Id of the task whose namespace it lives in: modes `service` and `container`. On the same node. */
  shares: idSchema.optional(),
  links: z.array(linkSchema).optional(),
  restart: restartPolicySchema.optional(),
  /** Its process begins once somebody is attached to it. */
  awaitsCaller: z.literal(true).optional(),
  /** What is reserved for it on its node. */
  reservations: limitsSchema.omit({ pids: true }).optional(),
  onPartition: z.enum(['keep', 'stop']).optional(),
  /** `stop`: the node stops and removes it, reports `stopped`, then the leader deletes the record. */
  desired: z.enum(['run', 'stop']).default('run'),
  stopReason: z.string().optional(),
  /** Its node was declared dead and another task has its slot: kept until the node confirms that it is gone, or is removed. */
  orphan: z.literal(true).optional(),
  /** With `stop`: milliseconds before the signal, in which what it began goes on and nothing new reaches it. */
  drainMs: z.number().int().min(0).optional(),
  /** In views only: every node has taken the draining task out. */
  drained: z.literal(true).optional(),
  /** With `stop`: milliseconds between the stop signal and SIGKILL, instead of the container's. */
  stopGraceMs: z.number().int().min(0).optional(),
  createdAt: z.number(),
});

/**
 * pending → preparing (image, network) → starting → running ⇄ restarting; failed (cannot be made as declared: the agent
 * tries again with backoff); complete (ended, and its restart policy says: not again); stopped (gone, because it was told to).
 */
export const taskStateSchema = z.enum(['pending', 'preparing', 'starting', 'running', 'restarting', 'failed', 'complete', 'stopped']);

export const taskStatusSchema = z.object({
  taskId: idSchema,
  nodeId: idSchema,
  state: taskStateSchema,
  /** Of a task with a health check, while it runs. */
  health: z.enum(['starting', 'healthy', 'unhealthy']).optional(),
  /** What a person should know about the state: an error, a reason to wait. */
  message: z.string().default(''),
  /** Times the container was started again after it ended. */
  restarts: z.number().int().min(0).default(0),
  /** Of these, those that somebody asked for. */
  restartsAsked: z.number().int().min(0).optional(),
  /** Of the last run that ended. */
  exitCode: z.number().int().optional(),
  /** Milliseconds since the epoch. */
  startedAt: z.number().optional(),
  /** When the agent tries again, ms since the epoch. `failed` without it: not again. */
  nextTryAt: z.number().optional(),
  at: z.number(),
});

/** Message of a task that a command restarts, while it drains and until it runs again. */
export const RESTARTED_BY_COMMAND = 'draining: restarted by command';

/**
 * What is remembered of a task that is gone: the history of its slot. Written by the leader as it deletes the task; a few
 * of each slot are kept.
 */
export const endedTaskSchema = z.object({
  taskId: idSchema,
  stack: nameSchema,
  service: serviceNameSchema,
  slot: z.number().int().positive(),
  name: hostnameSchema,
  nodeId: idSchema,
  nodeName: z.string(),
  image: z.string(),
  specHash: z.string(),
  /** Last known of it. */
  state: taskStateSchema,
  message: z.string().default(''),
  restarts: z.number().int().min(0).default(0),
  exitCode: z.number().int().optional(),
  /** Why it went. */
  reason: z.string(),
  /** Tasks of the slot in a row, up to this one, that were replaced because they were unhealthy. */
  unhealthyInARow: z.number().int().min(0).default(0),
  createdAt: z.number(),
  startedAt: z.number().optional(),
  endedAt: z.number(),
});

/** The recorded reason why a task left a node. A snapshot that lacks a known task and its tombstone is not believed. */
export const tombstoneSchema = z.object({ taskId: idSchema, nodeId: idSchema, reason: z.string(), at: z.number() });

/** Whether the agent makes a network namespace for the task. If not, it lives in the node's, or in that of the task it shares. */
export const ownsNamespace = ({ networkMode }: Pick<Task, 'networkMode'>): boolean =>
  !['host', 'service', 'container'].includes(networkMode?.kind ?? 'networks');

/** Id of the task in whose namespace it lives, its own as a rule; undefined for the node's. */
export const namespaceOwner = ({ id, networkMode, shares }: Pick<Task, 'id' | 'networkMode' | 'shares'>): string | undefined =>
  networkMode?.kind === 'host' ? undefined : (shares ?? id);

export type Task = z.infer<typeof taskSchema>;
export type TaskState = z.infer<typeof taskStateSchema>;
export type TaskStatus = z.infer<typeof taskStatusSchema>;
export type EndedTask = z.infer<typeof endedTaskSchema>;
export type Tombstone = z.infer<typeof tombstoneSchema>;
