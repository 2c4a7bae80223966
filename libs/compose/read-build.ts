/** `build` of a service: taken over for the builder, which is asked for no more than is said here. */
import { posix } from 'node:path';
import type { BuildSecret, BuildWish } from './build-wish.js';
import {
  entriesOf,
  isNull,
  itemsOf,
  readBoolean,
  readInteger,
  readMatching,
  readString,
  readText,
  readUnit,
  reject,
  type Context,
  type Field,
} from './context.js';
import type { ProjectDraft } from './draft.js';
import { faultOfReference } from './image-reference.js';
import { formatPlace, quote } from './issue.js';
import { objectAt } from './key-table.js';
import { BUILD } from './key-table-parts.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readExtraHosts } from './read-discovery.js';
import { readEnvironment, readLabels } from './read-pairs.js';
import { parseBytes } from './units.js';

/** Never taken for an option, whatever program it is handed to. */
const WORD = /^[A-Za-z0-9_][^\0\n\r]*$/;
/** A name of something: of a stage, a network, a secret, a limit. */
const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_.:/+@-]{0,255}$/;
const PLATFORM = /^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9.]+)?$/;
const MAX_LIMIT = Number.MAX_SAFE_INTEGER;

type Draft = BuildWish & { project: ProjectDraft };
type Read = KeyTable<Draft>['keys'][string];

const plain = (c: Context, field: Field, what: string): string | undefined => readMatching(c, field, PLAIN, what);

function texts(c: Context, field: Field, pattern: RegExp, what: string): string[] {
  return (itemsOf(c, field) ?? []).flatMap((item) => readMatching(c, item, pattern, what) ?? []);
}

const strings =
  (key: 'cacheFrom' | 'cacheTo' | 'noCacheFilter' | 'platforms' | 'entitlements', pattern: RegExp, what: string): Read =>
  (c, field, draft) =>
    void (draft[key] = texts(c, field, pattern, what));

const word =
  (key: 'target' | 'network' | 'isolation' | 'provenance' | 'sbom', what: string): Read =>
  (c, field, draft) =>
    void (draft[key] = plain(c, field, what));

const flag =
  (key: 'noCache' | 'pull' | 'privileged'): Read =>
  (c, field, draft) =>
    void (draft[key] = readBoolean(c, field) ?? false);

const BUILD_KEYS: KeyTable<Draft> = {
  shape: BUILD,
  keys: {
    context: readBuildContext,
    dockerfile: (c, field, draft) => void (draft.dockerfile = readMatching(c, field, /^[^\0\n\r-][^\0\n\r]*$/, 'a path')),
    dockerfile_inline: (c, field, draft) => void (draft.dockerfileInline = readString(c, field)),
    args: (c, field, draft) => void (draft.args = variables(c, field)),
    target: word('target', 'the name of a stage'),
    cache_from: strings('cacheFrom', WORD, 'a source of cached layers'),
    cache_to: strings('cacheTo', WORD, 'a place for cached layers'),
    no_cache: flag('noCache'),
    no_cache_filter: strings('noCacheFilter', PLAIN, 'the name of a stage'),
    pull: flag('pull'),
    labels: (c, field, draft) => void (draft.labels = readLabels(c, field)),
    network: word('network', 'the name of a network'),
    platforms: strings('platforms', PLATFORM, 'a platform like linux/arm64'),
    secrets: (c, field, draft) =>
      void (draft.secrets = (itemsOf(c, field) ?? []).flatMap((item) => readSecret(c, item, draft.project) ?? [])),
    ssh: readSsh,
    tags: readTags,
    shm_size: (c, field, draft) => void (draft.shmBytes = readUnit(c, field, parseBytes, 'a size like 64m', 1)),
    additional_contexts: readContexts,
    extra_hosts: (c, field, draft) => void (draft.extraHosts = isNull(field.value) ? [] : (readExtraHosts(c, field) ?? [])),
    privileged: flag('privileged'),
    ulimits: (c, field, draft) => void (draft.ulimits = (entriesOf(c, field) ?? []).flatMap((entry) => readUlimit(c, entry) ?? [])),
    entitlements: strings('entitlements', PLAIN, 'an entitlement like network.host'),
    isolation: word('isolation', 'a kind of isolation'),
    provenance: (c, field, draft) => void (draft.provenance = readText(c, field)),
    sbom: (c, field, draft) => void (draft.sbom = readText(c, field)),
  },
};

