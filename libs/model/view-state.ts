/**
 * A node's view held in memory: the resources by key, sorted into kinds. Pure: every change returns a new state.
 *
 * `judge` is the safety catch of the whole system: an agent believes a snapshot or delta only if it comes from the cluster
 * it knows, is not older than what it has, and explains every task that is gone. So an emptied or wrongly restored etcd
 * cannot wipe a node.
 */
import type {
  EndpointView,
  Member,
  NameRecord,
  NetworkView,
  Publication,
  Resource,
  Settings,
  ViewDelta,
  ViewSnapshot,
  VipView,
} from './node-view.js';
import { resourceKey, settingsSchema } from './node-view.js';
import type { Task } from './task.js';

export interface NodeView {
  /** '' until the first snapshot. */
  readonly clusterId: string;
  readonly revision: number;
  readonly resources: ReadonlyMap<string, Resource>;
}

export const emptyView: NodeView = { clusterId: '', revision: 0, resources: new Map() };

export function applySnapshot(snapshot: ViewSnapshot): NodeView {
  return {
    clusterId: snapshot.clusterId,
    revision: snapshot.revision,
    resources: new Map(snapshot.resources.map((r) => [resourceKey(r), r])),
  };
}

export function applyDelta(view: NodeView, delta: ViewDelta): NodeView {
  const resources = new Map(view.resources);
  for (const key of delta.removals) resources.delete(key);
  for (const resource of delta.upserts) resources.set(resourceKey(resource), resource);
  return { clusterId: delta.clusterId, revision: delta.revision, resources };
}

/** The snapshot that makes this view again: what is kept on disk. */
export const toSnapshot = (view: NodeView): ViewSnapshot => ({
  clusterId: view.clusterId,
  revision: view.revision,
  resources: [...view.resources.values()],
  tombstones: [],
});

export type Judgement = { believe: true } | { believe: false; reason: string };

/** Whether a node that holds `current` may take `next` for the truth. */
export function judge(current: NodeView, next: ViewSnapshot | ViewDelta): Judgement {
  if (current.clusterId === '') return { believe: true };
  if (next.clusterId !== current.clusterId) {
    return { believe: false, reason: `the controller speaks for cluster ${next.clusterId}, this node belongs to ${current.clusterId}` };
  }
  if (next.revision < current.revision) {
    return {
      believe: false,
      reason: `the controller's state is older (revision ${next.revision}) than this node's (revision ${current.revision})`,
    };
  }
  const explained = new Set(next.tombstones.map((t) => t.taskId));
  const unexplained = missingTasks(current, next).filter((id) => !explained.has(id));
  if (unexplained.length === 0) return { believe: true };
  return {
    believe: false,
    reason: `${unexplained.length} running task(s) are gone without a recorded reason, ${unexplained[0]} among them`,
  };
}

function missingTasks(current: NodeView, next: ViewSnapshot | ViewDelta): string[] {
  if ('removals' in next) {
    return next.removals.filter((key) => key.startsWith('task/') && current.resources.has(key)).map((key) => key.slice('task/'.length));
  }
  const there = new Set(next.resources.map(resourceKey));
  return [...current.resources.keys()].filter((key) => key.startsWith('task/') && !there.has(key)).map((key) => key.slice('task/'.length));
}

/** The view by kind. */
export interface ViewByKind {
  tasks: Task[];
  networks: NetworkView[];
  endpoints: EndpointView[];
  names: NameRecord[];
  vips: VipView[];
  publications: Publication[];
  members: Member[];
  settings: Settings;
}

/** Of a view that tells of none. */
const NO_SETTINGS = settingsSchema.parse({});

export function byKind(view: NodeView): ViewByKind {
  const out: ViewByKind = {
    tasks: [],
    networks: [],
    endpoints: [],
    names: [],
    vips: [],
    publications: [],
    members: [],
    settings: NO_SETTINGS,
  };
  for (const r of view.resources.values()) {
    switch (r.kind) {
      case 'task':
        out.tasks.push(r.value);
        break;
      case 'network':
        out.networks.push(r.value);
        break;
      case 'endpoint':
        out.endpoints.push(r.value);
        break;
      case 'name':
        out.names.push(r.value);
        break;
      case 'vip':
        out.vips.push(r.value);
        break;
      case 'publication':
        out.publications.push(r.value);
        break;
      case 'member':
        out.members.push(r.value);
        break;
      case 'settings':
        out.settings = r.value;
        break;
    }
  }
  return out;
}
