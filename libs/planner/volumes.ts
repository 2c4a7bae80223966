/**
 * Named volumes are on one node, and whoever mounts them is there, too: two services, or two replicas, that mount one volume
 * see the same files, as on a single host. Where it is, is on record: a task does not begin elsewhere with an empty one. A volume
 * that is the same wherever it is mounted (nfs) is on no node.
 */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Node } from '#model/node.js';
import type { MountWish, Service, Stack, StackRecord, VolumeWish } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { VolumeRecord } from '#model/volume.js';
import { describeVolumeOptions, isShared, type VolumeOptions } from '#model/volume-options.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { standingOf } from './schedule.js';
import { isGlobal } from '#model/service-mode.js';
import { sameValue } from './spec-hash.js';
import type { Unit } from './transaction.js';

const isVolume = (mount: MountWish): mount is MountWish & { source: string } => mount.type === 'volume' && !!mount.source;

/** Names of the volumes that a container mounts. */
export const volumesOf = ({ container }: Pick<Task, 'container'>): string[] => [
  ...new Set(container.mounts.filter(isVolume).map((m) => m.source)),
];

/** Of those that are on one node. */
export const localVolumesOf = ({ container }: Pick<Task, 'container'>): string[] => [
  ...new Set(container.mounts.flatMap((m) => (isVolume(m) && !isShared(m.volumeOptions) ? [m.source] : []))),
];

/** Ids of the nodes that have volumes of a service. */
export const homesOf = (state: ClusterState, service: Service): string[] =>
  localVolumesOf(service).flatMap((name) => state.volumes.get(name)?.nodeId ?? []);

/** Whether a mount of a task leads to what only its node has: a directory of the host, a named volume. */
export const isLocalMount = (mount: MountWish): boolean => mount.type === 'bind' || (isVolume(mount) && !isShared(mount.volumeOptions));

/**
 * The stack, with what each mounted volume is a mount of: as the stack itself says, external ones as they are now.
 * @throws NOT_FOUND for an external volume that is not there; CONFLICT for one that is there and is something else
 */
export function resolveVolumes(state: ClusterState, stack: Stack): Stack {
  const options = new Map(Object.values(stack.volumes).map((wish) => [wish.name, optionsOf(state, stack, wish)]));
  const resolve = (mount: MountWish): MountWish => {
    // What a service that was kept from before mounts may be declared no more: it is what it was.
    if (!isVolume(mount) || !options.has(mount.source)) return mount;
    const { volumeOptions: _, ...rest } = mount;
    const found = options.get(mount.source);
    return found ? { ...rest, volumeOptions: found } : rest;
  };
  const services = Object.entries(stack.services).map(([name, service]): [string, Service] => {
    if (!service.container.mounts.some(isVolume)) return [name, service];
    return [name, { ...service, container: { ...service.container, mounts: service.container.mounts.map(resolve) } }];
  });
  return { ...stack, services: Object.fromEntries(services) };
}

function optionsOf(state: ClusterState, stack: Stack, { key, name, external, options }: VolumeWish): VolumeOptions | undefined {
  const known = state.volumes.get(name);
  if (external && !known)
    throw new WeftError('NOT_FOUND', {
      what: `there is no volume ${name}, which stack ${stack.name} calls external`,
      hint: `Make it with \`ctl volume create ${name}\`.`,
      path: ['volumes', key],
    });
  if (external || !known || sameValue(known.options ?? null, options ?? null)) return external ? known?.options : options;
  throw new WeftError('CONFLICT', {
    what: `there is a volume ${name} already, and it is another one than stack ${stack.name} says`,
    why: `it is ${describe(known.options)}, the file says ${describe(options)}`,
    hint: `Give it another name, or remove it with its data: \`ctl down\`, then \`ctl volume rm ${name}\`.`,
    path: ['volumes', key],
  });
}

const describe = (options: VolumeOptions | undefined): string =>
  options ? describeVolumeOptions(options) : 'a directory of its node (no driver_opts)';

