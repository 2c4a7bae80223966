/** Which node a new task goes to, or why none can take it. */
import type { Node } from '#model/node.js';
import type { Task } from '#model/task.js';
import type { Draft } from './attach.js';
import { isChildDriver } from './child-drivers.js';
import { serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { isBoundToNode } from './dead-nodes.js';
import { demandsOf, fullness, mismatchOf, preferred, refusalFor, sift } from './node-filters.js';
import { fitting } from './node-fits.js';
import type { SlotWish } from './reconcile-services.js';
import { refusalOf } from './schedule.js';
import { nodeOfSlot } from './service-slots.js';
import { crowding, misfit } from './moves.js';
import { isGlobal } from '#model/service-mode.js';
import type { SharedNamespace } from './shared-namespace.js';
import { returnsTo } from './stopped-services.js';
import { volumesOf } from './volumes.js';

/** A service that no node can take is refused for all its slots at once: within a plan nodes get fuller. */
export function placeFor(draft: Draft, wish: SlotWish, shared: SharedNamespace | undefined): Node | string {
  const sent = shared ? undefined : sentTo(draft, wish);
  if (sent) return sent;
  const service = serviceKey(wish.stack, wish.service.name);
  const known = wish.replaces || wish.beside || isGlobal(wish.service) || shared ? undefined : draft.refused.get(service);
  if (known !== undefined) return known;
  const quick = isPlain(wish, shared) ? quickPlace(draft, wish) : undefined;
  if (quick) return quick;
  const able = placesFor(draft, wish, shared);
  const node = typeof able === 'string' ? able : chooseNode(draft, wish, able);
  if (typeof node === 'string') draft.refused.set(service, node);
  return node;
}

/** Where a command sent the task before it (moves.ts), if that node still takes it. */
function sentTo(draft: Draft, wish: SlotWish): Node | undefined {
  const { state } = draft;
  const before = wish.replaces ?? wish.beside;
  const node = state.nodes.get(state.moves.get(before?.id ?? '') ?? '');
  if (!node || isGlobal(wish.service) || homeOf(draft, wish) !== undefined || refusalOf(state, node) !== undefined) return undefined;
  return (misfit(state, node, wish) ?? crowding(draft, node, wish, before?.id)) === undefined ? node : undefined;
}

/** Nothing binds it to a node or a group of nodes: the one with the fewest tasks of those that fit is the right one. */
const isPlain = ({ service, replaces, beside, endpoints }: SlotWish, shared: SharedNamespace | undefined): boolean =>
  shared === undefined &&
  !isGlobal(service) &&
  (service.networkMode?.kind ?? 'networks') === 'networks' &&
  !((replaces ?? beside) && isBoundToNode(service)) &&
  (service.placement?.spread ?? []).length === 0 &&
  service.ports.every((p) => p.mode !== 'host') &&
  volumesOf({ container: service.container }).length === 0 &&
  service.placedWith === undefined &&
  !endpoints.some(({ network }) => isChildDriver(network));

const wantingOf = ({ stack, service }: SlotWish) => ({ stack, service: service.name, digest: service.container.imageDigest });

const quickPlace = ({ state, spread }: Draft, wish: SlotWish): Node | undefined =>
  spread.best(
    { ...wantingOf(wish), kind: demandsOf(wish.service) },
    (node) => mismatchOf(state, node, wish.service) === undefined,
    (node) => fullness(state, spread, node, wish) === undefined,
  );

/** The nodes that may have it: of a global service one; the node of whom it shares with, or is linked to by a node's own bridge. */
function placesFor(draft: Draft, wish: SlotWish, shared: SharedNamespace | undefined): readonly Node[] | string {
  const { state } = draft;
  const waited = linkAwaited(state, wish);
  if (waited !== undefined) return `it waits for service ${waited}, to be on its node: a link on the default bridge ends there`;
  const partner = partnerOf(state, wish);
  if (typeof partner === 'string') return partner;
  const only = isGlobal(wish.service) ? nodeOfSlot(state, wish.slot)?.id : (shared?.nodeId ?? partner?.nodeId ?? linkedNode(state, wish));
  const nodes = only === undefined ? state.nodes.values() : [state.nodes.get(only)].filter((n) => n !== undefined);
  const { able, explanation } = sift(nodes, (node) => refusalFor(state, draft.spread, node, wish));
  if (able.length > 0) return fitting(state, able, wish.endpoints);
  if (homeOf(draft, wish)) return able;
  const one = only === undefined ? undefined : state.nodes.get(only);
  if (one) return `it has to be on node ${one.name}, which takes none now (${refusalFor(state, draft.spread, one, wish) ?? ''})`;
  return `no node can take it (${explanation})`;
}

/** The task whose paths of the node it mounts (`volumes_from`); a text: it is not there. */
function partnerOf(state: ClusterState, { stack, service, slot }: SlotWish): Task | string | undefined {
  const { placedWith } = service;
  if (placedWith === undefined) return undefined;
  const task = state.tasks.get(state.slots.get(slotKey(stack, placedWith, slot)) ?? '');
  return task ?? `it waits for slot ${slot} of ${placedWith}, whose paths of the node it mounts`;
}

/** A service to be linked to that has no task yet, and will have one. Two that are linked to each other do not wait. */
function linkAwaited(state: ClusterState, { stack, service }: SlotWish): string | undefined {
  if (service.networkMode?.kind !== 'bridge' || linkedNode(state, { stack, service }) !== undefined) return undefined;
  const services = state.stacks.get(stack)?.spec.services ?? {};
  const seen = new Set<string>();
  const collect = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const link of services[name]?.links ?? []) if (link.service !== undefined) collect(link.service);
  };
  const next = (service.links ?? []).flatMap((l) => l.service ?? []).find((name) => (services[name]?.replicas ?? 0) > 0);
  if (next === undefined) return undefined;
  collect(next);
  return seen.has(service.name) ? undefined : next;
}

