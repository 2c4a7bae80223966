/**
 * Paths of nodes that a stack mounts: which nodes have to be asked for which before anything starts, and what the answers mean.
 * A directory that is missing is never made in silence.
 */
import { WeftError } from '#base/errors.js';
import { isGlobal } from '#model/service-mode.js';
import type { MountWish, Service, Stack } from '#model/stack.js';
import type { Node } from '#model/node.js';
import type { ClusterState } from './cluster-state.js';
import { isBoundToNode } from './dead-nodes.js';
import { mismatchOf } from './node-filters.js';
import { refusalOf } from './schedule.js';
import { sameValue } from './spec-hash.js';
import { homesOf } from './volumes.js';

/** What has to be at a path on each of some nodes. */
interface Need {
  service: string;
  path: string;
  /** A directory; anything that is there if not. */
  directory: boolean;
  /** It is made where it is missing. */
  made: boolean;
  nodes: readonly Node[];
}

/** What was found: node id → path → kind; of nodes that could not be asked: why. */
export interface FoundPaths {
  kinds: ReadonlyMap<string, ReadonlyMap<string, string>>;
  unasked: ReadonlyMap<string, string>;
}

/** Needs of services that are new or change: those of others were met. */
export function pathNeeds(state: ClusterState, stack: Stack): Need[] {
  const record = state.stacks.get(stack.name);
  const before = record && !record.removing ? record.spec.services : {};
  return Object.values(stack.services).flatMap((service) => {
    const wanted = service.container.mounts.flatMap((mount) => needOf(mount) ?? []);
    if (wanted.length === 0 || (service.replicas === 0 && !isGlobal(service)) || sameValue(before[service.name] ?? null, service))
      return [];
    const nodes = nodesFor(state, stack.name, service, before[service.name]);
    return wanted.map((need) => ({ ...need, service: service.name, nodes }));
  });
}

function needOf({ type, source, volumeOptions, createHostPath }: MountWish): Pick<Need, 'path' | 'directory' | 'made'> | undefined {
  if (type === 'bind' && source !== undefined) return { path: source, directory: false, made: createHostPath ?? false };
  return volumeOptions?.type === 'none' ? { path: volumeOptions.device, directory: true, made: false } : undefined;
}

/** Every node that a task of the service could go to: where its data is, if it has some; else all that suit it and take tasks. */
function nodesFor(state: ClusterState, stack: string, service: Service, before: Service | undefined): Node[] {
  const able = [...state.nodes.values()].filter(
    (node) => refusalOf(state, node) === undefined && mismatchOf(state, node, service) === undefined,
  );
  if (isGlobal(service)) return able;
  const tasks = state.tasksOfService(stack, service.name).filter((task) => !task.orphan);
  const stay = before !== undefined && isBoundToNode(before) && tasks.length >= service.replicas;
  const homes = new Set([...homesOf(state, service), ...(stay ? tasks.map((task) => task.nodeId) : [])]);
  return homes.size === 0 ? able : able.filter((node) => homes.has(node.id));
}

/** Node id → the paths it has to be asked for. */
export function pathsByNode(needs: readonly Need[]): Map<string, { node: Node; paths: string[] }> {
  const asked = new Map<string, { node: Node; paths: Set<string> }>();
  for (const { path, nodes } of needs)
    for (const node of nodes) {
      const one = asked.get(node.id) ?? { node, paths: new Set() };
      asked.set(node.id, one);
      one.paths.add(path);
    }
  return new Map([...asked].map(([id, { node, paths }]) => [id, { node, paths: [...paths] }]));
}

/**
 * Service → what is made for it, as its plan says it.
 * @throws UNAVAILABLE naming the nodes that did not answer; NOT_FOUND naming the paths, and the nodes that do not have them
 */
export function judgePaths(stack: string, needs: readonly Need[], { kinds, unasked }: FoundPaths): Map<string, string[]> {
  const silent = [...new Set(needs.flatMap(({ nodes }) => nodes.filter((node) => unasked.has(node.id))))];
  if (silent.length > 0)
    throw new WeftError('UNAVAILABLE', {
      what: `it cannot be told whether the paths that stack ${stack} mounts are there`,
      why: silent.map((node) => `node ${node.name} does not answer: ${unasked.get(node.id) ?? ''}`).join('; '),
      hint: 'See to the node, or keep tasks away from it with `ctl node pause`.',
    });
  const faults: string[] = [];
  const made = new Map<string, string[]>();
  for (const { service, path, directory, made: isMade, nodes } of needs) {
    const kindAt = (node: Node) => kinds.get(node.id)?.get(path) ?? 'missing';
    const missing = namesOf(nodes.filter((node) => kindAt(node) === 'missing'));
    const wrong = directory ? namesOf(nodes.filter((node) => kindAt(node) === 'other')) : '';
    if (missing !== '' && isMade)
      made.set(service, [...(made.get(service) ?? []), `${path} is not there on ${missing}: the directory is made where a task mounts it`]);
    else if (missing !== '') faults.push(`service ${service}: there is no ${path} on ${missing}`);
    if (wrong !== '') faults.push(`service ${service}: ${path} is no directory on ${wrong}`);
  }
  if (faults.length === 0) return made;
  throw new WeftError('NOT_FOUND', {
    what: `stack ${stack} mounts paths that are not there on every node that could run it; nothing was changed`,
    why: faults.join('; '),
    hint: 'Make them there, keep the service to nodes that have them (deploy.placement.constraints), or say create_host_path: true.',
  });
}

const namesOf = (nodes: readonly Node[]): string =>
  nodes
    .map((node) => node.name)
    .sort()
    .join(', ');
