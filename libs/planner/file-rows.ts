/** Configs and secrets as they are listed: names, sizes, users; nothing of what they hold. */
import { contentKey, type FileKind } from '#model/content.js';
import type { ClusterState } from './cluster-state.js';

export interface FileRow {
  name: string;
  /** '' for one of no stack. */
  stack: string;
  sizeBytes: number;
  labels: Record<string, string>;
  /** Stacks that use it. */
  users: string[];
  createdAt?: number;
  updatedAt?: number;
}

/** Stacks that call it external. */
export const usersOfFile = (state: ClusterState, kind: FileKind, name: string): string[] =>
  [...state.stacks]
    .filter(([, { spec }]) => Object.values(spec[`${kind}s`] ?? {}).some((wish) => wish.external && wish.name === name))
    .map(([stack]) => stack)
    .sort();

export function fileRows(state: ClusterState, kind: FileKind): FileRow[] {
  const named = [...state.namedContents.values()].filter((file) => file.kind === kind);
  const ofNone = named.map(({ name, sizeBytes, labels, createdAt, updatedAt }): FileRow => ({
    name,
    stack: '',
    sizeBytes,
    labels,
    users: usersOfFile(state, kind, name),
    createdAt,
    updatedAt,
  }));
  const ofStacks = [...state.stacks].flatMap(([stack, { spec }]) =>
    Object.values(spec[`${kind}s`] ?? {})
      .filter((wish) => !wish.external)
      .map(({ name, labels, contentId = '' }): FileRow => {
        const sizeBytes = state.contents.get(contentKey(kind, contentId))?.sizeBytes ?? 0;
        return { name, stack, sizeBytes, labels, users: [stack] };
      }),
  );
  return [...ofNone, ...ofStacks].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.stack < b.stack ? -1 : 1));
}