/** On Docker's default bridge a link reaches the tasks of the same node only. */
function linkedNode(state: ClusterState, { stack, service }: Pick<SlotWish, 'stack' | 'service'>): string | undefined {
  if (service.networkMode?.kind !== 'bridge') return undefined;
  const targets = (service.links ?? []).flatMap((l) => (l.service === undefined ? [] : state.tasksOfService(stack, l.service)));
  return targets.find((t) => t.desired === 'run')?.nodeId;
}

/** Volumes live on a node: a service that has one stays where its data is. @returns why no node can take it */
function chooseNode(draft: Draft, wish: SlotWish, able: readonly Node[]): Node | string {
  const { state, hostPorts, spread } = draft;
  const home = homeOf(draft, wish);
  if (typeof home === 'string') return home;
  const near = home ? able.filter((n) => n.id === home.id) : able;
  if (home && near.length === 0) return `its data is on node ${home.name}, which ${whyNot(draft, home, wish)}`;
  const free = hostPorts.allow(near, wish.service, wish.replaces?.id);
  if (near.length > 0 && free.length === 0) return portsTaken(draft, wish, home ? [home] : state.nodes.values());
  const back = returnsTo(wish.replaces, free);
  if (back) return back;
  return spread.choose(preferred(state, spread, free, wish), wantingOf(wish)) ?? 'no node can take it';
}

function whyNot({ state, spread }: Draft, node: Node, wish: SlotWish): string {
  const refusal = refusalOf(state, node);
  return refusal === undefined ? `cannot take it (${refusalFor(state, spread, node, wish) ?? ''})` : `is ${refusal}`;
}

/** Every node that could take it otherwise has another task on one of its host ports. */
function portsTaken({ state, spread, hostPorts }: Draft, wish: SlotWish, nodes: Iterable<Node>): string {
  const { explanation } = sift(nodes, (node) => {
    const held = hostPorts.heldOn(node.id, wish.service, wish.replaces?.id);
    return refusalFor(state, spread, node, wish) ?? (held && `with another task on host port ${held.published}/${held.protocol}`);
  });
  return `no node can take it (${explanation})`;
}

/** The node that has its data: its volumes, or the directories of the host that the task before it had. A text: why there is none. */
export function homeOf({ state, volumes }: Draft, { replaces, beside, service }: SlotWish): Node | string | undefined {
  const before = replaces ?? beside;
  const home = volumes.homeOf(service, before);
  if (home !== undefined) return home;
  return before && isBoundToNode(service) && isBoundToNode(before) ? state.nodes.get(before.nodeId) : undefined;
}
