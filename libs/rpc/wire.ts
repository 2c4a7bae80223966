/**
 * Model ⇄ message. The two have the same field names, so plain JSON is the bridge: what comes in passes the model's schema
 * and gets its defaults; what goes out needs no check. The one difference: proto3 cannot tell an absent list from an empty
 * one, so `command` and `entrypoint` travel wrapped.
 */
import type { z } from 'zod';
import { check } from '#model/codec.js';
import { networkSchema, type Network } from '#model/network.js';
import { nodeFactsSchema, nodeSchema, type Node, type NodeFacts } from '#model/node.js';
import { viewDeltaSchema, viewSnapshotSchema, type Resource, type ViewDelta, type ViewSnapshot } from '#model/node-view.js';
import { stackSchema, type ContainerWish, type Stack } from '#model/stack.js';
import { taskSchema, taskStatusSchema, type Task, type TaskStatus } from '#model/task.js';
import type * as hub from './gen/weft/v1/agent_hub.js';
import * as wire from './gen/weft/v1/types.js';

interface Codec<M> {
  fromJSON(json: unknown): M;
  toJSON(message: M): unknown;
}

type Plain = Record<string, unknown>;
const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value);

const WRAPPED = ['command', 'entrypoint'] as const;

function wrapContainer(container: ContainerWish): Plain {
  const out: Plain = { ...container };
  for (const key of WRAPPED) if (container[key]) out[key] = { values: container[key] };
  return out;
}

function unwrapContainer(json: unknown): unknown {
  if (!isPlain(json)) return json;
  const out = { ...json };
  for (const key of WRAPPED) if (isPlain(out[key])) out[key] = (out[key] as Plain)['values'] ?? [];
  return out;
}

const wrapTask = (task: Task): Plain => ({ ...task, container: wrapContainer(task.container) });
const unwrapTask = (json: unknown): unknown => (isPlain(json) ? { ...json, container: unwrapContainer(json['container']) } : json);

/** @throws BAD_VALUE */
const receive = <S extends z.ZodType>(schema: S, json: unknown, where: string): z.output<S> => check(schema, json, where, 'BAD_VALUE');

export const stackToWire = (stack: Stack): wire.Stack =>
  wire.Stack.fromJSON({
    ...stack,
    services: Object.fromEntries(Object.entries(stack.services).map(([key, s]) => [key, { ...s, container: wrapContainer(s.container) }])),
  });

export function stackFromWire(message: wire.Stack | undefined, where = 'stack'): Stack {
  const json = message ? wire.Stack.toJSON(message) : undefined;
  if (isPlain(json) && isPlain(json['services'])) {
    json['services'] = Object.fromEntries(
      Object.entries(json['services']).map(([key, s]) => [key, isPlain(s) ? { ...s, container: unwrapContainer(s['container']) } : s]),
    );
  } else if (isPlain(json)) json['services'] = {};
  return receive(stackSchema, json, where);
}

export const taskToWire = (task: Task): wire.Task => wire.Task.fromJSON(wrapTask(task));
export const taskFromWire = (message: wire.Task | undefined, where = 'task'): Task =>
  receive(taskSchema, message && unwrapTask(wire.Task.toJSON(message)), where);

function simple<M, S extends z.ZodType>(codec: Codec<M>, schema: S, what: string) {
  return {
    toWire: (value: z.output<S>): M => codec.fromJSON(value),
    fromWire: (message: M | undefined, where = what): z.output<S> =>
      receive(schema, message === undefined ? undefined : codec.toJSON(message), where),
  };
}

const status = simple<wire.TaskStatus, typeof taskStatusSchema>(wire.TaskStatus, taskStatusSchema, 'task status');
export const statusToWire: (value: TaskStatus) => wire.TaskStatus = status.toWire;
export const statusFromWire: (message: wire.TaskStatus | undefined, where?: string) => TaskStatus = status.fromWire;

const facts = simple<wire.NodeFacts, typeof nodeFactsSchema>(wire.NodeFacts, nodeFactsSchema, 'node facts');
export const factsToWire: (value: NodeFacts) => wire.NodeFacts = facts.toWire;
export const factsFromWire: (message: wire.NodeFacts | undefined, where?: string) => NodeFacts = facts.fromWire;

const node = simple<wire.NodeRecord, typeof nodeSchema>(wire.NodeRecord, nodeSchema, 'node');
export const nodeToWire: (value: Node) => wire.NodeRecord = node.toWire;
export const nodeFromWire: (message: wire.NodeRecord | undefined, where?: string) => Node = node.fromWire;

const network = simple<wire.Network, typeof networkSchema>(wire.Network, networkSchema, 'network');
export const networkToWire: (value: Network) => wire.Network = network.toWire;
export const networkFromWire: (message: wire.Network | undefined, where?: string) => Network = network.fromWire;

/** A resource's JSON on the wire has its kind as its only key. */
function resourceToWire(resource: Resource): wire.Resource {
  return wire.Resource.fromJSON({ [resource.kind]: resource.kind === 'task' ? wrapTask(resource.value) : resource.value });
}

function resourceToPlain(message: wire.Resource): unknown {
  const json = wire.Resource.toJSON(message);
  if (!isPlain(json)) return json;
  const [kind, value] = Object.entries(json)[0] ?? ['', undefined];
  return { kind, value: kind === 'task' ? unwrapTask(value) : value };
}

export const snapshotToWire = (s: ViewSnapshot): hub.Snapshot => ({
  clusterId: s.clusterId,
  revision: s.revision,
  resources: s.resources.map(resourceToWire),
  tombstones: s.tombstones.map((t) => wire.Tombstone.fromJSON(t)),
});

export const snapshotFromWire = (m: hub.Snapshot): ViewSnapshot =>
  receive(
    viewSnapshotSchema,
    {
      clusterId: m.clusterId,
      revision: m.revision,
      resources: m.resources.map(resourceToPlain),
      tombstones: m.tombstones.map((t) => wire.Tombstone.toJSON(t)),
    },
    'snapshot',
  );

export const deltaToWire = (d: ViewDelta): hub.Delta => ({
  clusterId: d.clusterId,
  revision: d.revision,
  upserts: d.upserts.map(resourceToWire),
  removals: d.removals,
  tombstones: d.tombstones.map((t) => wire.Tombstone.fromJSON(t)),
});

export const deltaFromWire = (m: hub.Delta): ViewDelta =>
  receive(
    viewDeltaSchema,
    {
      clusterId: m.clusterId,
      revision: m.revision,
      upserts: m.upserts.map(resourceToPlain),
      removals: m.removals,
      tombstones: m.tombstones.map((t) => wire.Tombstone.toJSON(t)),
    },
    'delta',
  );
