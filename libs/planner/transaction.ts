/**
 * What a plan wants written: the same shapes as the store's port, so that a transaction can be handed to it as it is
 * (a pure room may not import the store).
 */
export type Compare = { key: string; modRevision: number } | { key: string; createRevision: number } | { key: string; exists: boolean };

export type Write = { put: string; value: string } | { delete: string } | { deletePrefix: string };

/** Writes that belong together, and what must hold for them. */
export interface Unit {
  /** For the log: what this does. */
  what: string;
  compares: Compare[];
  writes: Write[];
}

/** Several units as one transaction. */
export interface Pack extends Unit {
  parts: Unit[];
}

/** Compares and writes of one transaction, each; etcd takes 128, one compare is kept for the leader's fence. */
export const MAX_PACKED_OPS = 120;

const keyOf = (c: Compare): string => JSON.stringify(c);

/**
 * Puts units into as few transactions as etcd's limit allows, in order. A unit may lean on what an earlier one writes
 * (`exists: true`): within one transaction that comparison is left out, since comparisons look at the time before it.
 * A unit that is larger than the limit travels alone.
 */
export function packUnits(units: readonly Unit[], limit = MAX_PACKED_OPS): Pack[] {
  const packed: Pack[] = [];
  let open: Pack | undefined;
  let puts = new Set<string>();
  let seen = new Set<string>();
  for (const unit of units) {
    if (open && (open.writes.length + unit.writes.length > limit || open.compares.length + unit.compares.length > limit)) open = undefined;
    if (!open) {
      open = { what: unit.what, compares: [], writes: [], parts: [] };
      puts = new Set();
      seen = new Set();
      packed.push(open);
    } else open.what = `${open.what}, ${unit.what}`;
    open.parts.push(unit);
    for (const compare of unit.compares) {
      if (seen.has(keyOf(compare)) || ('exists' in compare && compare.exists && puts.has(compare.key))) continue;
      seen.add(keyOf(compare));
      open.compares.push(compare);
    }
    for (const write of unit.writes) {
      if ('put' in write) puts.add(write.put);
      open.writes.push(write);
    }
  }
  return packed;
}