/** Reads `build`. @param image the name that the file gives the image, if it does */
export function readBuild(c: Context, field: Field, project: ProjectDraft, service: string, image: string | undefined): BuildWish {
  const draft: Draft = {
    project,
    service,
    image: image ?? imageNameOf(c, field, project.name, service),
    context: '',
    args: {},
    cacheFrom: [],
    cacheTo: [],
    noCache: false,
    noCacheFilter: [],
    pull: false,
    labels: {},
    platforms: [],
    secrets: [],
    ssh: {},
    tags: [],
    additionalContexts: {},
    serviceContexts: {},
    extraHosts: [],
    privileged: false,
    ulimits: [],
    entitlements: [],
    places: {},
  };
  readByTable(c, field, BUILD_KEYS, draft);
  for (const { key, at } of entriesOf(c, field) ?? []) draft.places[key] = formatPlace(at);
  const { project: _, ...wish } = draft;
  return wish;
}

/** An image that the file does not name is named after stack and service, as in Compose. */
function imageNameOf(c: Context, field: Field, stack: string, service: string): string {
  const name = `${stack}-${service}`.toLowerCase();
  const fault = faultOfReference(name);
  if (fault) reject(c, field, `the image would be named ${quote(name)}: ${fault}`, 'give it a name with "image"');
  return name;
}

/** Variables without a value have that of the user, as in `environment`. */
function variables(c: Context, field: Field): Record<string, string> {
  const open = (entriesOf(c, field) ?? []).filter(({ value, key }) => isNull(value) && c.env[key] !== undefined);
  return { ...Object.fromEntries(open.map(({ key }) => [key, c.env[key] ?? ''])), ...readEnvironment(c, field) };
}

function readBuildContext(c: Context, field: Field, draft: Draft): void {
  const text = readMatching(c, field, /^[^\0\n\r]+$/, 'a directory or a URL');
  if (text === '-') reject(c, field, 'a context cannot be read from standard input', 'give a directory or a URL');
  else if (text !== undefined && /^(service|target):/.test(text)) reject(c, field, SERVICE_CONTEXT, SERVICE_HINT);
  else draft.context = text ?? '';
}

const SERVICE_CONTEXT = 'Weft builds each service by itself: the image of another one cannot be a context';
const SERVICE_HINT = 'make it a stage of the same Dockerfile, or push it and use docker-image://';

function readContexts(c: Context, field: Field, draft: Draft): void {
  for (const entry of entriesOf(c, field) ?? []) {
    const text = readMatching(c, entry, /^[^\0\n\r]+$/, 'a directory or a URL');
    if (!PLAIN.test(entry.key)) reject(c, entry, `${quote(entry.key)} cannot be the name of a context`);
    else if (text?.startsWith('target:')) reject(c, entry, SERVICE_CONTEXT, SERVICE_HINT);
    else if (text?.startsWith('service:')) {
      const needs = text.slice('service:'.length);
      draft.serviceContexts[entry.key] = needs;
      draft.project.buildNeeds.push({ service: draft.service, needs, field: entry });
    } else if (text !== undefined) draft.additionalContexts[entry.key] = text;
  }
}

/** Images that others are made of are built before them. @param others services of the files that are not asked for now */
export function checkBuildNeeds(c: Context, { builds, services, buildNeeds }: ProjectDraft, others: readonly string[]): void {
  for (const { service, needs, field } of buildNeeds) {
    if (!services.has(needs) && others.includes(needs)) continue;
    if (!services.has(needs)) reject(c, field, `there is no service ${quote(needs)}`);
    else if (!builds.has(needs)) reject(c, field, `the service ${quote(needs)} has no "build"`, 'write docker-image:// and its image');
    else if (leadsTo(builds, needs, service)) reject(c, field, `the images of ${service} and ${needs} would be made of one another`);
  }
}

