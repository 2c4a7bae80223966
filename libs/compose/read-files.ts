/**
 * `configs` and `secrets`: declared at the top level, mounted by services. Only their names and places become part of the
 * stack. What they hold is fetched by the caller (`FileSource`), and travels by itself.
 */
import { GLOBAL_NAME_PATTERN } from '#model/names.js';
import type { FileMount, FileWish, Stack } from '#model/stack.js';
import {
  entriesOf,
  itemsOf,
  isNull,
  readBoolean,
  readMatching,
  readString,
  readText,
  reject,
  report,
  type Context,
  type Field,
} from './context.js';
import type { FileSource, ProjectDraft, ServiceDraft } from './draft.js';
import { placeSeenFrom, quote } from './issue.js';
import { CONFIG, objectAt, SECRET } from './key-table.js';
import { SERVICE } from './key-table-service.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { containerPath, readOwner, readPermissions } from './read-mounts.js';
import { readLabels } from './read-pairs.js';

type Kind = FileMount['kind'];

const NAME_RULE = 'letters, digits, "-", "_" and ".", beginning with a letter or digit, 128 characters at most';
const SECRETS_DIRECTORY = '/run/secrets';

interface WishDraft {
  name?: string;
  external?: boolean;
  labels?: FileWish['labels'];
  from?: FileSource['from'];
  /** The first key that says what it holds. */
  content?: Field;
}

/** An external one is there already: what it holds is not said again. */
const holding =
  (read: (c: Context, field: Field) => FileSource['from'] | undefined) =>
  (c: Context, field: Field, draft: WishDraft): void => {
    draft.content ??= field;
    draft.from = read(c, field);
  };

const WISH_KEYS: KeyTable<WishDraft>['keys'] = {
  name: (c, field, draft) => void (draft.name = readMatching(c, field, GLOBAL_NAME_PATTERN, NAME_RULE)),
  external: (c, field, draft) => void (draft.external = readBoolean(c, field)),
  labels: (c, field, draft) => void (draft.labels = readLabels(c, field)),
  file: holding((c, field) => asFile(readString(c, field, 'a path'))),
  environment: holding((c, field) => fromVariable(c, field)),
};

const TABLES: Record<Kind, KeyTable<WishDraft>> = {
  secret: { shape: SECRET, keys: WISH_KEYS },
  config: { shape: CONFIG, keys: { ...WISH_KEYS, content: holding((c, field) => asText(readText(c, field))) } },
};

const asFile = (file: string | undefined) => (file === undefined ? undefined : { file });
const asText = (text: string | undefined) => (text === undefined ? undefined : { text });

function fromVariable(c: Context, field: Field): FileSource['from'] | undefined {
  const name = readString(c, field, 'the name of a variable');
  if (name === undefined) return undefined;
  const text = Object.hasOwn(c.env, name) ? c.env[name] : undefined;
  if (text === undefined) reject(c, field, `the variable ${quote(name)} is not set`, 'set it in the environment or in an env file');
  return asText(text);
}

/** The top level's `configs` or `secrets`. */
export function readFileWishes(c: Context, field: Field, project: ProjectDraft, kind: Kind): void {
  if (isNull(field.value)) return;
  for (const entry of entriesOf(c, field, `a map of ${kind}s`) ?? []) {
    if (entry.key.startsWith('x-')) continue;
    if (!GLOBAL_NAME_PATTERN.test(entry.key)) {
      report(c, entry.at, entry.path, `expected ${NAME_RULE}, found ${quote(entry.key)}`);
      continue;
    }
    const draft: WishDraft = {};
    readByTable(c, entry, TABLES[kind], draft);
    const { name = `${project.name}_${entry.key}`, external, labels = {}, from, content } = draft;
    if (external && content)
      reject(
        c,
        { ...content, value: { ...content.value, at: content.at } },
        `an external ${kind} is in the cluster already`,
        'remove one of the two',
      );
    const wish: FileWish = { key: entry.key, name, ...(external ? { external } : {}), labels };
    const source =
      from && !external
        ? { source: { kind, key: entry.key, from, at: content?.value.at ?? entry.at, path: content?.path ?? entry.path } }
        : {};
    project.files[kind].set(entry.key, { wish, ...source });
  }
}

