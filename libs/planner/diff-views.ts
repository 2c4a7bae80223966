/**
 * What nodes are told, as text, in parts that nodes share: a part is made once for all who are told it, and so is what changes
 * from one of its states to the next.
 */
import { encode } from '#model/codec.js';
import { resourceKey, type Resource } from '#model/node-view.js';

/** A resource as it travels. The same object goes to every node. */
export interface Document {
  readonly json: string;
}

export interface PartDifference {
  readonly upserts: readonly Document[];
  /** Keys that are gone. */
  readonly removals: readonly string[];
}

const NOTHING: PartDifference = { upserts: [], removals: [] };

export class Part {
  /** Resource key → document. */
  readonly entries: ReadonlyMap<string, Document>;
  readonly #since = new WeakMap<Part, PartDifference>();
  #whole: PartDifference | undefined;

  private constructor(entries: ReadonlyMap<string, Document>) {
    this.entries = entries;
  }

  /** @returns `before` itself when it says the same; else documents that did not change are those of `before` */
  static of(resources: readonly Resource[], before?: Part): Part {
    const entries = new Map<string, Document>();
    let isNew = before === undefined;
    for (const resource of resources) {
      const key = resourceKey(resource);
      const known = before?.entries.get(key);
      const document = documentOf(resource);
      const isSame = known?.json === document.json;
      isNew ||= !isSame;
      entries.set(key, isSame ? known : document);
    }
    return before && !isNew && before.entries.size === entries.size ? before : new Part(entries);
  }

  /** What changes from an earlier state of this part, or from nothing, to this one: worked out once for all who were told the earlier one. */
  differenceFrom(before: Part | undefined): PartDifference {
    if (before === this) return NOTHING;
    if (!before) return (this.#whole ??= { upserts: [...this.entries.values()], removals: [] });
    let known = this.#since.get(before);
    if (!known) this.#since.set(before, (known = difference(before.entries, this.entries)));
    return known;
  }
}

/** Records of tasks are large, never changed but replaced, and looked at whenever anything on their node changes. */
const ofTasks = new WeakMap<object, Document>();

function documentOf(resource: Resource): Document {
  if (resource.kind !== 'task') return { json: encode(resource) };
  let document = ofTasks.get(resource.value);
  if (!document) ofTasks.set(resource.value, (document = { json: encode(resource) }));
  return document;
}

function difference(before: ReadonlyMap<string, Document>, next: ReadonlyMap<string, Document>): PartDifference {
  const upserts = [...next].flatMap(([key, document]) => (before.get(key)?.json === document.json ? [] : [document]));
  return { upserts, removals: [...before.keys()].filter((key) => !next.has(key)) };
}

/** Everything one node is told: name of a part → the part. No two parts have resources of the same key. */
export type View = ReadonlyMap<string, Part>;

export const EMPTY_VIEW: View = new Map();

export interface ViewDifference {
  upserts: Document[];
  /** Keys that are gone. */
  removals: string[];
}

/** The difference of two views of a node, as a delta carries it. */
export function diffViews(before: View, next: View): ViewDifference {
  const out: ViewDifference = { upserts: [], removals: [] };
  for (const [name, part] of next) {
    const { upserts, removals } = part.differenceFrom(before.get(name));
    for (const document of upserts) out.upserts.push(document);
    for (const key of removals) out.removals.push(key);
  }
  for (const [name, part] of before) if (!next.has(name)) out.removals.push(...part.entries.keys());
  return out;
}
