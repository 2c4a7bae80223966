/** The cluster as a plan sees it: everything that is in etcd, decoded and indexed. Filled by ReadModel; read by everyone else. */
import type { Cluster, ControllerRecord, Token } from '#model/cluster.js';
import type { Confirmation } from '#model/confirmation.js';
import type { ContentRecord, NamedContent } from '#model/content.js';
import type { Connection, Lease, Network, NodeAddress, Vip } from '#model/network.js';
import type { EventChunk } from '#model/event.js';
import type { Node, NodeFacts, NodeState } from '#model/node.js';
import type { StackRecord } from '#model/stack.js';
import type { EndedTask, Task, TaskStatus, Tombstone } from '#model/task.js';
import type { UpdateRecord } from '#model/update.js';
import type { VolumeRecord } from '#model/volume.js';
import type { Pool } from './pool.js';
import type { Tallies } from './tallies.js';

export interface ClusterState {
  /** Identity of the etcd cluster, '' before the first snapshot. */
  readonly storeId: string;
  readonly revision: number;
  readonly cluster: Cluster | undefined;
  /** Id of the leading controller. */
  readonly leader: string | undefined;
  readonly pool: Pool;
  readonly controllers: ReadonlyMap<string, ControllerRecord>;
  readonly tokens: ReadonlyMap<string, Token>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly nodeStates: ReadonlyMap<string, NodeState>;
  /** Nodes whose agent is attached to some controller now → the id of that controller. */
  readonly sessions: ReadonlyMap<string, string>;
  /** Controllers that are alive now. */
  readonly controllerSessions: ReadonlySet<string>;
  /** Controllers that were removed for good. */
  readonly removedControllers: ReadonlySet<string>;
  readonly stacks: ReadonlyMap<string, StackRecord>;
  readonly networks: ReadonlyMap<string, Network>;
  /** Network name → id. */
  readonly networkNames: ReadonlyMap<string, string>;
  /** Network id → address → lease. An unreadable lease still holds its address. */
  readonly leases: ReadonlyMap<string, ReadonlyMap<string, Lease>>;
  /** Network id → `stack/service` → VIP. */
  readonly vips: ReadonlyMap<string, ReadonlyMap<string, Vip>>;
  /** Network id → node id → address. */
  readonly nodeAddresses: ReadonlyMap<string, ReadonlyMap<string, NodeAddress>>;
  /** Stack → `service/slot/network` → what a command said about its networks. */
  readonly connections: ReadonlyMap<string, ReadonlyMap<string, Connection>>;
  readonly tasks: ReadonlyMap<string, Task>;
  /** `stack/service/slot` → task id; `stack/service/slot/next` → that of the task that is to take it over. */
  readonly slots: ReadonlyMap<string, string>;
  readonly statuses: ReadonlyMap<string, TaskStatus>;
  /** Tasks that are gone, by id. */
  readonly ended: ReadonlyMap<string, EndedTask>;
  /** Task id → id of the node that its successor is to be on: a command moves it. */
  readonly moves: ReadonlyMap<string, string>;
  /** `stack/service` → how far its update is. */
  readonly updates: ReadonlyMap<string, UpdateRecord>;
  /** Node id → task id → tombstone. */
  readonly tombstones: ReadonlyMap<string, ReadonlyMap<string, Tombstone>>;
  /** Number of a chunk, with zeros before it → events, oldest first. */
  readonly events: ReadonlyMap<string, EventChunk>;
  /** Controller id → how far its nodes are. */
  readonly confirmations: ReadonlyMap<string, Confirmation>;
  /** Ids of the tasks that drain before they stop, or an endpoint of which does before it goes. */
  readonly draining: ReadonlySet<string>;
  /** By name. */
  readonly volumes: ReadonlyMap<string, VolumeRecord>;
  /** `kind/id` → what is known of a content. */
  readonly contents: ReadonlyMap<string, ContentRecord>;
  /** `kind/name` → config or secret of no stack. */
  readonly namedContents: ReadonlyMap<string, NamedContent>;
  /** Keys whose value could not be read, and why. They are left alone. */
  readonly corrupt: ReadonlyMap<string, string>;
  /** The history of a slot, oldest first. */
  endedOf(stack: string, service: string, slot: number): EndedTask[];
  tasksOfNode(nodeId: string): Task[];
  tasksOfService(stack: string, service: string): Task[];
  tasksOfNetwork(networkId: string): Task[];
  tasksOfStack(stack: string): Task[];
  /** Stacks that have tasks, whether they are there or not. */
  stacksWithTasks(): Iterable<string>;
  /** Ids of the nodes that say that they have an image. @param mark markOfImage */
  holdersOf(mark: string): ReadonlySet<string>;
  /** The node of a number. */
  nodeOfIndex(index: number): Node | undefined;
  readonly tallies: Tallies;
  /** modRevision of a key, 0 when it is not there. */
  revisionOf(key: string): number;
}

export const serviceKey = (stack: string, service: string): string => `${stack}/${service}`;
export const slotKey = (stack: string, service: string, slot: number): string => `${stack}/${service}/${slot}`;
export const nextKey = (stack: string, service: string, slot: number): string => `${slotKey(stack, service, slot)}/next`;