const MOUNTS: Record<Kind, KeyTable<Partial<FileMount>>> = { config: mountTable('configs'), secret: mountTable('secrets') };

function mountTable(key: 'configs' | 'secrets'): KeyTable<Partial<FileMount>> {
  return {
    shape: objectAt(SERVICE, key),
    keys: {
      source: (c, field, file) => void (file.source = readString(c, field)),
      target: (c, field, file) => void (file.target = readString(c, field)),
      uid: (c, field, file) => void (file.uid = readOwner(c, field, 'user')),
      gid: (c, field, file) => void (file.gid = readOwner(c, field, 'group')),
      mode: (c, field, file) => void (file.mode = readPermissions(c, field)),
    },
  };
}

/** `configs` or `secrets` of a service. */
export function readFileMounts(c: Context, field: Field, draft: ServiceDraft, kind: Kind): void {
  if (isNull(field.value)) return;
  for (const item of itemsOf(c, field, `a list of ${kind}s`) ?? []) {
    const given: Partial<FileMount> = {};
    readByTable(c, item, MOUNTS[kind], given);
    // That it is not declared has been told.
    if (given.source === undefined || !draft.project.files[kind].has(given.source)) continue;
    const target = containerPath(c, item, placeOf(kind, given.target ?? given.source));
    const { uid, gid, mode } = given;
    const rest = Object.fromEntries(Object.entries({ uid, gid, mode }).filter(([, value]) => value !== undefined));
    if (target !== undefined) draft.files.push({ file: { kind, source: given.source, target, ...rest }, at: item.at, path: item.path });
  }
}

/** A relative target of a secret is below /run/secrets, that of a config below /. */
const placeOf = (kind: Kind, target: string): string =>
  target.startsWith('/') ? target : `${kind === 'secret' ? SECRETS_DIRECTORY : ''}/${target}`;

/** Two files, or a file and a mount, at one place: one of them would not be seen. */
export function checkFileTargets(c: Context, draft: ServiceDraft): void {
  const seen = new Map(draft.mounts.map(({ mount, at, path }) => [mount.target, { at, path }]));
  for (const { file, at, path } of draft.files) {
    const first = seen.get(file.target);
    if (first)
      report(c, at, path, `something is already mounted at ${quote(file.target)} by ${first.path} at ${placeSeenFrom(at, first.at)}`);
    else seen.set(file.target, { at, path });
  }
}

const usedKeys = (project: ProjectDraft, kind: Kind): Set<string> =>
  new Set([...project.services.values()].flatMap((s) => s.container.files ?? []).flatMap((f) => (f.kind === kind ? [f.source] : [])));

/** `configs` and `secrets` of the stack: those that a service uses. */
export function usedFiles(project: ProjectDraft): Pick<Stack, 'configs' | 'secrets'> {
  const found: Pick<Stack, 'configs' | 'secrets'> = {};
  for (const kind of ['config', 'secret'] as const) {
    const used = usedKeys(project, kind);
    const wishes = [...project.files[kind]].filter(([key]) => used.has(key)).map(([key, { wish }]) => [key, wish] as const);
    if (wishes.length > 0) found[`${kind}s`] = Object.fromEntries(wishes);
  }
  return found;
}

/** Where the configs and secrets that services use come from, and their trees. */
export const usedSources = (project: ProjectDraft): FileSource[] => [
  ...(['config', 'secret'] as const).flatMap((kind) => {
    const used = usedKeys(project, kind);
    return [...project.files[kind].values()].flatMap(({ source }) => (source && used.has(source.key) ? [source] : []));
  }),
  ...project.trees.values(),
];
