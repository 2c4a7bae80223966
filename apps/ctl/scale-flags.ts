/** How many tasks services shall have, as flags and arguments say it. Pure. */
import { WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';

/** `web=3`. @throws USAGE */
export function readScale(pairs: readonly string[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const pair of pairs) {
    const [, service, number] = /^([^=]+)=(\d{1,9})$/.exec(pair) ?? [];
    if (service === undefined || number === undefined)
      throw new WeftError('USAGE', {
        what: `${JSON.stringify(pair.slice(0, 64))} does not say how many of what`,
        hint: 'Write SERVICE=NUMBER, such as web=3.',
      });
    if (out[service] !== undefined) throw new WeftError('USAGE', `${service} is given twice`);
    out[service] = Number(number);
  }
  return out;
}

/** The stack with these numbers in place of the file's. @throws NOT_FOUND, BAD_VALUE */
export function withScale(stack: Stack, replicas: Readonly<Record<string, number>>): Stack {
  const services = { ...stack.services };
  for (const [name, wanted] of Object.entries(replicas)) {
    const service = services[name];
    if (!service)
      throw new WeftError('NOT_FOUND', {
        what: `there is no service ${name} to scale`,
        why: `the file has ${Object.keys(services).join(', ')}`,
      });
    if (service.mode?.startsWith('global'))
      throw new WeftError('BAD_VALUE', {
        what: `service ${name} cannot be scaled`,
        why: 'it is global: it has one task on every node that fits',
      });
    services[name] = { ...service, replicas: wanted };
  }
  return { ...stack, services };
}
