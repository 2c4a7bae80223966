/**
 * What happened, told from one state of the cluster to the next. Pure but for what it remembers: a little of each task and node, so
 * that a change costs what changed, and not what there is.
 */
import type { Event } from '#model/event.js';
import { keys, splitKey } from '#model/keys.js';
import { RESTARTED_BY_COMMAND, type Task, type TaskStatus } from '#model/task.js';
import type { ClusterState } from './cluster-state.js';
import { REBALANCED } from './moves.js';

export type EventDraft = Omit<Event, 'sequence'>;

type Happening = Pick<Event, 'kind' | 'action' | 'name'> & Partial<EventDraft>;

interface SeenTask {
  task: Task;
  status?: TaskStatus | undefined;
}

/** Longest text that an event carries. */
export const MAX_MESSAGE = 300;

export class EventSight {
  readonly #tasks = new Map<string, SeenTask>();
  readonly #nodes = new Map<string, { name: string; availability: string; state: string }>();
  readonly #updates = new Map<string, { state: string; message: string }>();
  readonly #stacks = new Map<string, { generation: number; removing: boolean }>();
  /** Node id → time of its newest repair that was told. */
  readonly #repairs = new Map<string, number>();

  /** @param changed keys that were put or deleted; all there is when left out. @param now milliseconds since the epoch */
  observe(state: ClusterState, changed: readonly string[] | undefined, now: number): EventDraft[] {
    const touched = changed === undefined ? this.#everything(state) : touchedBy(changed);
    const found: Happening[] = [
      ...pick(touched, 'stacks').flatMap((name) => this.#stack(state, name)),
      ...pick(touched, 'nodes', 'node-states').flatMap((id) => this.#node(state, id)),
      ...pick(touched, 'tasks').flatMap((id) => this.#task(state, id)),
      ...pick(touched, 'task-status').flatMap((id) => this.#status(state, id)),
      ...pick(touched, 'updates').flatMap((key) => this.#update(state, key)),
      ...pick(touched, 'node-facts').flatMap((id) => this.#repair(state, id)),
    ];
    const rest = { revision: state.revision, at: now, stack: '', service: '', id: '', node: '', message: '' };
    return found.map((h) => ({ ...rest, ...h, message: (h.message ?? '').slice(0, MAX_MESSAGE) }));
  }

  #everything(state: ClusterState): Map<string, Set<string>> {
    const nodes = new Set([...state.nodes.keys(), ...this.#nodes.keys()]);
    const tasks = new Set([...state.tasks.keys(), ...this.#tasks.keys()]);
    return new Map([
      ['stacks', new Set([...state.stacks.keys(), ...this.#stacks.keys()])],
      ['nodes', nodes],
      ['tasks', tasks],
      ['task-status', tasks],
      ['updates', new Set([...state.updates.keys(), ...this.#updates.keys()])],
      ['node-facts', nodes],
    ]);
  }

  #stack(state: ClusterState, name: string): Happening[] {
    const record = state.stacks.get(name);
    const before = this.#stacks.get(name);
    const base = { kind: 'stack' as const, stack: name, name };
    if (!record) {
      this.#stacks.delete(name);
      return before ? [{ ...base, action: 'destroy' }] : [];
    }
    const { generation, removing } = record;
    this.#stacks.set(name, { generation, removing });
    if (!before) return [{ ...base, action: 'create' }];
    if (removing && !before.removing) return [{ ...base, action: 'remove' }];
    return generation === before.generation ? [] : [{ ...base, action: 'change', message: `generation ${generation}` }];
  }

  #node(state: ClusterState, id: string): Happening[] {
    const node = state.nodes.get(id);
    const before = this.#nodes.get(id);
    if (!node) {
      this.#nodes.delete(id);
      return before ? [{ kind: 'node', action: 'remove', name: before.name, node: before.name, id }] : [];
    }
    const seen = { name: node.name, availability: node.availability ?? 'active', state: state.nodeStates.get(id)?.state ?? 'joining' };
    this.#nodes.set(id, seen);
    const base = { kind: 'node' as const, name: node.name, node: node.name, id };
    return [
      ...(before ? [] : [{ ...base, action: 'join', message: node.address }]),
      ...(before && before.availability !== seen.availability ? [{ ...base, action: seen.availability }] : []),
      ...(seen.state !== 'joining' && before?.state !== seen.state ? [{ ...base, action: seen.state }] : []),
    ];
  }

  #task(state: ClusterState, id: string): Happening[] {
    const task = state.tasks.get(id);
    const before = this.#tasks.get(id)?.task;
    if (!task) {
      this.#tasks.delete(id);
      if (!before) return [];
      const reason = state.ended.get(id)?.reason ?? before.stopReason ?? '';
      return [{ ...about(state, before), action: 'destroy', message: reason }];
    }
    this.#tasks.set(id, { task, status: this.#tasks.get(id)?.status });
    if (!before) return [arrival(state, task)];
    if (task.desired === 'stop' && before.desired === 'run')
      return [{ ...about(state, task), action: 'stop', message: task.stopReason ?? '' }];
    return [];
  }

  #status(state: ClusterState, id: string): Happening[] {
    const seen = this.#tasks.get(id);
    const status = state.statuses.get(id);
    if (!seen || !status) return [];
    const before = seen.status;
    this.#tasks.set(id, { ...seen, status });
    return changesOf(before, status).map((change) => ({ ...about(state, seen.task), ...change }));
  }

  #update(state: ClusterState, key: string): Happening[] {
    const record = state.updates.get(key);
    const before = this.#updates.get(key);
    const [stack = '', service = ''] = key.split('/');
    const base = { kind: 'service' as const, stack, service, name: service };
    if (!record) {
      this.#updates.delete(key);
      return before?.state === 'updating' ? [{ ...base, action: 'updated' }] : [];
    }
    this.#updates.set(key, { state: record.state, message: record.message });
    return before?.state === record.state ? [] : [{ ...base, action: record.state, message: record.message }];
  }

  #repair(state: ClusterState, id: string): Happening[] {
    const repairs = state.facts.get(id)?.repairs ?? [];
    const node = state.nodes.get(id)?.name ?? id;
    const last = this.#repairs.get(id);
    const newest = Math.max(last ?? 0, ...repairs.map((r) => r.at));
    this.#repairs.set(id, newest);
    // What a node had mended before we first heard of it is no news.
    if (last === undefined) return [];
    return repairs.filter((r) => r.at > last).map((r) => ({ kind: 'repair', action: 'repair', name: node, node, id, message: r.what }));
  }
}

/** Keys by collection. */
function touchedBy(changed: readonly string[]): Map<string, Set<string>> {
  const out = new Map<string, Set<string>>();
  for (const key of changed) {
    const [collection, rest] = splitKey(key) ?? ['', ''];
    const set = out.get(collection) ?? new Set();
    out.set(collection, set.add(rest));
  }
  return out;
}

const pick = (touched: ReadonlyMap<string, ReadonlySet<string>>, ...collections: string[]): string[] => [
  ...new Set(collections.flatMap((name) => [...(touched.get(name) ?? [])])),
];

const about = (state: ClusterState, task: Task) => ({
  kind: 'task' as const,
  stack: task.stack,
  service: task.service,
  name: task.name,
  id: task.id,
  node: state.nodes.get(task.nodeId)?.name ?? task.nodeId,
});

/** A new task; where its slot was on another node before, the move and its reason. */
function arrival(state: ClusterState, task: Task): Happening {
  const left = whereItWas(state, task);
  const base = about(state, task);
  return left && left.nodeId !== task.nodeId
    ? { ...base, action: 'reschedule', message: movedFrom(left.node, left.why) }
    : { ...base, action: 'create' };
}

/** Of whom it comes in the place of. What dead nodes have of the slot from earlier is not meant. */
function whereItWas(state: ClusterState, task: Task): { nodeId: string; node?: string; why?: string } | undefined {
  const { stack, service, slot, createdAt, id } = task;
  const others = state.tasksOfService(stack, service).filter((t) => t.slot === slot && t.id !== id);
  const revision = state.revisionOf(keys.task(id));
  const abandoned = others.find((t) => t.orphan && state.revisionOf(keys.task(t.id)) === revision);
  if (abandoned) return { nodeId: abandoned.nodeId, node: nameOf(state, abandoned), why: abandoned.stopReason };
  const ended = state.endedOf(stack, service, slot).at(-1);
  if (ended?.endedAt === createdAt) return { nodeId: ended.nodeId, node: ended.nodeName, why: ended.reason };
  const sent = others.find((t) => state.moves.get(t.id) === task.nodeId);
  return sent && { nodeId: sent.nodeId, node: nameOf(state, sent), why: REBALANCED };
}

const nameOf = (state: ClusterState, { nodeId }: Task): string | undefined => state.nodes.get(nodeId)?.name;

const movedFrom = (node: string | undefined, reason: string | undefined): string =>
  `from ${node ?? 'a node that is gone'}${reason ? `: ${reason}` : ''}`;

/** What a status tells that the one before did not. */
function changesOf(before: TaskStatus | undefined, after: TaskStatus): { action: string; message?: string; exitCode?: number }[] {
  const changes: { action: string; message?: string; exitCode?: number }[] = [];
  const exit = after.exitCode === undefined ? {} : { exitCode: after.exitCode };
  const ran = before?.state === 'running';
  const isNew = before?.state !== after.state || before.restarts !== after.restarts;
  if (isNew && after.state === 'running' && (!ran || before.restarts !== after.restarts)) changes.push({ action: 'start' });
  if (isNew && after.state === 'restarting')
    changes.push(after.message === RESTARTED_BY_COMMAND ? { action: 'restart' } : { action: 'die', message: after.message, ...exit });
  if (isNew && after.state === 'failed') changes.push({ action: ran ? 'die' : 'fail', message: after.message, ...exit });
  if (isNew && after.state === 'complete') changes.push({ action: 'complete', ...exit });
  const isJudged = after.health !== undefined && after.health !== 'starting' && after.health !== before?.health;
  if (isJudged) changes.push({ action: `health: ${after.health}`, message: after.health === 'unhealthy' ? after.message : '' });
  return changes;
}
