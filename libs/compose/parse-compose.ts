/** Compose text → stack. Pure: the text, the environment and the directory are handed in. */
import { posix } from 'node:path';
import { HOSTNAME_PATTERN, NAME_PATTERN } from '#model/names.js';
import { stackSchema, type Stack } from '#model/stack.js';
import { entriesOf, failure, newContext, readString, reject, report, warn, warningLines, type Context, type Field } from './context.js';
import type { ProjectDraft } from './draft.js';
import { joinPath, quote, type Position } from './issue.js';
import { later, readByTable, type KeyTable } from './key-table.js';
import { namedEntries, readNetworks, readVolumeWishes } from './read-networks.js';
import { checkPortClashes } from './read-ports.js';
import { readService } from './read-service.js';
import { readTree, type Value } from './tree.js';

export interface ComposeInput {
  text: string;
  /** As it shall appear in messages. */
  file: string;
  /** Overrides `name:`. */
  projectName?: string;
  /** For `$VAR` and for variables without a value. */
  env?: Record<string, string>;
  /** Absolute; relative binds are resolved against it, and its base name is the stack's where nothing else names it. */
  projectDirectory: string;
}

export interface ComposeResult {
  stack: Stack;
  /** One line each, with its place. */
  warnings: string[];
}

const START: Position = { line: 1, column: 1 };
const NAME_RULE = 'lower-case letters, digits, "-" and "_", beginning with a letter or digit, ending with no "-", 63 characters at most';

/** @throws ComposeErrors (COMPOSE_INVALID) with every issue of the file */
export function parseCompose(input: ComposeInput): ComposeResult {
  const c = newContext(input.file, input.env ?? {}, input.projectDirectory);
  const tree = readTree(input.text, (at, path, message, hint) => report(c, at, path, message, hint));
  if (!tree) throw failure(c);
  const project = readProject(c, { value: tree, path: '', at: tree.at }, input);
  if (c.issues.length > 0) throw failure(c);
  return { stack: checked(c, tree, project), warnings: warningLines(c) };
}

/** The name of the stack alone, whatever else is wrong with the file. @throws ComposeErrors when the name or the YAML is not valid */
export function readProjectName(input: ComposeInput): string {
  const c = newContext(input.file, input.env ?? {}, input.projectDirectory);
  const tree = readTree(input.text, (at, path, message, hint) => report(c, at, path, message, hint));
  const entry = tree?.kind === 'map' ? tree.entries.find((e) => e.key === 'name') : undefined;
  const name = tree && projectName(c, entry && { value: entry.value, path: 'name', at: entry.at }, input);
  if (name === undefined || c.issues.length > 0) throw failure(c);
  return name;
}

interface TopLevel {
  name?: Field;
  services?: Field;
  networks?: Field;
  volumes?: Field;
}

const TOP_LEVEL_KEYS: KeyTable<TopLevel> = {
  place: 'a compose file',
  keys: {
    name: (_, field, top) => void (top.name = field),
    services: (_, field, top) => void (top.services = field),
    networks: (_, field, top) => void (top.networks = field),
    volumes: (_, field, top) => void (top.volumes = field),
    version: (c, field) => warn(c, field.at, 'version: this key is obsolete and means nothing'),
    include: later,
    models: later,
    secrets: later,
    configs: later,
  },
};

function readProject(c: Context, field: Field, input: ComposeInput): ProjectDraft {
  const top: TopLevel = {};
  readByTable(c, field, TOP_LEVEL_KEYS, top);
  const project: ProjectDraft = {
    name: projectName(c, top.name, input),
    networks: new Map(),
    volumes: new Map(),
    services: new Map(),
    ports: [],
  };
  if (top.networks) readNetworks(c, top.networks, project);
  if (top.volumes) readVolumeWishes(c, top.volumes, project);
  if (top.services) for (const entry of namedEntries(c, top.services, 'service')) readService(c, entry, project);
  const tried = top.services && top.services.value.kind === 'map' ? (entriesOf(c, top.services) ?? []).length : 0;
  if (!top.services) {
    if (field.value.kind === 'map') report(c, START, '', 'the key "services" is missing');
  } else if (tried === 0 && (top.services.value.kind !== 'scalar' || top.services.value.value === null)) {
    report(c, top.services.at, 'services', 'expected at least one service');
  }
  checkPortClashes(c, project.ports);
  return project;
}

/** -p or COMPOSE_PROJECT_NAME, as handed in; then `name:`; then the directory. */
function projectName(c: Context, field: Field | undefined, input: ComposeInput): string {
  const written = field && readString(c, field, 'the name of the stack');
  if (field && written !== undefined && !isStackName(written)) reject(c, field, `expected ${NAME_RULE}, found ${quote(written)}`);
  if (input.projectName !== undefined) {
    if (!isStackName(input.projectName))
      report(c, START, '', `the name given for the stack, ${quote(input.projectName)}, is not valid: expected ${NAME_RULE}`);
    return input.projectName;
  }
  if (field) return written ?? 'stack';
  const derived = normaliseProjectName(posix.basename(input.projectDirectory));
  if (derived === '')
    report(
      c,
      START,
      'name',
      `the stack has no name, and none can be made of the directory ${quote(input.projectDirectory)}`,
      'add "name: …" or give -p',
    );
  return derived;
}

/** A stack's name is also a DNS label: `service.stack` resolves. */
const isStackName = (name: string): boolean => NAME_PATTERN.test(name) && HOSTNAME_PATTERN.test(name);

/** What Compose makes of a directory's name: lower case, other characters dropped. '' when nothing is left. */
export function normaliseProjectName(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
}

/** The last word is the model's: whatever it refuses gets the place nearest to it in the file. */
function checked(c: Context, tree: Value, project: ProjectDraft): Stack {
  const result = stackSchema.safeParse({
    name: project.name,
    services: Object.fromEntries(project.services),
    networks: Object.fromEntries([...project.networks].map(([key, { wish }]) => [key, wish])),
    volumes: Object.fromEntries([...project.volumes].map(([key, { wish }]) => [key, wish])),
  });
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const path = issue.path.map(String);
    report(c, nearestPlace(tree, path), path.reduce(joinPath, ''), issue.message);
  }
  throw failure(c);
}

function nearestPlace(tree: Value, path: readonly string[]): Position {
  let place = tree.at;
  let value: Value | undefined = tree;
  for (const key of path) {
    const entry: { at: Position; value: Value } | undefined = value?.kind === 'map' ? value.entries.find((e) => e.key === key) : undefined;
    if (!entry) break;
    place = entry.at;
    value = entry.value;
  }
  return place;
}
