/**
 * Compose files → one canonical model: each file read, its variables put in and its short forms written out (expand.ts), what
 * it includes put under it, what its services extend put under them, all files merged (merge.ts), then completed
 * (complete.ts) and checked as a whole (check-model.ts). Every value of the result knows the file, line and column it came from.
 *
 * Pure: the files are read by the `ReadFile` that is handed in.
 */
import { posix } from 'node:path';
import { checkModel } from './check-model.js';
import { completeModel, projectNameOf } from './complete.js';
import { failure, isTold, newContext, report, type Context } from './context.js';
import { resolveEnvironments } from './env-files.js';
import { expand } from './expand.js';
import { parseDotEnv } from './dot-env.js';
import { applyExtends } from './extends.js';
import type { Position } from './issue.js';
import { COMPOSE_FILE, SECTIONS, shapeAt } from './key-table.js';
import {
  envOf,
  expanderOf,
  openFile,
  treesOf,
  type ComposeFile,
  type FileScope,
  type Loading,
  type ModelInput,
  type ReadFile,
} from './loading.js';
import { merge, withoutTags } from './merge.js';
import { onlyUsed, selectServices } from './profiles.js';
import { text } from './shape.js';
import { entryOf, textOf, valueOf } from './short-forms.js';
import type { Entry, MapValue, Value } from './tree.js';

export interface Model {
  name: string;
  /** Canonical, by COMPOSE_FILE. */
  tree: MapValue;
  /** Of every service, of those too that no profile lets run. */
  profiles: readonly string[];
  /** Services of the files that are not in the tree, as no profile that is active has them. */
  dormant: readonly string[];
  /** What was wrong and what is worth a warning, so far. */
  context: Context;
  /** Further files that the model names. */
  read?: ReadFile | undefined;
}

/**
 * The model of the files. What is wrong stands in its context: only what can be read no further is thrown.
 * @throws ComposeErrors
 */
export function loadModel(input: ModelInput): Model {
  const c = newContext(input.files.map((file) => file.shown).join(', '), input.env ?? {}, input.projectDirectory);
  const l: Loading = { c, input, trees: new Map(), tagged: false };
  const env = { ...input.env };
  const first = nameOfFiles(l, env);
  env['COMPOSE_PROJECT_NAME'] ??= first;
  const scope: FileScope = { directory: input.projectDirectory, env, chain: [] };
  const tree = loadFiles(l, input.files, scope);
  if (!tree) throw failure(c);
  const { name } = projectNameOf(c, tree, input);
  const all = completeModel(c, tree, name, input);
  const profiles = profilesOf(all);
  const selected = selectServices(c, all, input.profiles ?? [], input.services ?? []);

  const model = resolveEnvironments(l, input.prune ? onlyUsed(selected) : selected, env);
  checkModel(c, model, all);
  const chosen = new Set(serviceNames(selected));
  return { name, tree: model, profiles, dormant: serviceNames(all).filter((one) => !chosen.has(one)), context: c, read: input.read };
}

/** The name of the stack alone, whatever else is wrong with the files. @throws ComposeErrors when the name or the YAML is not valid */
export function readProjectName(input: ModelInput): string {
  const c = newContext(input.files.map((file) => file.shown).join(', '), input.env ?? {}, input.projectDirectory);
  const name = nameOfFiles({ c, input, trees: new Map(), tagged: false }, input.env ?? {});
  if (c.issues.length > 0) throw failure(c);
  return name;
}

/** The name that the last file with one gives. */
function nameOfFiles(l: Loading, env: Readonly<Record<string, string>>): string {
  let tree: MapValue | undefined;
  for (const file of l.input.files) {
    for (const one of treesOf(l, file) ?? []) {
      const entry = entryOf(one, 'name');
      const scope = { directory: l.input.projectDirectory, env, chain: [] };
      const value = entry && expand(expanderOf(l, scope), { ...entry, path: 'name' }, NAME);
      if (entry && value) tree = { kind: 'map', at: one.at, entries: [{ ...entry, value }] };
    }
  }
  return projectNameOf(l.c, tree, l.input).name;
}

const NAME = text('the name of the stack');

const serviceNames = (model: MapValue): string[] => {
  const services = valueOf(model, 'services');
  return services?.kind === 'map' ? services.entries.map((entry) => entry.key) : [];
};

const profilesOf = (model: MapValue): string[] => {
  const services = valueOf(model, 'services');
  const found = new Set<string>();
  for (const { value } of services?.kind === 'map' ? services.entries : []) {
    const profiles = valueOf(value, 'profiles');
    for (const item of profiles?.kind === 'list' ? profiles.items : []) if (item.kind === 'scalar') found.add(item.text);
  }
  return [...found].sort();
};

