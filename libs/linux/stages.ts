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
  /** Up to where the new namespaces are there. */
  first: Stage[];
  /** Sysctls of the new namespaces, and their tables but those that hang on devices: nothing is up there, so they may go on beside the rest. */
  settings: Stage;
  /** Devices take over some of these settings when they are made. */
  areTakenOver: boolean;
  tables: Stage;
  then: Stage[];
}

/** Operations, which are in the order of `diff`, in stages. */
export function inStages(operations: readonly Operation[]): Stages {
  const made = new Set(operations.flatMap((o) => (o.op === 'addNamespace' ? [o.ns] : [])));
  const settings: Operation[] = [];
  const tables: Operation[] = [];
  const others: Operation[] = [];
  for (const o of operations) {
    const tool = made.has(o.ns) ? toolOf(o) : undefined;
    const hangs = o.op === 'putTable' && o.table === DEVICE_TABLE;
    (tool === 'sysctl' ? settings : tool === 'nft' && !hangs ? tables : others).push(o);
  }
  const behind = others.findLastIndex((o) => o.op === 'addNamespace') + 1;
  return {
    first: stagesOf(others.slice(0, behind)),
    settings: stageOf('sysctl', settings),
    areTakenOver: settings.some((o) => o.op === 'setSysctl' && o.key.includes('.conf.default.')),
    tables: stageOf('nft', tables),
    then: stagesOf(others.slice(behind)),
  };
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
