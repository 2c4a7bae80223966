/**
 * Which nodes may have a task of a service, and why the others may not. Every filter has a few words of its own; counted, they
 * are what a person is told: `3 nodes: 1 drained, 2 lack memory`.
 */
import { meets, parseConstraint, valuesOf, type Constraint, type NodeAttributes } from '#model/constraint.js';
import type { Node } from '#model/node.js';
import type { Service } from '#model/stack.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { refusalOf, type Spread } from './schedule.js';

/** A task as the filters see it. */
export interface Applicant {
  stack: string;
  service: Service;
}

export function attributesOf(state: ClusterState, node: Node): NodeAttributes {
  const facts = state.facts.get(node.id);
  const [os = 'linux', arch = ''] = (facts?.platform ?? '').split('/');
  const isManager = [...state.controllers.values()].some((c) => c.address === node.address);
  return {
    id: node.id,
    hostnames: [node.name, ...(facts?.hostname ? [facts.hostname] : [])],
    role: isManager ? 'manager' : 'worker',
    os,
    arch,
    address: node.address,
    labels: node.labels,
  };
}

const constraintsOf = ({ placement }: Service): Constraint[] =>
  (placement?.constraints ?? []).flatMap((text) => {
    const parsed = parseConstraint(text);
    return parsed.ok ? [parsed.constraint] : [];
  });

/** Why a node can never have a task of the service as both are; undefined when it can. */
export function mismatchOf(state: ClusterState, node: Node, service: Service): string | undefined {
  const attributes = attributesOf(state, node);
  const unmet = constraintsOf(service).find((c) => !meets(attributes, c));
  if (unmet) return `not ${unmet.attribute} ${unmet.equal ? '==' : '!='} ${unmet.value}`;
  const [os, arch] = service.container.platform?.split('/') ?? [];
  if (os !== undefined && (attributes.os !== os || (arch !== undefined && !valuesOf(attributes, 'node.platform.arch').includes(arch))))
    return `not ${service.container.platform}`;
  const facts = state.facts.get(node.id);
  const { memoryBytes = 0, nanoCpus = 0 } = service.reservations ?? {};
  // A node whose size is not known is not judged by it.
  if (facts?.memoryBytes && memoryBytes > facts.memoryBytes) return 'too little memory';
  if (facts?.cpus && nanoCpus > facts.cpus * 1e9) return 'too few CPUs';
  return undefined;
}

/**
 * What of a service that no node can run is why, key by key below it: the first demand that no node meets; where each is met by some, all
 * that the file says of placement.
 */
export function unmetDemand(state: ClusterState, service: Service): string[] {
  const { placement, container, reservations = {} } = service;
  const bare: Service = { ...service, placement: undefined, reservations: undefined, container: { ...container, platform: undefined } };
  const demands: [path: string[], part: Partial<Service>][] = [
    ...(placement?.constraints ?? []).map((text, i): [string[], Partial<Service>] => [
      [...PLACEMENT, 'constraints', String(i)],
      { placement: { constraints: [text], spread: [] } },
    ]),
    [['platform'], { container }],
    [[...RESERVATIONS, 'memory'], { reservations: { memoryBytes: reservations.memoryBytes } }],
    [[...RESERVATIONS, 'cpus'], { reservations: { nanoCpus: reservations.nanoCpus } }],
  ];
  const isMet = (part: Partial<Service>) => [...state.nodes.values()].some((n) => mismatchOf(state, n, { ...bare, ...part }) === undefined);
  return demands.find(([, part]) => !isMet(part))?.[0] ?? PLACEMENT;
}

const PLACEMENT = ['deploy', 'placement'];
const RESERVATIONS = ['deploy', 'resources', 'reservations'];

