/**
 * Model ⇄ message. What only programs read (stacks, the resources of a node's view) travels as a JSON document, so that
 * its shape is written down once, in libs/model: what comes in passes the schema and gets its defaults; what goes out
 * needs no check. What people are shown is spelled out in the protocol, under the model's field names.
 */
import type { z } from 'zod';
import { check, decode } from '#model/codec.js';
import { networkSchema, type Network } from '#model/network.js';
import { nodeFactsSchema, nodeSchema, type Node, type NodeFacts } from '#model/node.js';
import { resourceSchema, viewDeltaSchema, viewSnapshotSchema, type Resource, type ViewDelta, type ViewSnapshot } from '#model/node-view.js';
import { attachmentSchema, stackSchema, type Attachment, type Stack } from '#model/stack.js';
import { networkWishSchema, type NetworkWish } from '#model/network-wish.js';
import { taskStatusSchema, type Task, type TaskStatus } from '#model/task.js';
import type * as hub from './gen/weft/v1/agent_hub.js';
import * as wire from './gen/weft/v1/types.js';

interface Codec<M> {
  fromJSON(json: unknown): M;
  toJSON(message: M): unknown;
}

interface Document {
  json: string;
}

const toDocument = (value: unknown): Document => ({ json: JSON.stringify(value) });

/** @throws BAD_VALUE */
function fromDocument<S extends z.ZodType>(schema: S, message: Document | undefined, where: string): z.output<S> {
  if (message === undefined) return check(schema, undefined, where, 'BAD_VALUE');
  return decode(schema, message.json, where, 'BAD_VALUE');
}

export const stackToWire = (stack: Stack): wire.Stack => toDocument(stack);
export const stackFromWire = (message: wire.Stack | undefined, where = 'stack'): Stack => fromDocument(stackSchema, message, where);

/** What a person is shown of a task: nothing of its environment, which may hold secrets. */
export const taskToWire = (task: Task): wire.Task =>
  wire.Task.fromJSON({ ...task, image: task.container.image, tty: task.container.tty, stdinOpen: task.container.stdinOpen });

function spelledOut<M, S extends z.ZodType>(codec: Codec<M>, schema: S, what: string) {
  return {
    toWire: (value: z.output<S>): M => codec.fromJSON(value),
    /** @throws BAD_VALUE */
    fromWire: (message: M | undefined, where = what): z.output<S> =>
      check(schema, message === undefined ? undefined : codec.toJSON(message), where, 'BAD_VALUE'),
  };
}

const status = spelledOut<wire.TaskStatus, typeof taskStatusSchema>(wire.TaskStatus, taskStatusSchema, 'task status');
export const statusToWire: (value: TaskStatus) => wire.TaskStatus = status.toWire;
export const statusFromWire: (message: wire.TaskStatus | undefined, where?: string) => TaskStatus = status.fromWire;

const facts = spelledOut<wire.NodeFacts, typeof nodeFactsSchema>(wire.NodeFacts, nodeFactsSchema, 'node facts');
export const factsToWire: (value: NodeFacts) => wire.NodeFacts = facts.toWire;
export const factsFromWire: (message: wire.NodeFacts | undefined, where?: string) => NodeFacts = facts.fromWire;

const node = spelledOut<wire.NodeRecord, typeof nodeSchema>(wire.NodeRecord, nodeSchema, 'node');
export const nodeToWire: (value: Node) => wire.NodeRecord = node.toWire;
export const nodeFromWire: (message: wire.NodeRecord | undefined, where?: string) => Node = node.fromWire;

const network = spelledOut<wire.Network, typeof networkSchema>(wire.Network, networkSchema, 'network');
export const networkToWire = (value: Network): wire.Network => ({
  ...network.toWire(value),
  ...(value.ipv6 ? { subnet6: value.ipv6.subnet, gateway6: value.ipv6.gateway } : {}),
});
export const networkWishToWire = toDocument;
export const networkWishFromWire = (message: Document): NetworkWish => fromDocument(networkWishSchema, message, 'network');
export const attachmentToWire = toDocument;
export const attachmentFromWire = (message: Document): Attachment => fromDocument(attachmentSchema, message, 'connection');
export const networkFromWire: (message: wire.Network | undefined, where?: string) => Network = network.fromWire;

const resourceFromWire = (message: wire.Resource): Resource => fromDocument(resourceSchema, message, 'resource');

/** Resources that are JSON documents already. */
type Documented<T> = Omit<T, 'resources' | 'upserts'> & { documents: Document[] };

export const snapshotOf = ({ clusterId, revision, documents, tombstones }: Documented<ViewSnapshot>): hub.Snapshot => ({
  clusterId,
  revision,
  resources: documents,
  tombstones: tombstones.map((t) => wire.Tombstone.fromJSON(t)),
});

export const snapshotToWire = (s: ViewSnapshot): hub.Snapshot => snapshotOf({ ...s, documents: s.resources.map(toDocument) });

export function snapshotFromWire(m: hub.Snapshot): ViewSnapshot {
  const tombstones = m.tombstones.map((t) => wire.Tombstone.toJSON(t));
  const frame = check(viewSnapshotSchema, { clusterId: m.clusterId, revision: m.revision, tombstones }, 'snapshot', 'BAD_VALUE');
  return { ...frame, resources: m.resources.map(resourceFromWire) };
}

export const deltaOf = ({ clusterId, revision, documents, removals, tombstones }: Documented<ViewDelta>): hub.Delta => ({
  clusterId,
  revision,
  upserts: documents,
  removals,
  tombstones: tombstones.map((t) => wire.Tombstone.fromJSON(t)),
});

export const deltaToWire = (d: ViewDelta): hub.Delta => deltaOf({ ...d, documents: d.upserts.map(toDocument) });

export function deltaFromWire(m: hub.Delta): ViewDelta {
  const { clusterId, revision, removals } = m;
  const tombstones = m.tombstones.map((t) => wire.Tombstone.toJSON(t));
  const frame = check(viewDeltaSchema, { clusterId, revision, removals, tombstones }, 'delta', 'BAD_VALUE');
  return { ...frame, upserts: m.upserts.map(resourceFromWire) };
}
