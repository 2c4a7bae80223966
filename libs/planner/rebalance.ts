/**
 * Which tasks have to go to other nodes for their services to be spread evenly again, after nodes joined or came back. Pure: the
 * plan prints, and the same plan is carried out (moves.ts marks the tasks; the leader replaces them by their services' rules).
 *
 * A service is even when no node that can have its tasks has two more of them than another that has room; where it says
 * `placement.preferences`, the same holds for the groups of nodes first. One task after another goes from where most are to where
 * fewest are, and only where that is two more: so no smaller number of moves makes it even, and what is even is left alone.
 * Nodes that take no tasks now, and those that do not fit, are left out, with what they have.
 */
import { isGlobal, isJob } from '#model/service-mode.js';
import type { Node } from '#model/node.js';
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import { keys } from '#model/keys.js';
import { nextKey, serviceKey, slotKey, type ClusterState } from './cluster-state.js';
import { isBoundToNode, withoutOrphans } from './dead-nodes.js';
import { crowding, markUnit, misfit, roomsOf, type Mover, type Rooms } from './moves.js';
import { groupsOf } from './node-filters.js';
import { isOneOff } from './one-offs.js';
import { meant, recordOf } from './plan-operations.js';
import { networkIdsOf } from './networks-of.js';
import { sharesNamespace } from './shared-namespace.js';
import { slotsOf } from './service-slots.js';
import { specHash } from './spec-hash.js';
import { isUp } from './standing-of-task.js';
import type { Unit } from './transaction.js';
import { wantedEndpoints } from './wanted-networks.js';

export interface Move {
  task: Task;
  from: Node;
  to: Node;
  /** `a has 4 of web, c none`. */
  why: string;
}

export interface Unmoved {
  stack: string;
  service: string;
  why: string;
}

export interface RebalancePlan {
  /** In an order in which each finds room when those before it are done. */
  moves: Move[];
  /** Services that were named, or are uneven, and stay as they are. */
  unmoved: Unmoved[];
  /** What marks the tasks; none when nothing moves. */
  units: Unit[];
}

/** A service that takes part. */
interface Crew extends Mover {
  key: string;
  /** That can have its tasks. */
  nodes: Node[];
  /** Node id → its tasks there. */
  tasks: Map<string, Task[]>;
}

type Step = Pick<Move, 'task' | 'from' | 'to' | 'why'>;

/**
 * @param stack all when empty
 * @param services of that stack; all of it when empty
 * @throws NOT_FOUND
 */
export function planRebalance(state: ClusterState, stack = '', services: readonly string[] = []): RebalancePlan {
  const records = stack === '' ? [...state.stacks.values()].filter((r) => !r.removing) : [recordOf(state, stack)];
  const rooms = roomsOf(state);
  const unmoved: Unmoved[] = [];
  const crews: Crew[] = [];
  for (const record of records.sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1))) {
    for (const service of meant(record, services)) {
      const name = record.spec.name;
      const why = whyBound(record, service) ?? whyBusy(state, record, service);
      if (why === undefined) crews.push(crewOf(rooms, name, service));
      else if (why.isPassing || services.length > 0) unmoved.push({ stack: name, service: service.name, why: why.text });
    }
  }
  const moves = level(rooms, crews);
  for (const crew of crews) {
    const why = whyUneven(rooms, crew);
    if (why !== undefined) unmoved.push({ stack: crew.stack, service: crew.service.name, why });
  }
  return { moves, unmoved, units: unitsOf(state, crews, moves) };
}

interface Reason {
  text: string;
  /** It may be otherwise soon. */
  isPassing: boolean;
}

/** Why the tasks of a service are never moved; undefined when they can be. */
function whyBound({ spec }: StackRecord, service: Service): Reason | undefined {
  const lasting = (text: string): Reason => ({ text, isPassing: false });
  if (isGlobal(service)) return lasting('it is global: it has a task on every node that fits');
  if (isJob(service)) return lasting('it is a job: it runs to its end where it began');
  if (isOneOff(service)) return lasting('it is a one-off task');
  if (isBoundToNode(service)) return lasting('its data is on the nodes of its tasks');
  const isLinked = (service.links ?? []).some((l) => l.service !== undefined);
  if (sharesNamespace(service) || service.placedWith !== undefined || (service.networkMode?.kind === 'bridge' && isLinked))
    return lasting('it is on the node of what it is joined to');
  const follower = Object.values(spec.services).find((other) => follows(other, service.name));
  return follower && lasting(`${follower.name} is joined to it, and would have to go along`);
}

/** Whether a service has to be on the nodes of the other. */
const follows = ({ networkMode, placedWith, links = [] }: Service, other: string): boolean =>
  (networkMode?.kind === 'service' && networkMode.service === other) ||
  placedWith === other ||
  (networkMode?.kind === 'bridge' && links.some((l) => l.service === other));

