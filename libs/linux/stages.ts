/** In which order, and beside what, the operations of a plan are carried out. Pure. */
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import { DEVICE_TABLE } from '#overlay/names.js';
import type { Operation } from '#overlay/operation.js';
import type { Tool } from './commands.js';
import { seatOf, toolOf } from './commands.js';

/** Operations of one tool, by the namespace it runs in. */
export interface Stage {
  tool: Tool;
  byNamespace: Map<string, Operation[]>;
}

export interface Stages {
  /** What goes. */
  first: Stage[];
  /** New namespaces, each with its own making, its sysctls, and its tables but those that hang on devices. */
  namespaces: Map<string, Operation[]>;
  then: Stage[];
  /** Spares that become tasks' namespaces, by the names they get: with what is done inside. */
  taken: Map<string, Extract<Operation, { op: 'takeNamespace' }>>;
}

/** Operations, which are in the order of `diff`, in stages. */
export function inStages(operations: readonly Operation[]): Stages {
  const namespaces = new Map<string, Operation[]>(operations.flatMap((o) => (o.op === 'addNamespace' ? [[o.ns, []]] : [])));
  const taken = new Map(operations.flatMap((o) => (o.op === 'takeNamespace' ? [[o.ns, o] as const] : [])));
  const others = operations.filter((o) => {
    if (o.op === 'takeNamespace') return false;
    const own = namespaces.get(o.ns);
    if (!own || !furnishes(o)) return true;
    own.push(o);
    return false;
  });
  // Nothing that goes is in a namespace that comes.
  const firstAdded = operations.findIndex((o) => o.op === 'addNamespace' || o.op === 'takeNamespace');
  const before = new Set(firstAdded === -1 ? [] : operations.slice(0, firstAdded));
  return { first: stagesOf(others.filter((o) => before.has(o))), namespaces, then: stagesOf(others.filter((o) => !before.has(o))), taken };
}

function furnishes(o: Operation): boolean {
  return (
    o.op === 'addNamespace' ||
    o.op === 'setSysctl' ||
    o.op === 'setVips' ||
    o.op === 'setElements' ||
    (o.op === 'putTable' && o.table !== DEVICE_TABLE)
  );
}

/** Consecutive operations of one tool are a stage; in it, namespaces do not wait for one another. */
function stagesOf(operations: readonly Operation[]): Stage[] {
  const stages: Stage[] = [];
  for (const operation of operations) {
    const tool = toolOf(operation);
    const seat = seatOf(operation);
    const stage = stages.at(-1);
    // The node's `ip` and the tasks' do not mix: a wire must be made before its far end is set.
    const mixes =
      stage?.tool === tool && ((tool !== 'ip' && tool !== 'ip6') || stage.byNamespace.has(NODE_NAMESPACE) === (seat === NODE_NAMESPACE));
    if (stage && mixes) put(stage, operation);
    else stages.push(stageOf(tool, [operation]));
  }
  return stages;
}

function stageOf(tool: Tool, operations: readonly Operation[]): Stage {
  const stage: Stage = { tool, byNamespace: new Map() };
  for (const operation of operations) put(stage, operation);
  return stage;
}

function put({ byNamespace }: Stage, operation: Operation): void {
  const seat = seatOf(operation);
  const list = byNamespace.get(seat);
  if (list) list.push(operation);
  else byNamespace.set(seat, [operation]);
}
