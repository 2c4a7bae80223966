/**
 * Named volumes are on one node, and whoever mounts them is there, too: two services, or two replicas, that mount one volume
 * see the same files, as on a single host. Where it is, is on record: a task does not begin elsewhere with an empty one.
 */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Node } from '#model/node.js';
import type { Service, Stack, StackRecord } from '#model/stack.js';
import type { Task } from '#model/task.js';
import type { VolumeRecord } from '#model/volume.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { standingOf } from './schedule.js';
import { isGlobal } from '#model/service-mode.js';
import type { Unit } from './transaction.js';

/** Of the volumes that a container mounts. */
export const volumesOf = ({ container }: Pick<Task, 'container'>): string[] => [
  ...new Set(container.mounts.flatMap((m) => (m.type === 'volume' && m.source ? [m.source] : []))),
];

/** @throws NOT_FOUND for an external volume that is not there */
export function checkVolumes(state: ClusterState, stack: Stack): void {
  for (const { name, external } of Object.values(stack.volumes)) {
    if (external && !state.volumes.has(name))
      throw new WeftError('NOT_FOUND', {
        what: `there is no volume ${name}, which stack ${stack.name} calls external`,
        hint: `Make it with \`ctl volume create ${name}\`.`,
      });
  }
}

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
  /** Claimed by earlier units of this plan: volume → node id. */
  readonly #claimed = new Map<string, string>();

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /**
   * The node that has the volumes of a service; undefined where there are none yet. A text: why no node has them all.
   * @param before the task that is replaced: where that had them, they are
   */
  homeOf(service: Service, before: Task | undefined): Node | string | undefined {
    if (isGlobal(service)) return undefined;
    const names = volumesOf(service);
    const last = before && volumesOf(before).some((name) => names.includes(name)) ? this.#state.nodes.get(before.nodeId) : undefined;
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

  /** Writes down that the volumes of a task are on its node, where nothing is on record. */
  claim(task: Task, service: Service, stack: StackRecord | undefined, now: number, unit: Unit): void {
    if (isGlobal(service)) return;
    for (const name of volumesOf(task)) {
      const key = keys.volume(name);
      // What an earlier unit of this plan writes has to have been written.
      if (this.#claimed.has(name)) unit.compares.push({ key, exists: true });
      if (this.#nodeOf(name) !== undefined) continue;
      const wish = Object.values(stack?.spec.volumes ?? {}).find((v) => v.name === name);
      const known = this.#state.volumes.get(name);
      const record: VolumeRecord = known ?? { name, stack: task.stack, labels: wish?.labels ?? {}, createdAt: now };
      unit.compares.push({ key, modRevision: this.#state.revisionOf(key) });
      unit.writes.push({ put: key, value: encode({ ...record, nodeId: task.nodeId }) });
      this.#claimed.set(name, task.nodeId);
    }
  }

  #nodeOf(name: string): string | undefined {
    return this.#claimed.get(name) ?? this.#state.volumes.get(name)?.nodeId;
  }

  #nameOf(nodeId: string): string {
    return this.#state.nodes.get(nodeId)?.name ?? nodeId;
  }
}