function leadsTo(builds: ProjectDraft['builds'], from: string, to: string, seen = new Set<string>()): boolean {
  if (from === to) return true;
  if (seen.has(from)) return false;
  seen.add(from);
  return Object.values(builds.get(from)?.serviceContexts ?? {}).some((next) => leadsTo(builds, next, to, seen));
}

/** `default` is the user's agent; other ids are sockets or keys. */
function readSsh(c: Context, field: Field, draft: Draft): void {
  for (const entry of entriesOf(c, field) ?? []) {
    const path = isNull(entry.value) ? '' : (readMatching(c, entry, /^[^\0\n\r,]*$/, 'a path') ?? '');
    if (!PLAIN.test(entry.key)) reject(c, entry, `${quote(entry.key)} cannot be the id of a key`);
    else draft.ssh[entry.key] = path === '' ? '' : posix.resolve(c.projectDirectory, path);
  }
}

function readTags(c: Context, field: Field, draft: Draft): void {
  draft.tags = (itemsOf(c, field) ?? []).flatMap((item) => {
    const text = readString(c, item, 'the name of an image') ?? '';
    const fault = faultOfReference(text) ?? (text.includes('@') ? 'a digest cannot be given to it' : undefined);
    if (!fault) return [text];
    reject(c, item, `${quote(text)} is not the name of an image: ${fault}`);
    return [];
  });
}

const ULIMIT_KEYS: KeyTable<{ soft?: number; hard?: number }> = {
  shape: objectAt(BUILD, 'ulimits'),
  keys: {
    soft: (c, field, limit) => void (limit.soft = readInteger(c, field, -1, MAX_LIMIT)),
    hard: (c, field, limit) => void (limit.hard = readInteger(c, field, -1, MAX_LIMIT)),
  },
};

function readUlimit(c: Context, entry: Field & { key: string }): BuildWish['ulimits'] {
  const limit: { soft?: number; hard?: number } = {};
  if (entry.value.kind === 'map') readByTable(c, entry, ULIMIT_KEYS, limit);
  else limit.soft = limit.hard = readInteger(c, entry, -1, MAX_LIMIT);
  if (!/^[a-z]+$/.test(entry.key)) reject(c, entry, `${quote(entry.key)} is not the name of a limit`);
  const { soft, hard } = limit;
  return soft === undefined || hard === undefined ? [] : [{ name: entry.key, soft, hard }];
}

const SECRET_KEYS: KeyTable<{ source?: string; target?: string }> = {
  shape: objectAt(BUILD, 'secrets'),
  keys: {
    source: (c, field, secret) => void (secret.source = readString(c, field)),
    target: (c, field, secret) => void (secret.target = plain(c, field, 'an id')),
  },
};

/** That it is declared was checked in the model; its content has to be on this machine. */
function readSecret(c: Context, item: Field, project: ProjectDraft): BuildSecret[] {
  const secret: { source?: string; target?: string } = {};
  readByTable(c, item, SECRET_KEYS, secret);
  const source = project.secretSources.get(secret.source ?? '');
  const id = secret.target ?? secret.source ?? '';
  if (!PLAIN.test(id)) reject(c, item, `${quote(id)} cannot be the id of a secret`);
  if (source?.file !== undefined) return [{ id, file: source.file }];
  const text = source?.environment === undefined ? undefined : c.env[source.environment];
  if (text !== undefined) return [{ id, text }];
  const why =
    source?.environment === undefined ? 'it comes from neither a file nor a variable' : `the variable ${source.environment} is not set`;
  reject(c, item, `the secret ${quote(secret.source ?? '')} cannot be handed to the builder: ${why}`);
  return [];
}
