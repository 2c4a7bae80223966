/**
 * Image references as Docker writes them: `[registry[:port]/]path[:tag][@sha256:…]`, made whole with Docker's defaults.
 * Source of the rules: the distribution project's reference grammar.
 */
import { WeftError } from '#base/errors.js';

export interface ImageReference {
  /** Registry as written in names: docker.io, ghcr.io, localhost:5000. */
  registry: string;
  /** Path in the registry: library/busybox. */
  repository: string;
  tag?: string;
  /** sha256:… */
  digest?: string;
}

export const DEFAULT_REGISTRY = 'docker.io';
const MAX_NAME_LENGTH = 255;

const HOST_PART = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const REGISTRY = new RegExp(`^(?:${HOST_PART}(?:\\.${HOST_PART})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?$`);
const PATH_PART = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${PATH_PART}(?:/${PATH_PART})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const BARE_DIGEST = /^[0-9a-f]{64}$/;

export const isDigest = (text: string): boolean => DIGEST.test(text);

/** Parses a user's reference; without tag and digest it means `:latest`. @throws BAD_NAME */
export function parseReference(text: string): ImageReference {
  const bad = (why: string) =>
    new WeftError('BAD_NAME', {
      what: `${JSON.stringify(text.slice(0, 128))} is not an image reference`,
      why,
      hint: 'Write it like busybox, busybox:1.36, ghcr.io/team/app:tag or name@sha256:….',
    });
  if (BARE_DIGEST.test(text)) throw bad('64 hex digits alone are an id, not a name');
  const [named = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) throw bad('after @ comes sha256: and 64 lower-case hex digits');
  const { name, tag } = splitTag(named);
  if (tag !== undefined && !TAG.test(tag)) throw bad('the tag is malformed');
  const { registry, path } = splitRegistry(name);
  if (!REGISTRY.test(registry)) throw bad('the registry is malformed');
  const repository = registry === DEFAULT_REGISTRY && !path.includes('/') ? `library/${path}` : path;
  if (!REPOSITORY.test(repository)) throw bad('a name is lower-case letters and digits, parted by . _ - and /');
  if (registry.length + repository.length + 1 > MAX_NAME_LENGTH) throw bad(`the name has more than ${MAX_NAME_LENGTH} characters`);
  return { registry, repository, ...(tag || !digest ? { tag: tag ?? 'latest' } : {}), ...(digest ? { digest } : {}) };
}

function splitTag(named: string): { name: string; tag?: string } {
  const colon = named.lastIndexOf(':');
  return colon > named.lastIndexOf('/') ? { name: named.slice(0, colon), tag: named.slice(colon + 1) } : { name: named };
}

/** The first part is a registry if it looks like a host: it has a dot, a port or an upper-case letter, or is localhost. */
function splitRegistry(name: string): { registry: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  if (first === '' || !(/[.:A-Z]/.test(first) || first === 'localhost')) return { registry: DEFAULT_REGISTRY, path: name };
  return { registry: first === 'index.docker.io' ? DEFAULT_REGISTRY : first, path: name.slice(slash + 1) };
}

/** The whole form, as images are named in the runtime: `docker.io/library/busybox:latest`. */
export function formatReference(ref: ImageReference): string {
  return `${repositoryOf(ref)}${ref.tag ? `:${ref.tag}` : ''}${ref.digest ? `@${ref.digest}` : ''}`;
}

/** Registry and path without tag and digest. */
export const repositoryOf = (ref: ImageReference): string => `${ref.registry}/${ref.repository}`;

/** `busybox` → `docker.io/library/busybox:latest`. @throws BAD_NAME */
export const normalizeReference = (text: string): string => formatReference(parseReference(text));
