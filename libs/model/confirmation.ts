/**
 * How far nodes have got: for each, the etcd revision up to which its kernel is as its view says. Kept by the controller that
 * holds their streams, and written only while somebody waits for it (a task that drains).
 */
import { z } from 'zod';

/** So long, in milliseconds, a node that is heard and does not say so is waited for: then what leaves goes all the same. */
export const MOST_UNCONFIRMED_MS = 10_000;

export const confirmationSchema = z.object({
  /** Index of a node → etcd revision. */
  nodes: z.record(z.string().regex(/^[1-9][0-9]{0,8}$/), z.number().int().positive()),
});

export type Confirmation = z.infer<typeof confirmationSchema>;
