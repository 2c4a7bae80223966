/**
 * The layout of etcd: which key holds what. Everything lives under one root, so that one watch sees it all; but for the bytes
 * of content, which nobody keeps in memory. (A transaction that writes those writes something below the root, too: who waits
 * until its revision was seen would wait for ever.)
 */
import type { ContentKind, FileKind } from './content.js';

export const ROOT = '/weft/v1/';
const CHUNK_ROOT = '/weft/chunks/v1/';
const CHUNK_DIGITS = 6;

export const keys = {
  cluster: () => `${ROOT}cluster`,
  leader: () => `${ROOT}leader`,
  /** Bumped with every network made or removed: two `up`s cannot choose overlapping subnets unseen. */
  pool: () => `${ROOT}pool`,
  controller: (id: string) => `${ROOT}controllers/${id}`,
  /** Bound to the controller's etcd lease, as are the sessions of the nodes whose agents it holds. */
  controllerSession: (id: string) => `${ROOT}controller-sessions/${id}`,
  /** A controller that was removed: with its old certificate it does not come back. */
  removedController: (id: string) => `${ROOT}removed-controllers/${id}`,
  token: (id: string) => `${ROOT}tokens/${id}`,
  node: (id: string) => `${ROOT}nodes/${id}`,
  nodeFacts: (id: string) => `${ROOT}node-facts/${id}`,
  nodeState: (id: string) => `${ROOT}node-states/${id}`,
  /** The id of the controller that holds the agent's stream; bound to that controller's etcd lease. */
  nodeSession: (id: string) => `${ROOT}node-sessions/${id}`,
  stack: (name: string) => `${ROOT}stacks/${name}`,
  network: (id: string) => `${ROOT}networks/${id}`,
  networkName: (name: string) => `${ROOT}network-names/${name}`,
  lease: (networkId: string, ipv4: string) => `${ROOT}leases/${networkId}/${ipv4}`,
  leasesOf: (networkId: string) => `${ROOT}leases/${networkId}/`,
  vip: (networkId: string, stack: string, service: string) => `${ROOT}vips/${networkId}/${stack}/${service}`,
  nodeAddress: (networkId: string, nodeId: string) => `${ROOT}node-addresses/${networkId}/${nodeId}`,
  connection: (stack: string, service: string, slot: number | undefined, networkId: string) =>
    `${ROOT}connections/${stack}/${service}/${slot ?? 'all'}/${networkId}`,
  connectionsOf: (stack: string) => `${ROOT}connections/${stack}/`,
  task: (id: string) => `${ROOT}tasks/${id}`,
  /** At most one live task a slot and node-independent: created with the task, deleted with it. */
  slot: (stack: string, service: string, slot: number) => `${ROOT}slots/${stack}/${service}/${slot}`,
  /** The task that is to take the slot over, while it starts beside the one that has it (updates that start first). */
  slotNext: (stack: string, service: string, slot: number) => `${ROOT}slots/${stack}/${service}/${slot}/next`,
  /** What is remembered of a task that is gone. */
  ended: (id: string) => `${ROOT}ended/${id}`,
  update: (stack: string, service: string) => `${ROOT}updates/${stack}/${service}`,
  /** The id of the node that the task's successor is to be on. Written by the API (`ctl rebalance`), taken away by the leader. */
  move: (taskId: string) => `${ROOT}moves/${taskId}`,
  taskStatus: (id: string) => `${ROOT}task-status/${id}`,
  /** How far the nodes are that a controller holds the streams of. */
  /** One chunk of the events that are kept; its number counts on for ever. */
  events: (chunk: number) => `${ROOT}events/${String(chunk).padStart(12, '0')}`,
  confirmation: (controllerId: string) => `${ROOT}confirmations/${controllerId}`,
  volume: (name: string) => `${ROOT}volumes/${name}`,
  content: (kind: ContentKind, id: string) => `${ROOT}contents/${kind}/${id}`,
  namedContent: (kind: FileKind, name: string) => `${ROOT}named-contents/${kind}/${name}`,
  /** Bumped by every `up` that refers to more content, and whenever content is deleted: neither happens unseen by the other. */
  contentPool: () => `${ROOT}content-pool`,
  tombstone: (nodeId: string, taskId: string) => `${ROOT}tombstones/${nodeId}/${taskId}`,
} as const;

/** Where the bytes of one content are: base64, those of secrets sealed. */
export const chunkKeys = {
  of: (kind: ContentKind, id: string) => `${CHUNK_ROOT}${kind}/${id}/`,
  chunk: (kind: ContentKind, id: string, index: number) => `${CHUNK_ROOT}${kind}/${id}/${String(index).padStart(CHUNK_DIGITS, '0')}`,
} as const;

/** The collection and the rest of a key: `/weft/v1/tasks/ab12` → ['tasks', 'ab12']; undefined for a key that is not ours. */
export function splitKey(key: string): [collection: string, rest: string] | undefined {
  if (!key.startsWith(ROOT)) return undefined;
  const tail = key.slice(ROOT.length);
  const slash = tail.indexOf('/');
  return slash < 0 ? [tail, ''] : [tail.slice(0, slash), tail.slice(slash + 1)];
}
