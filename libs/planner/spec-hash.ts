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

/** Whether two values are the same as JSON: a member that is undefined is none. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b))
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  return sameMembers(a as Record<string, unknown>, b as Record<string, unknown>);
}

function sameMembers(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  let left = 0;
  for (const key in a) {
    if (a[key] === undefined) continue;
    if (!sameValue(a[key], b[key])) return false;
    left++;
  }
  for (const key in b) if (b[key] !== undefined) left--;
  return left === 0;
}

/**
 * Container, restart policy, where it may be and what it reserves, whose network it lives in, and whether it stops on partition; not the number of replicas. Not ports, aliases and networks
 * either: the leader edits those in the task's record, and no container need be made anew for them. What it depends on with
 * `restart: true` is a part, too: it is made anew when that is.
 * @param others the services of its stack
 * @param restarts how often commands restarted them
 */
export function specHash(service: Service, others: Readonly<Record<string, Service>> = NONE, restarts: Counts = NONE): string {
  const known = hashes.get(service);
  if (known?.others === others && known.restarts === restarts) return known.hash;
  const { along = 0, alone = 0 } = restarts[service.name] ?? {};
  const hash = hashOf(service, others, restarts, along + alone);
  hashes.set(service, { others, restarts, hash });
  return hash;
}

type Counts = Readonly<Record<string, Pick<Restarts, 'along' | 'alone'>>>;

const NONE: Readonly<Record<string, never>> = {};

/** Values are never changed, so what was made of one once holds for ever. */
const hashes = new WeakMap<Service, { others: Readonly<Record<string, Service>>; restarts: Counts; hash: string }>();

function hashOf(service: Service, others: Readonly<Record<string, Service>>, restarts: Counts, restarted: number): string {
  const { container, networkMode, restart, placement, reservations, onPartition } = service;
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
    onPartition,
    job,
    ...(restarted > 0 ? { restarted } : {}),
    ...(along.length > 0 ? { along: Object.fromEntries(along) as unknown } : {}),
  });
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
