/** What a task is called. */
import { createHash } from 'node:crypto';
import type { Service } from '#model/stack.js';

/** A label of DNS and a host name on Linux have at most 63 characters. */
const MAX_NAME = 63;

/** What its service names it (`container_name`), as long as it has one task only; else `<stack>-<service>-<slot>`. */
export const taskName = (stack: string, { name, container }: Pick<Service, 'name' | 'container'>, slot: number): string =>
  (slot === 1 ? container.containerName : undefined) ?? madeName(stack, name, slot);

/** `<stack>-<service>-<slot>`; where that is too long for a host name, cut and told apart by a hash. */
function madeName(stack: string, service: string, slot: number): string {
  const name = `${stack}-${service}-${slot}`;
  if (name.length <= MAX_NAME) return name;
  const tail = `-${createHash('sha256').update(name).digest('hex').slice(0, 8)}-${slot}`;
  return name.slice(0, MAX_NAME - tail.length) + tail;
}