export interface VolumeRow {
  name: string;
  stack: string;
  /** '' while no task that mounts it was placed. */
  node: string;
  nodeState: string;
  labels: Record<string, string>;
  /** `stack/service` of those that mount it. */
  users: string[];
  createdAt: number;
}

/** `stack/service` of the services that mount a volume. */
export const usersOfVolume = (state: ClusterState, name: string): string[] =>
  [...state.stacks.values()]
    .flatMap(({ spec }) => Object.values(spec.services).map((service) => ({ spec, service })))
    .filter(({ service }) => volumesOf(service).includes(name))
    .map(({ spec, service }) => serviceKey(spec.name, service.name))
    .sort();

export const volumeRows = (state: ClusterState): VolumeRow[] =>
  [...state.volumes.values()]
    .map(({ name, stack, nodeId, labels, createdAt }): VolumeRow => {
      const node = nodeId === undefined ? undefined : state.nodes.get(nodeId);
      const nodeState = nodeId === undefined ? '' : node ? standingOf(state, nodeId) : 'removed';
      return { name, stack, node: node?.name ?? nodeId ?? '', nodeState, labels, users: usersOfVolume(state, name), createdAt };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));

/** Where volumes are, kept while a plan places more. */
export class VolumeHomes {
  readonly #state: ClusterState;
  /** Claimed by earlier units of this plan: volume → node id; undefined for one of no node. */
  readonly #claimed = new Map<string, string | undefined>();

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /**
   * The node that has the volumes of a service; undefined where there are none yet. A text: why no node has them all.
   * @param before the task that is replaced: where that had them, they are
   */
  homeOf(service: Service, before: Task | undefined): Node | string | undefined {
    if (isGlobal(service)) return undefined;
    const names = localVolumesOf(service);
    const last = before && localVolumesOf(before).some((name) => names.includes(name)) ? this.#state.nodes.get(before.nodeId) : undefined;
    if (last) return last;
    const homes = new Map<string, string>();
    for (const name of names) {
      const nodeId = this.#nodeOf(name);
      if (nodeId !== undefined && !homes.has(nodeId)) homes.set(nodeId, name);
    }
    const [first, second] = homes;
    if (!first) return undefined;
    if (second) return `volume ${first[1]} is on node ${this.#nameOf(first[0])}, volume ${second[1]} on node ${this.#nameOf(second[0])}`;
    return (
      this.#state.nodes.get(first[0]) ??
      `volume ${first[1]} was on a node that is not in the cluster any more; \`ctl volume rm --force ${first[1]}\` gives it up for lost`
    );
  }

  /** Writes down that the volumes of a task are on its node, where nothing is on record; of those of no node, that they are there. */
  claim(task: Task, service: Service, stack: StackRecord | undefined, now: number, unit: Unit): void {
    if (isGlobal(service)) return;
    const local = new Set(localVolumesOf(task));
    for (const name of volumesOf(task)) {
      const key = keys.volume(name);
      const known = this.#state.volumes.get(name);
      const nodeId = local.has(name) ? task.nodeId : undefined;
      // What an earlier unit of this plan writes has to have been written.
      if (this.#claimed.has(name)) unit.compares.push({ key, exists: true });
      if (this.#claimed.has(name) || known?.nodeId !== undefined || (known && nodeId === undefined)) continue;
      const wish = Object.values(stack?.spec.volumes ?? {}).find((v) => v.name === name);
      const record: VolumeRecord = known ?? {
        name,
        stack: task.stack,
        labels: wish?.labels ?? {},
        createdAt: now,
        ...(wish?.options ? { options: wish.options } : {}),
      };
      unit.compares.push({ key, modRevision: this.#state.revisionOf(key) });
      unit.writes.push({ put: key, value: encode({ ...record, ...(nodeId === undefined ? {} : { nodeId }) }) });
      this.#claimed.set(name, nodeId);
    }
  }

  #nodeOf(name: string): string | undefined {
    return this.#claimed.get(name) ?? this.#state.volumes.get(name)?.nodeId;
  }

  #nameOf(nodeId: string): string {
    return this.#state.nodes.get(nodeId)?.name ?? nodeId;
  }
}