/** Files that override one another, as one canonical tree. */
export function loadFiles(l: Loading, files: readonly ComposeFile[], scope: FileScope): MapValue | undefined {
  let all: Value | undefined;
  for (const file of files) {
    for (const tree of treesOf(l, file) ?? []) {
      const one = loadTree(l, file, tree, scope);
      if (one) all = merge(all && settledTags(l, all), one, COMPOSE_FILE);
    }
  }
  const done = all && settledTags(l, all);
  return done?.kind === 'map' ? done : undefined;
}

/** Nearly no file has tags: the whole tree is walked only where one does. */
const settledTags = (l: Loading, value: Value): Value | undefined => (l.tagged ? withoutTags(value) : value);

function loadTree(l: Loading, file: ComposeFile, tree: Value, scope: FileScope): Value | undefined {
  const e = expanderOf(l, scope);
  const own = expand(e, { value: tree, path: '', at: tree.at }, COMPOSE_FILE);
  if (own?.kind !== 'map') return void (tree.kind === 'scalar' && tree.value === null && report(l.c, tree.at, '', 'the file is empty'));
  const whole = applyIncludes(l, file, own, scope);
  return applyExtends(l, file, whole, scope);
}

const MAX_INCLUDE_DEPTH = 32;

/** What a file includes stands under what it says itself ("Include"). */
function applyIncludes(l: Loading, file: ComposeFile, own: MapValue, scope: FileScope): MapValue {
  const include = valueOf(own, 'include');
  const rest: MapValue = { ...own, entries: own.entries.filter((entry) => entry.key !== 'include') };
  if (include?.kind !== 'list') return rest;
  const chain = [...scope.chain, file.path];
  let all = rest;
  include.items.forEach((item, i) => {
    const found = item.kind === 'map' ? loadInclude(l, item, `include[${i}]`, { ...scope, chain }) : undefined;
    if (found) all = putUnder(found, all);
  });
  return all;
}

function loadInclude(l: Loading, item: MapValue, keyPath: string, scope: FileScope): MapValue | undefined {
  const paths = listOf(valueOf(item, 'path'));
  const at = entryOf(item, 'path')?.at ?? item.at;
  const first = paths[0];
  if (first === undefined)
    return isTold(l.c, keyPath, 'path') ? undefined : void report(l.c, at, keyPath, 'an include names at least one file');
  if (scope.chain.includes(first.text) || scope.chain.length > MAX_INCLUDE_DEPTH) {
    const circle = [...scope.chain, first.text].map((path) => l.input.shown?.(path) ?? path);
    return void report(l.c, first.at, keyPath, `this file includes itself: ${circle.join(' → ')}`);
  }
  const files = paths.map(({ text, at: place }) => openFile(l, text, place, keyPath, 'compose file'));
  if (!files.every((one) => one !== undefined)) return undefined;
  const directory = textOf(item, 'project_directory') ?? posix.dirname(first.text);
  const env = includeEnv(l, item, keyPath, directory, scope.env);
  return env && loadFiles(l, files, { directory, env, chain: scope.chain });
}

const listOf = (value: Value | undefined): { text: string; at: Position }[] =>
  value?.kind === 'list' ? value.items.flatMap((item) => (item.kind === 'scalar' ? [{ text: item.text, at: item.at }] : [])) : [];

/** The environment of the including file, over that of the env files: by default, the `.env` of the project directory. */
function includeEnv(
  l: Loading,
  item: MapValue,
  keyPath: string,
  directory: string,
  outer: Readonly<Record<string, string>>,
): Record<string, string> | undefined {
  const named = listOf(valueOf(item, 'env_file')).filter(({ text }) => text !== '/dev/null');
  const given = entryOf(item, 'env_file') !== undefined;
  const found: Record<string, string> = {};
  if (!given) {
    const path = `${directory}/.env`;
    const file = l.input.read?.(path);
    if (file && 'text' in file)
      Object.assign(
        found,
        envOf(l, path, () => parseDotEnv(file.text, { ...found, ...outer }), item.at, keyPath),
      );
  }
  for (const { text, at } of named) {
    const file = openFile(l, text, at, keyPath, 'env file');
    if (!file) return undefined;
    Object.assign(
      found,
      envOf(l, text, () => parseDotEnv(file.text, { ...found, ...outer }), at, keyPath),
    );
  }
  return { ...found, ...outer };
}

/** `base` under `over`, section by section: an included file's own `name` and notes do not come along. */
function putUnder(base: MapValue, over: MapValue): MapValue {
  const sections = base.entries.filter((entry) => (SECTIONS as readonly string[]).includes(entry.key));
  const entries = new Map<string, Entry>(over.entries.map((entry) => [entry.key, entry]));
  for (const entry of sections) {
    const own = entries.get(entry.key);
    entries.set(entry.key, own ? { ...own, value: merge(entry.value, own.value, shapeAt(COMPOSE_FILE, entry.key)) } : entry);
  }
  return { ...over, entries: [...entries.values()] };
}
