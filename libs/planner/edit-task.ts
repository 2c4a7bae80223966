/**
 * What changes in the record of a task that goes on running: ports, links, aliases, and the networks it is on. An endpoint
 * that is not wanted any more leaves names, virtual addresses and publications first; its wire goes when all nodes have taken it
 * out, and the drain time more is over.
 */
import { macOfIp } from '#base/address.js';
import { MOST_UNCONFIRMED_MS } from '#model/confirmation.js';
import type { Endpoint } from '#model/network.js';
import type { Attachment, Service } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { DEFAULT_DRAIN_MS } from './drain.js';
import { nameInterfaces } from './interface-names.js';
import { sameValue } from './spec-hash.js';
import type { WantedEndpoint } from './wanted-networks.js';

export interface TaskEdit {
  /** The task as it is. */
  task: Task;
  service: Service;
  /** Endpoints that stay, as they will be; those that still leave come last. */
  endpoints: Endpoint[];
  /** Endpoints that have left: their addresses are free. */
  gone: Endpoint[];
  /** Whether there is anything to write besides what comes. */
  isChanged: boolean;
  /** Networks to come. */
  come: WantedEndpoint[];
}

export interface EditResult {
  edit?: TaskEdit;
  /** Milliseconds from now: look again, an endpoint has left by then. */
  againMs?: number;
}

/** Between looks whether all nodes have taken it out, in milliseconds. */
const LOOK_AGAIN_MS = 100;

/**
 * @param isConfirmed whether every node has programmed a view of the task as its record is
 * @param now milliseconds since the epoch
 */
export function editOf(task: Task, service: Service, wanted: readonly WantedEndpoint[], isConfirmed: boolean, now: number): EditResult {
  const drainMs = service.drainMs ?? DEFAULT_DRAIN_MS;
  const fits = new Map(wanted.map((w) => [w.network.id, w]));
  const leaving: Endpoint[] = [];
  const gone: Endpoint[] = [];
  for (const e of task.endpoints) {
    const wish = fits.get(e.networkId);
    if (wish && hasAddresses(e, wish.attachment)) continue;
    const later = onItsWay(e, isConfirmed, now);
    if (drainEnd(later, drainMs) <= now) gone.push(e);
    else leaving.push(later);
  }
  const staying = wanted.flatMap((wish) => {
    const before = task.endpoints.find(
      (e) => e.networkId === wish.network.id && !leaving.some((l) => l.networkId === e.networkId) && !gone.includes(e),
    );
    return before ? [{ before, wanted: wish.attachment.interfaceName, endpoint: asWished(before, wish.attachment) }] : [];
  });
  const held = leaving.map((e) => e.interfaceName);
  const place = new Map(task.endpoints.map((e, i) => [e.networkId, i]));
  const named = nameInterfaces(staying, held).sort((a, b) => (place.get(a.networkId) ?? 0) - (place.get(b.networkId) ?? 0));
  const endpoints = [...named, ...leaving];
  // A name, and an address on a network, is free when whoever has it has left.
  const busy = new Set(leaving.map((e) => e.networkId));
  const come = wanted.filter(
    ({ network, attachment }) =>
      !busy.has(network.id) && !staying.some((s) => s.before.networkId === network.id) && !held.includes(attachment.interfaceName ?? ''),
  );
  const rest = { ports: service.ports, links: service.links };
  const isSame = sameValue(endpoints, task.endpoints) && sameValue(rest, { ports: task.ports, links: task.links });
  const againMs = leaving.length === 0 ? undefined : Math.min(...leaving.map((e) => Math.min(LOOK_AGAIN_MS, drainEnd(e, drainMs) - now)));
  return {
    ...(isSame && come.length === 0 ? {} : { edit: { task, service, endpoints, gone, isChanged: !isSame, come } }),
    ...(againMs === undefined ? {} : { againMs }),
  };
}

/** An endpoint that leaves, with what is known by now: since when it leaves, and since when nobody is led to it. */
function onItsWay(e: Endpoint, isConfirmed: boolean, now: number): Endpoint {
  const leavingSince = e.leavingSince ?? now;
  // Its record says for the first time that it leaves: no node can have heard of it.
  const isOut = e.leavingSince !== undefined && isConfirmed;
  const mostAt = leavingSince + MOST_UNCONFIRMED_MS;
  const outSince = e.outSince ?? (isOut ? Math.min(now, mostAt) : now >= mostAt ? mostAt : undefined);
  return withoutUndefined({ ...e, leavingSince, outSince });
}

/** When its wire may go (ms since the epoch); Infinity while nodes are waited for. */
const drainEnd = ({ outSince }: Endpoint, drainMs: number): number => (outSince === undefined ? Infinity : outSince + drainMs);

/** Whether an endpoint is as an attachment asks for, as far as addresses go. */
export const hasAddresses = (e: Endpoint, { ipv4, ipv6 }: Attachment): boolean =>
  (ipv4 === undefined || ipv4 === e.ipv4) && (ipv6 === undefined || ipv6 === e.ipv6);

/** The endpoint with what the attachment says of it; its addresses stay. */
export function asWished({ leavingSince: _, outSince: __, ...e }: Endpoint, a: Attachment): Endpoint {
  const { aliases, gwPriority, priority } = a;
  return withoutUndefined({ ...e, mac: a.mac ?? macOfIp(e.ipv4), aliases, gwPriority, priority });
}

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
