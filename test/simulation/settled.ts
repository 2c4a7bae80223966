/** Whether a cluster in which nothing is broken any more is as it should be: as many reasons why not as there are. */
import type { Service, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { Watcher } from './watcher.js';
import type { World } from './world.js';

export function unsettled(world: World): string[] {
  const { watcher, machines } = world;
  const reasons: string[] = [];
  const isAlive = (nodeId: string) => machines.get(nodeId)?.isPowered === true;
  for (const { nodeId, name, isPowered } of machines.values()) {
    const state = watcher.nodeStates.get(nodeId)?.state;
    if (state !== (isPowered ? 'ready' : 'down')) reasons.push(`${name} is ${state}`);
  }
  for (const [name, record] of watcher.stacks) {
    // What a dead node has of it is held until the node confirms.
    const isHeld = [...watcher.tasks.values()].some((t) => t.stack === name && !isAlive(t.nodeId));
    if (record.removing && !isHeld) reasons.push(`stack ${name} is still there`);
    for (const service of Object.values(record.spec.services)) reasons.push(...lacks(watcher, record, service, isAlive));
  }
  for (const task of watcher.tasks.values()) reasons.push(...leftover(watcher, task, isAlive));
  for (const machine of machines.values())
    for (const c of machine.containers.values())
      if (isAlive(machine.nodeId) && !watcher.tasks.has(c.id))
        reasons.push(`${c.task.name} (${c.id}) is on ${machine.name} and has no record`);
  for (const task of watcher.tasks.values()) {
    const container = machines.get(task.nodeId)?.containers.get(task.id);
    if (task.desired === 'run' && isAlive(task.nodeId) && container?.state !== 'running')
      reasons.push(`${task.name} does not run on ${task.nodeId}: ${container?.state ?? 'no container'}`);
    if (task.desired === 'run' && isAlive(task.nodeId) && watcher.restarts.isOpen(task.id))
      reasons.push(`${task.name} (${task.id}) was to be started again, and was not`);
  }
  for (const [id, nodeId] of watcher.marks) {
    const task = watcher.tasks.get(id);
    if (!task || isAlive(task.nodeId)) reasons.push(`${task?.name ?? 'a task that is gone'} (${id}) is marked for ${nodeId}`);
  }
  return reasons;
}

/** Nothing is on its way out on a node that lives; a drained node is empty. */
function leftover(watcher: Watcher, task: Task, isAlive: (nodeId: string) => boolean): string[] {
  if (!watcher.stacks.has(task.stack)) return [`${task.name} is left of a stack that is gone`];
  if (!isAlive(task.nodeId)) return [];
  if (task.orphan) return [`${task.name} (${task.id}) is an orphan of a node that lives`];
  if (task.desired === 'stop') return [`${task.name} (${task.id}) still stops`];
  return watcher.nodes.get(task.nodeId)?.availability === 'drain' ? [`${task.name} is on a drained node`] : [];
}

function lacks(watcher: Watcher, record: StackRecord, service: Service, isAlive: (nodeId: string) => boolean): string[] {
  if (record.removing) return [];
  const stack = record.spec.name;
  const takers = [...watcher.nodes.values()].filter((n) => n.availability !== 'drain');
  const isGlobal = service.mode === 'global';
  const tasks = [...watcher.tasks.values()].filter(
    (t) => t.stack === stack && t.service === service.name && t.desired === 'run' && !t.orphan,
  );
  // Where no node takes new tasks, there is nothing that could be right.
  const able = takers.filter((n) => n.availability !== 'pause' && isAlive(n.id));
  if (!isGlobal && able.length === 0) return [];
  const wanted = isGlobal ? takers.filter((n) => isAlive(n.id)) : Array.from({ length: service.replicas });
  const good = tasks.filter((t) => isAlive(t.nodeId) && watcher.statuses.get(t.id)?.state === 'running');
  if (waitsForDead(watcher, service, isAlive) || isHeldBack(watcher, record, service, isAlive)) return [];
  if (isGlobal && able.length < wanted.length) return [];
  return good.length === wanted.length ? [] : [`${stack}/${service.name} has ${good.length} of ${wanted.length} tasks running`];
}

/** A static address that a task on a dead node has, whosever and whatever it was told last, is held until the node confirms. */
function waitsForDead(watcher: Watcher, service: Service, isAlive: (nodeId: string) => boolean): boolean {
  const wanted = new Set(Object.values(service.networks).flatMap((a) => a.ipv4 ?? []));
  return [...watcher.tasks.values()].some((t) => !isAlive(t.nodeId) && t.endpoints.some((e) => wanted.has(e.ipv4)));
}

/** What it depends on waits for a dead node. */
const isHeldBack = (watcher: Watcher, { spec }: StackRecord, service: Service, isAlive: (nodeId: string) => boolean): boolean =>
  Object.keys(service.dependsOn ?? {}).some((name) =>
    [...watcher.tasks.values()].some((t) => t.stack === spec.name && t.service === name && !isAlive(t.nodeId)),
  );
