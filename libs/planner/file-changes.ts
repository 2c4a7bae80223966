/** What a person reads of changed configs, secrets and mounts: which, and in what respect; never what they hold, nor what that is known by. */
import type { FileMount, MountWish } from '#model/stack.js';
import { sameValue } from './spec-hash.js';

export function changedFiles(before: readonly FileMount[] = [], after: readonly FileMount[] = []): string[] {
  const old = new Map(before.map((file) => [file.target, file]));
  const targets = new Set(after.map((file) => file.target));
  return [
    ...after.flatMap((file) => {
      const was = old.get(file.target);
      return sameValue(was ?? null, file) ? [] : [describe(was, file)];
    }),
    ...before.filter((file) => !targets.has(file.target)).map((file) => `${file.kind} ${file.source} no longer at ${file.target}`),
  ];
}

function describe(was: FileMount | undefined, file: FileMount): string {
  const name = `${file.kind} ${file.source}`;
  if (!was) return `${name} at ${file.target} added`;
  if (was.kind !== file.kind || was.source !== file.source) return `${was.kind} ${was.source} at ${file.target} becomes ${name}`;
  const parts = [
    ...(was.contentId === file.contentId ? [] : ['content']),
    ...(was.mode === file.mode ? [] : [`mode ${octal(was)} → ${octal(file)}`]),
    ...(was.uid === file.uid && was.gid === file.gid ? [] : [`owner ${owner(was)} → ${owner(file)}`]),
  ];
  return `${name} changed (${parts.join(', ')})`;
}

const octal = ({ mode = 0o444 }: FileMount): string => mode.toString(8).padStart(4, '0');
const owner = ({ uid = 0, gid = 0 }: FileMount): string => `${uid}:${gid}`;

export function changedMounts(before: readonly MountWish[] = [], after: readonly MountWish[] = []): string[] {
  const old = new Map(before.map((mount) => [mount.target, mount]));
  const targets = new Set(after.map((mount) => mount.target));
  return [
    ...after.flatMap((mount) => {
      const was = old.get(mount.target);
      return sameValue(was ?? null, mount) ? [] : [describeMount(was, mount)];
    }),
    ...before.filter((mount) => !targets.has(mount.target)).map((mount) => `${nameOf(mount)} no longer at ${mount.target}`),
  ];
}

const nameOf = ({ type, source = '' }: MountWish): string => [type === 'tree' ? 'file' : type, source].join(' ').trim();

function describeMount(was: MountWish | undefined, mount: MountWish): string {
  const name = nameOf(mount);
  if (!was) return `${name} at ${mount.target} added`;
  if (nameOf(was) !== name) return `${nameOf(was)} at ${mount.target} becomes ${name}`;
  return `${name} at ${mount.target} changed (${was.contentId === mount.contentId ? 'options' : 'content'})`;
}