/** What `mismatchOf` asks of nodes, as a text: '' for services that any node suits. */
export function demandsOf({ placement, container, reservations }: Service): string {
  const { memoryBytes = 0, nanoCpus = 0 } = reservations ?? {};
  const constraints = placement?.constraints ?? [];
  if (constraints.length === 0 && container.platform === undefined && memoryBytes === 0 && nanoCpus === 0) return '';
  return JSON.stringify([constraints, container.platform, memoryBytes, nanoCpus]);
}

/** Why a node cannot have a task of the service now; undefined when it can. */
export const refusalFor = (state: ClusterState, spread: Spread, node: Node, applicant: Applicant): string | undefined =>
  refusalOf(state, node) ?? mismatchOf(state, node, applicant.service) ?? fullness(state, spread, node, applicant);

/** What other tasks leave too little of on a node. */
export function fullness(state: ClusterState, spread: Spread, node: Node, { stack, service }: Applicant): string | undefined {
  const most = service.placement?.maxReplicasPerNode;
  if (most !== undefined && spread.countOf(node.id, serviceKey(stack, service.name)) >= most) return `at max_replicas_per_node`;
  const { memoryBytes = 0, nanoCpus = 0 } = service.reservations ?? {};
  if (memoryBytes === 0 && nanoCpus === 0) return undefined;
  const facts = state.facts.get(node.id);
  const used = spread.reservedOn(node.id);
  if (facts?.memoryBytes && memoryBytes > 0 && used.memoryBytes + memoryBytes > facts.memoryBytes) return 'lack memory';
  if (facts?.cpus && nanoCpus > 0 && used.nanoCpus + nanoCpus > facts.cpus * 1e9) return 'lack CPU';
  return undefined;
}

export interface Fit {
  able: Node[];
  /** `3 nodes: 1 drained, 2 lack memory`. */
  explanation: string;
}

/** The nodes that `refuse` says nothing against, and the counted reasons of the others. */
export function sift(nodes: Iterable<Node>, refuse: (node: Node) => string | undefined): Fit {
  const able: Node[] = [];
  const out = new Map<string, number>();
  let total = 0;
  for (const node of nodes) {
    total++;
    const why = refuse(node);
    if (why === undefined) able.push(node);
    else out.set(why, (out.get(why) ?? 0) + 1);
  }
  const reasons = [...out].sort(([a], [b]) => (a < b ? -1 : 1)).map(([why, count]) => `${count} ${why}`);
  return {
    able,
    explanation:
      total === 0 ? 'no node has joined yet' : `${total} node${total === 1 ? '' : 's'}: ${reasons.join(', ') || 'all could take it'}`,
  };
}

/** The nodes by their value of an attribute, and how many tasks of the service each group has. */
export function groupsOf(
  state: ClusterState,
  spread: Spread,
  nodes: readonly Node[],
  attribute: string,
  service: string,
): Map<string, { nodes: Node[]; tasks: number }> {
  const groups = new Map<string, { nodes: Node[]; tasks: number }>();
  for (const node of nodes) {
    const value = valuesOf(attributesOf(state, node), attribute)[0] ?? '';
    const group = groups.get(value) ?? { nodes: [], tasks: 0 };
    groups.set(value, group);
    group.nodes.push(node);
    group.tasks += spread.countOf(node.id, service);
  }
  return groups;
}

/**
 * Of the nodes, those in the groups with the fewest tasks of the service, by one attribute after another (Compose Deploy
 * Specification, `placement.preferences`). Nodes without the label are a group of their own.
 */
export function preferred(state: ClusterState, spread: Spread, nodes: readonly Node[], { stack, service }: Applicant): readonly Node[] {
  const key = serviceKey(stack, service.name);
  let left = nodes;
  for (const attribute of service.placement?.spread ?? []) {
    const fewest = [...groupsOf(state, spread, left, attribute, key)].sort(([a, x], [b, y]) => x.tasks - y.tasks || (a < b ? -1 : 1))[0];
    left = fewest?.[1].nodes ?? [];
  }
  return left;
}
