/** What the agent tells the port proxy, and hears of it. One JSON object a line over the control socket. */
import { z } from 'zod';
import { portNumberSchema } from '#model/stack.js';
import { ipSchema } from '#model/addresses.js';

/** A published port that the proxy holds open, and the tasks behind it. */
export const doorSchema = z.object({
  /** For the answer. */
  key: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  port: portNumberSchema,
  /** On this address only; on all if left out. */
  address: ipSchema.optional(),
  backends: z.array(z.object({ address: ipSchema, port: portNumberSchema })),
});
export const doorsSchema = z.array(doorSchema);

/** Keys of doors that somebody else on this host has. */
export const heldSchema = z.array(z.string());

export type Door = z.infer<typeof doorSchema>;
export type Backend = Door['backends'][number];

/** As /proc/<pid>/comm: the facts of a node tell by it that a listening port is held for Weft. */
export { PORT_PROXY_PROCESS } from '#linux/listening-ports.js';