/** Why its tasks are not moved now: one thing after another. */
function whyBusy(state: ClusterState, record: StackRecord, service: Service): Reason | undefined {
  const passing = (text: string): Reason => ({ text, isPassing: true });
  const name = record.spec.name;
  if (record.stopped?.[service.name]) return { text: 'it is stopped', isPassing: false };
  const update = state.updates.get(serviceKey(name, service.name));
  if (update && !(update.moves && update.state === 'paused')) return passing(`its update is ${update.state}`);
  const hash = specHash(service, record.spec.services, record.restarts);
  const isSettled = slotsOf(state, name, service).every((slot) => {
    const task = state.tasks.get(state.slots.get(slotKey(name, service.name, slot)) ?? '');
    return task?.desired === 'run' && task.specHash === hash && !state.slots.has(nextKey(name, service.name, slot));
  });
  const isWhole = withoutOrphans(state.tasksOfService(name, service.name)).length === service.replicas;
  if (!isSettled || !isWhole) return passing('it is changing, or waits for something: see `ctl ps`');
  const endpoints = wantedEndpoints(state, name, service, 1, networkIdsOf(state, name));
  return typeof endpoints === 'string' ? passing(endpoints) : undefined;
}

function crewOf({ state, spread }: Rooms, stack: string, service: Service): Crew {
  const wanted = wantedEndpoints(state, stack, service, 1, networkIdsOf(state, stack));
  const mover: Mover = { stack, service, endpoints: typeof wanted === 'string' ? [] : wanted };
  const tasks = new Map<string, Task[]>();
  for (const task of state.tasksOfService(stack, service.name)) {
    const row = tasks.get(task.nodeId) ?? [];
    tasks.set(task.nodeId, row);
    row.push(task);
  }
  for (const row of tasks.values()) row.sort((a, b) => Number(isUp(state, a)) - Number(isUp(state, b)) || b.slot - a.slot);
  // Most services are spread already, and are many: that no node has two tasks is seen without looking at the others.
  const isSpread = (service.placement?.spread ?? []).length === 0 && [...tasks.values()].every((row) => row.length < 2);
  const nodes = isSpread ? [] : spread.open.filter((node) => misfit(state, node, mover) === undefined);
  return { ...mover, key: serviceKey(stack, service.name), nodes, tasks };
}

/** What one service gives up another may need: again and again, until all are even or nothing goes any more. */
function level(rooms: Rooms, crews: readonly Crew[]): Move[] {
  const moves = new Map<string, Move>();
  for (let isMoving = true; isMoving;) {
    isMoving = false;
    for (const crew of crews) {
      for (let step = nextStep(rooms, crew); step; step = nextStep(rooms, crew)) {
        const from = moves.get(step.task.id)?.from ?? step.from;
        moves.delete(step.task.id);
        if (from.id !== step.to.id) moves.set(step.task.id, { ...step, from });
        take(rooms, crew, step);
        isMoving = true;
      }
    }
  }
  return [...moves.values()];
}

function take({ spread, hostPorts }: Rooms, { stack, service, tasks }: Crew, { task, from, to }: Step): void {
  spread.add(from.id, stack, service.name, -1);
  spread.reserve(from.id, task.reservations, -1);
  hostPorts.remove(from.id, task.id);
  spread.add(to.id, stack, service.name);
  spread.reserve(to.id, task.reservations);
  hostPorts.add(to.id, task.id, task.ports);
  tasks.set(
    from.id,
    (tasks.get(from.id) ?? []).filter((t) => t !== task),
  );
  tasks.set(to.id, [...(tasks.get(to.id) ?? []), task]);
}

/** The next task that has to go; undefined when the service is even, or nothing can be done. */
const nextStep = (rooms: Rooms, crew: Crew): Step | undefined => stepWithin(rooms, crew, crew.nodes, crew.service.placement?.spread ?? []);

function stepWithin(rooms: Rooms, crew: Crew, nodes: readonly Node[], [attribute, ...rest]: readonly string[]): Step | undefined {
  if (attribute === undefined) return stepBetweenNodes(rooms, crew, nodes);
  const groups = groupsByLoad(rooms, crew, nodes, attribute);
  for (const heavy of groups.toReversed()) {
    for (const light of groups) {
      if (heavy.tasks - light.tasks < 2) break;
      const from = heaviest(rooms, crew, heavy.nodes, rest);
      const to = lightest(rooms, crew, light.nodes, rest);
      const task = crew.tasks.get(from?.id ?? '')?.[0];
      const why = `${attribute} ${heavy.value || '(none)'} has ${heavy.tasks} of ${crew.service.name}, ${light.value || '(none)'} has ${light.tasks}`;
      if (from && to && task) return { task, from, to, why };
    }
  }
  for (const group of groups) {
    const step = stepWithin(rooms, crew, group.nodes, rest);
    if (step) return step;
  }
  return undefined;
}

