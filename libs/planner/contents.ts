/**
 * Configs, secrets and trees: which ones a stack refers to, and which nobody refers to any more. References are not counted:
 * they are read off stacks (what they were before included), tasks and names, whenever something is to be deleted.
 */
import { WeftError } from '#base/errors.js';
import { CONTENT_GRACE_MS, contentKey, type ContentKind, type ContentRecord, type FileKind } from '#model/content.js';
import { chunkKeys, keys, splitKey } from '#model/keys.js';
import type { ContainerWish, FileWish, Service, Stack, StackRecord } from '#model/stack.js';
import type { ClusterState } from './cluster-state.js';
import type { Compare, Unit, Write } from './transaction.js';

/** Contents deleted in one transaction. */
const MAX_DELETED = 30;

export interface ContentReference {
  kind: ContentKind;
  id: string;
}

/** What one container needs to have on its node. */
export function contentsOf({
  files = [],
  mounts = [],
}: Pick<ContainerWish, 'files'> & Partial<Pick<ContainerWish, 'mounts'>>): ContentReference[] {
  return [
    ...files.flatMap(({ kind, contentId }) => (contentId === undefined ? [] : [{ kind, id: contentId }])),
    ...mounts.flatMap(({ contentId }) => (contentId === undefined ? [] : [{ kind: 'tree' as const, id: contentId }])),
  ];
}

const keysOfServices = (services: Readonly<Record<string, Service>> = {}): string[] =>
  Object.values(services).flatMap(({ container }) => contentsOf(container).map(({ kind, id }) => contentKey(kind, id)));

const keysOfRecord = (record: StackRecord): string[] => [...keysOfServices(record.spec.services), ...keysOfServices(record.previous)];

/**
 * The stack with the content of each file: as the stack's own `configs` and `secrets` say, external ones as they are now.
 * @throws NOT_FOUND for an external one that is not there; BAD_VALUE
 */
export function resolveFiles(state: ClusterState, stack: Stack): Stack {
  const configs = resolveWishes(state, stack, 'config');
  const secrets = resolveWishes(state, stack, 'secret');
  const wishes = { config: configs, secret: secrets };
  const services = Object.entries(stack.services).map(([name, service]): [string, Service] => {
    const { files, mounts } = service.container;
    const unsent = mounts.find((mount) => mount.type === 'tree' && mount.contentId === undefined);
    if (unsent) throw new WeftError('BAD_VALUE', `the content of ${unsent.source} was not sent before the stack`);
    if (!files) return [name, service];
    const resolved = files.map((file) => {
      const wish = wishes[file.kind]?.[file.source];
      if (!wish) throw new WeftError('BAD_VALUE', `service ${name} uses the ${file.kind} ${file.source}, which the stack does not declare`);
      if (wish.contentId === undefined)
        throw new WeftError('BAD_VALUE', `the content of the ${file.kind} ${file.source} was not sent before the stack`);
      return { ...file, contentId: wish.contentId };
    });
    return [name, { ...service, container: { ...service.container, files: resolved } }];
  });
  return { ...stack, services: Object.fromEntries(services), ...(configs ? { configs } : {}), ...(secrets ? { secrets } : {}) };
}

function resolveWishes(state: ClusterState, stack: Stack, kind: FileKind): Record<string, FileWish> | undefined {
  const wishes = stack[`${kind}s`];
  if (!wishes) return undefined;
  const resolved = Object.entries(wishes).map(([key, wish]): [string, FileWish] => {
    if (!wish.external) return [key, wish];
    const found = state.namedContents.get(`${kind}/${wish.name}`);
    if (found) return [key, { ...wish, contentId: found.contentId }];
    throw new WeftError('NOT_FOUND', {
      what: `there is no ${kind} ${wish.name}, which stack ${stack.name} calls external`,
      hint: `Make it with \`ctl ${kind === 'config' ? 'configs' : kind} create ${wish.name} FILE\`.`,
      path: [`${kind}s`, key],
    });
  });
  return Object.fromEntries(resolved);
}

/**
 * What a stored stack's new references to content ask of its transaction: that none of it is deleted at the same time.
 * @param before as it is stored now
 */
export function referTo(state: ClusterState, stack: Stack, before: StackRecord | undefined): { compares: Compare[]; writes: Write[] } {
  const known = new Set(before ? keysOfRecord(before) : []);
  if (keysOfServices(stack.services).every((key) => known.has(key))) return { compares: [], writes: [] };
  return poolChange(state);
}

/** Changes that meet here are told of one another. */
function poolChange(state: ClusterState): { compares: Compare[]; writes: Write[] } {
  const key = keys.contentPool();
  return { compares: [{ key, modRevision: state.revisionOf(key) }], writes: [{ put: key, value: String(state.revision) }] };
}

/** @throws CONFLICT when the store does not hold all that the stack's tasks will ask for */
export function requireContents(state: ClusterState, stack: Stack): void {
  const missing = keysOfServices(stack.services).filter((key) => state.contents.get(key)?.state !== 'whole');
  if (missing.length === 0) return;
  const kinds = [...new Set(missing.map((key) => key.split('/')[0]))].join(' and ');
  throw new WeftError('CONFLICT', {
    what: `stack ${stack.name} cannot be stored`,
    why: `the content of ${missing.length} of its files (${kinds}) is not in the cluster, or not any more`,
  });
}

function referred(state: ClusterState): Set<string> {
  const found = new Set<string>();
  for (const record of state.stacks.values()) for (const key of keysOfRecord(record)) found.add(key);
  for (const task of state.tasks.values()) for (const { kind, id } of contentsOf(task.container)) found.add(contentKey(kind, id));
  for (const { kind, contentId } of state.namedContents.values()) found.add(contentKey(kind, contentId));
  return found;
}

const REFERRING: ReadonlySet<string> = new Set(['stacks', 'tasks', 'named-contents']);

/** Everything that may refer to content can be read. */
const isCertain = (state: ClusterState): boolean => ![...state.corrupt.keys()].some((key) => REFERRING.has(splitKey(key)?.[0] ?? ''));

/** Deletes content that nothing refers to, and that no `up` asked for lately. */
export function unusedContents(state: ClusterState, now: number): Unit[] {
  const old = [...state.contents.values()].filter((c) => c.touchedAt + CONTENT_GRACE_MS <= now);
  if (old.length === 0 || !isCertain(state)) return [];
  const used = referred(state);
  const unused = old.filter(({ kind, id }) => !used.has(contentKey(kind, id))).slice(0, MAX_DELETED);
  if (unused.length === 0) return [];
  const pool = poolChange(state);
  return [
    {
      what: `delete ${unused.length} contents`,
      compares: [...unused.map(({ kind, id }) => asKnown(state, kind, id)), ...pool.compares],
      writes: [...unused.flatMap(deletion), ...pool.writes],
    },
  ];
}

function asKnown(state: ClusterState, kind: ContentKind, id: string): Compare {
  const key = keys.content(kind, id);
  return { key, modRevision: state.revisionOf(key) };
}

const deletion = ({ kind, id }: ContentRecord): Write[] => [{ delete: keys.content(kind, id) }, { deletePrefix: chunkKeys.of(kind, id) }];

/** When content may next be deleted although nothing changes: milliseconds since 1970, Infinity for never. */
export function nextContentAt(state: ClusterState, now: number): number {
  let next = Infinity;
  for (const { touchedAt } of state.contents.values()) {
    const end = touchedAt + CONTENT_GRACE_MS;
    if (end > now) next = Math.min(next, end);
  }
  return next;
}
