/** Where a service's tasks may run: deploy.mode, deploy.placement, platform. */
import { isAttribute, parseConstraint } from '#model/constraint.js';
import { isNull, itemsOf, readInteger, readString, reject, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { objectAt } from './key-table.js';
import { DEPLOY } from './key-table-parts.js';
import { readByTable, type KeyTable } from './read-by-table.js';

type Placement = NonNullable<ServiceDraft['placement']>;

const MAX_PER_NODE = 10_000;
const PLACEMENT = objectAt(DEPLOY, 'placement');

const PLACEMENT_KEYS: KeyTable<Placement> = {
  shape: PLACEMENT,
  keys: {
    constraints: (c, field, placement) => void (placement.constraints = readConstraints(c, field)),
    preferences: (c, field, placement) => {
      if (!isNull(field.value)) for (const item of itemsOf(c, field) ?? []) readByTable(c, item, PREFERENCE_KEYS, placement);
    },
    max_replicas_per_node: (c, field, placement) => {
      // 0 is Docker's way to say: as many as there are.
      const most = readInteger(c, field, 0, MAX_PER_NODE);
      placement.maxReplicasPerNode = most === 0 ? undefined : most;
    },
  },
};

const PREFERENCE_KEYS: KeyTable<Placement> = {
  shape: objectAt(PLACEMENT, 'preferences'),
  keys: {
    spread: (c, field, placement) => {
      const text = readString(c, field, 'an attribute of nodes like node.labels.zone');
      if (text === undefined) return;
      if (isAttribute(text)) placement.spread.push(text);
      else reject(c, field, `nodes have no attribute ${quote(text)}`, 'spread over node.labels.NAME');
    },
  },
};

function readConstraints(c: Context, field: Field): string[] {
  if (isNull(field.value)) return [];
  return (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readString(c, item, 'a constraint like node.labels.disk == ssd');
    if (text === undefined) return [];
    const parsed = parseConstraint(text);
    if (parsed.ok) return [text];
    reject(c, item, `${quote(text)} is no constraint: ${parsed.why}`);
    return [];
  });
}

export function readPlacement(c: Context, field: Field, service: ServiceDraft): void {
  if (isNull(field.value)) return;
  const placement: Placement = { constraints: [], spread: [] };
  readByTable(c, field, PLACEMENT_KEYS, placement);
  if (placement.constraints.length + placement.spread.length > 0 || placement.maxReplicasPerNode !== undefined)
    service.placement = placement;
}

/** Variants that are what the architecture is without one (containerd, platforms). */
const PLAIN_VARIANTS: readonly string[] = ['arm64/v8', 'amd64/v1'];

/** `os/arch[/variant]`; nodes do not tell variants apart. */
export function readPlatform(c: Context, field: Field): string | undefined {
  const text = readString(c, field, 'a platform like linux/amd64');
  if (text === undefined) return undefined;
  const [, platform, arch = '', variant] = /^([a-z0-9]+\/([a-z0-9_]+))(?:\/([a-z0-9.]+))?$/.exec(text) ?? [];
  if (platform === undefined) return void reject(c, field, `expected OS/ARCH like linux/amd64, found ${quote(text)}`);
  if (variant === undefined || PLAIN_VARIANTS.includes(`${arch}/${variant}`)) return platform;
  return void reject(
    c,
    field,
    `nodes do not tell variants of a platform apart, found ${quote(text)}`,
    `say ${platform}, or label the nodes`,
  );
}
