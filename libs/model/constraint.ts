/**
 * Placement constraints, as in Docker (`docker service create --constraint`): `node.labels.disk == ssd`. Parsed where the file
 * is read, so that a bad one is refused with its place, and again where tasks are placed.
 */
import { parseSubnet, subnetHas } from '#base/ip.js';

export interface Constraint {
  /** `node.id`, `node.labels.disk`, … */
  attribute: string;
  equal: boolean;
  value: string;
}

/** What a constraint looks at. A node has several names: its own in the cluster, and its host's. */
export interface NodeAttributes {
  id: string;
  hostnames: readonly string[];
  /** As Docker calls them: manager where a controller runs, worker elsewhere. */
  role: 'manager' | 'worker';
  os: string;
  arch: string;
  address: string;
  labels: Readonly<Record<string, string>>;
}

export type ParsedConstraint = { ok: true; constraint: Constraint } | { ok: false; why: string };

const FORM = /^\s*([^\s=!]+)\s*(==|!=)\s*(.*?)\s*$/;
const VALUE = /^[\w.:/@+ -]{1,256}$/;
const LABEL = /^node\.labels\.[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
export const ATTRIBUTES = ['node.id', 'node.hostname', 'node.role', 'node.platform.os', 'node.platform.arch', 'node.ip'] as const;

export const isAttribute = (text: string): boolean => (ATTRIBUTES as readonly string[]).includes(text) || LABEL.test(text);

export function parseConstraint(text: string): ParsedConstraint {
  const [, attribute = '', operator, value = ''] = FORM.exec(text) ?? [];
  if (operator === undefined) return { ok: false, why: 'expected ATTRIBUTE == VALUE or ATTRIBUTE != VALUE' };
  if (!isAttribute(attribute))
    return { ok: false, why: `nodes have no attribute ${attribute}: there are ${ATTRIBUTES.join(', ')} and node.labels.NAME` };
  if (!VALUE.test(value)) return { ok: false, why: 'the value is missing, or has characters that no attribute has' };
  if (attribute === 'node.role' && value !== 'manager' && value !== 'worker') return { ok: false, why: 'a role is manager or worker' };
  if (attribute === 'node.ip' && !isRange(value)) return { ok: false, why: `${value} is neither an address nor a subnet` };
  return { ok: true, constraint: { attribute, equal: operator === '==', value } };
}

const asRange = (text: string): string => (text.includes('/') ? text : `${text}/32`);

function isRange(text: string): boolean {
  try {
    return parseSubnet(asRange(text)).family === 4;
  } catch {
    return false;
  }
}

/** Values of an attribute on a node; none where it has no such label. Platform names as Docker's and uname's. */
export function valuesOf(node: NodeAttributes, attribute: string): readonly string[] {
  switch (attribute) {
    case 'node.id':
      return [node.id];
    case 'node.hostname':
      return node.hostnames;
    case 'node.role':
      return [node.role];
    case 'node.platform.os':
      return [node.os];
    case 'node.platform.arch':
      return ARCH_NAMES.find((names) => names.includes(node.arch)) ?? [node.arch];
    case 'node.ip':
      return [node.address];
    default: {
      const label = node.labels[attribute.slice('node.labels.'.length)];
      return label === undefined ? [] : [label];
    }
  }
}

const ARCH_NAMES = [
  ['amd64', 'x86_64'],
  ['arm64', 'aarch64'],
];

/** As Docker compares: without regard to case; what a node does not have is unequal to everything. */
export function meets(node: NodeAttributes, { attribute, equal, value }: Constraint): boolean {
  if (attribute === 'node.ip') return subnetHas(parseSubnet(asRange(value)), node.address) === equal;
  return valuesOf(node, attribute).some((v) => v.toLowerCase() === value.toLowerCase()) === equal;
}
