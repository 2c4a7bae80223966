/**
 * Names of a task's interfaces. They are chosen once and kept, so that a network that comes or goes renames no other; only when
 * the file changes the order (`priority`) are they given out anew.
 */
import type { Endpoint } from '#model/network.js';

/** An endpoint as it is wished, in the order of interfaces. */
export interface NamedWish {
  endpoint: Endpoint;
  /** `interface_name`. */
  wanted?: string;
  /** The endpoint as it is. */
  before?: Endpoint;
}

const AUTOMATIC = /^eth[0-9]{1,3}$/;

/** @param held names of endpoints that are still leaving */
export function nameInterfaces(wishes: readonly NamedWish[], held: readonly (string | undefined)[] = []): Endpoint[] {
  const anew = wishes.some(
    ({ before, endpoint }) => before && (before.interfaceName === undefined || (before.priority ?? 0) !== (endpoint.priority ?? 0)),
  );
  const kept = wishes.map(
    ({ wanted, before }) => wanted ?? (anew || !AUTOMATIC.test(before?.interfaceName ?? '') ? undefined : before?.interfaceName),
  );
  const taken = new Set([...wishes.map((w) => w.wanted), ...kept, ...held]);
  let next = 0;
  return wishes.map(({ endpoint }, i) => {
    const name = kept[i];
    if (name !== undefined) return { ...endpoint, interfaceName: name };
    while (taken.has(`eth${next}`)) next++;
    return { ...endpoint, interfaceName: `eth${next++}` };
  });
}
