/** What a task is made from, as one short text: a task whose hash differs from its service's is replaced. */
import { createHash } from 'node:crypto';
import type { Restarts, Service } from '#model/stack.js';

/** JSON with the keys of every object in order, so that equal values give equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

export const sameValue = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

/**
 * Container, restart policy, where it may be and what it reserves, and whose network it lives in; not the number of replicas. Not ports, aliases and networks
 * either: the leader edits those in the task's record, and no container need be made anew for them. What it depends on with
 * `restart: true` is a part, too: it is made anew when that is.
 * @param others the services of its stack
 * @param restarts how often commands restarted them
 */
export function specHash(
  service: Service,
  others: Readonly<Record<string, Service>> = {},
  restarts: Readonly<Record<string, Pick<Restarts, 'along' | 'alone'>>> = {},
): string {
  const { along = 0, alone = 0 } = restarts[service.name] ?? {};
  return hashOf(service, others, restarts, along + alone);
}

function hashOf(
  service: Service,
  others: Readonly<Record<string, Service>>,
  restarts: Readonly<Record<string, Pick<Restarts, 'along' | 'alone'>>>,
  restarted: number,
): string {
  const { container, networkMode, restart, placement, reservations } = service;
  const along = Object.entries(service.dependsOn ?? {}).flatMap(([name, { restart: isRestarted }]) => {
    const other = others[name];
    // What another went through alone is not taken part in.
    return isRestarted && other ? [[name, hashOf(other, others, restarts, restarts[name]?.along ?? 0)]] : [];
  });
  const job = service.mode?.endsWith('-job') ? service.mode : undefined;
  const text = canonical({
    container,
    restart,
    networkMode,
    placement,
    reservations,
    job,
    ...(restarted > 0 ? { restarted } : {}),
    ...(along.length > 0 ? { along: Object.fromEntries(along) as unknown } : {}),
  });
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