function stepBetweenNodes(rooms: Rooms, crew: Crew, nodes: readonly Node[]): Step | undefined {
  const ordered = byLoad(rooms, crew, nodes);
  const count = (node: Node): number => rooms.spread.countOf(node.id, crew.key);
  for (const from of ordered.toReversed()) {
    const task = crew.tasks.get(from.id)?.[0];
    if (count(from) < 2) break;
    for (const to of ordered) {
      if (count(from) - count(to) < 2) break;
      if (task === undefined || crowding(rooms, to, crew, task.id) !== undefined) continue;
      return { task, from, to, why: `${from.name} has ${count(from)} of ${crew.service.name}, ${to.name} has ${count(to)}` };
    }
  }
  return undefined;
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);

/** Fewest tasks of the service first, then fewest tasks, then by name: the scheduler's order. */
function byLoad({ spread }: Rooms, { key }: Crew, nodes: readonly Node[]): Node[] {
  return [...nodes].sort(
    (a, b) => spread.countOf(a.id, key) - spread.countOf(b.id, key) || spread.tasksOn(a.id) - spread.tasksOn(b.id) || byName(a, b),
  );
}

/** Groups with the fewest tasks first. */
const groupsByLoad = ({ state, spread }: Rooms, { key }: Crew, nodes: readonly Node[], attribute: string) =>
  [...groupsOf(state, spread, nodes, attribute, key)]
    .map(([value, group]) => ({ value, ...group }))
    .sort((a, b) => a.tasks - b.tasks || (a.value < b.value ? -1 : 1));

/** Of the group with the most tasks, by one preference after another, the node with the most. */
function heaviest(rooms: Rooms, crew: Crew, nodes: readonly Node[], [attribute, ...rest]: readonly string[]): Node | undefined {
  if (attribute === undefined) return byLoad(rooms, crew, nodes).findLast((node) => (crew.tasks.get(node.id) ?? []).length > 0);
  const group = groupsByLoad(rooms, crew, nodes, attribute).at(-1);
  return group && heaviest(rooms, crew, group.nodes, rest);
}

/** The node that the scheduler would choose, of those with room. */
function lightest(rooms: Rooms, crew: Crew, nodes: readonly Node[], [attribute, ...rest]: readonly string[]): Node | undefined {
  if (attribute === undefined) return byLoad(rooms, crew, nodes).find((node) => crowding(rooms, node, crew, undefined) === undefined);
  for (const group of groupsByLoad(rooms, crew, nodes, attribute)) {
    const node = lightest(rooms, crew, group.nodes, rest);
    if (node) return node;
  }
  return undefined;
}

/** What keeps a service from being even when all is moved that can be; undefined when it is even. */
function whyUneven(rooms: Rooms, crew: Crew): string | undefined {
  if ((crew.service.placement?.spread ?? []).length > 0) return undefined;
  const ordered = byLoad(rooms, crew, crew.nodes);
  const [light, heavy] = [ordered[0], ordered.at(-1)];
  if (!light || !heavy) return undefined;
  const [few, many] = [light, heavy].map((node) => rooms.spread.countOf(node.id, crew.key)) as [number, number];
  if (many - few < 2) return undefined;
  const why = crowding(rooms, light, crew, undefined);
  return why && `${heavy.name} has ${many}, ${light.name} has ${few} and can have no more (${why})`;
}

/** Marks for what moves, and none for what a command before this one meant to move; an update that such a move ended begins anew. */
function unitsOf(state: ClusterState, crews: readonly Crew[], moves: readonly Move[]): Unit[] {
  const sent = new Set(moves.map(({ task }) => task.id));
  const units = moves.filter(({ task, to }) => state.moves.get(task.id) !== to.id).map(({ task, to }) => markUnit(state, task, to.id));
  for (const crew of crews) {
    const unmarked = [...crew.tasks.values()].flat().filter((t) => state.moves.has(t.id) && !sent.has(t.id));
    units.push(...unmarked.map((task) => markUnit(state, task, undefined)));
    const key = keys.update(crew.stack, crew.service.name);
    if (state.updates.has(crew.key) && moves.some((m) => serviceKey(m.task.stack, m.task.service) === crew.key))
      units.unshift({
        what: `${crew.key} moves again`,
        compares: [{ key, modRevision: state.revisionOf(key) }],
        writes: [{ delete: key }],
      });
  }
  return units;
}
