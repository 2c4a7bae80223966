/** What the files leave unsaid: required keys are asked for, defaults and the names of resources put in, as Compose does. */
import { posix } from 'node:path';
import { HOSTNAME_PATTERN, NAME_PATTERN } from '#model/name-patterns.js';
import { isTold, report, type Context } from './context.js';
import { joinPath, quote, type Position } from './issue.js';
import { COMPOSE_FILE, SECTIONS, shapeAt } from './key-table.js';
import type { ModelInput } from './loading.js';
import { entryOf, mapAt, scalarAt, textOf, valueOf } from './short-forms.js';
import type { ObjectShape, Shape } from './shape.js';
import type { Entry, MapValue, Value } from './tree.js';

const NAME_RULE = 'lower-case letters, digits, "-" and "_", beginning with a letter or digit, ending with no "-", 63 characters at most';

/** -p or COMPOSE_PROJECT_NAME, as handed in; then `name:`; then the directory. */
export function projectNameOf(c: Context, tree: MapValue | undefined, input: ModelInput): { name: string; at: Position } {
  const entry = entryOf(tree, 'name');
  const at = entry?.value.at ?? { file: input.files[0]?.shown ?? '', line: 1, column: 1 };
  const written = textOf(tree, 'name');
  const open = input.interpolate === false && written?.includes('$');
  if (written !== undefined && !open && !isStackName(written)) report(c, at, 'name', `expected ${NAME_RULE}, found ${quote(written)}`);
  if (input.projectName !== undefined) {
    if (!isStackName(input.projectName))
      report(
        c,
        { ...at, line: 1, column: 1 },
        '',
        `the name given for the stack, ${quote(input.projectName)}, is not valid: expected ${NAME_RULE}`,
      );
    return { name: input.projectName, at };
  }
  if (entry) return { name: written ?? 'stack', at };
  const derived = normaliseProjectName(posix.basename(input.projectDirectory));
  if (derived === '') {
    const why = `the stack has no name, and none can be made of the directory ${quote(input.projectDirectory)}`;
    report(c, at, 'name', why, 'add "name: …" or give -p');
  }
  return { name: derived, at };
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

/** The merged files as a whole model. */
export function completeModel(c: Context, tree: MapValue, name: string, input: ModelInput): MapValue {
  const filled = fill(c, tree, COMPOSE_FILE, '') as MapValue;
  if (input.normalise === false) return filled;
  const directory = input.resolvePaths === false ? '.' : input.projectDirectory;
  const services = valueOf(filled, 'services');
  const done =
    services?.kind === 'map' ? { ...services, entries: services.entries.map((entry) => completeService(entry, directory)) } : undefined;
  const entries = filled.entries.filter((entry) => entry.key !== 'name' && entry.key !== 'version' && entry.key !== 'services');
  const at = entryOf(filled, 'name')?.at ?? filled.at;
  const whole: MapValue = { ...filled, entries: [{ key: 'name', at, value: scalarAt(at, name) }, ...entries] };
  const servicesEntry = entryOf(filled, 'services');
  if (done && servicesEntry) whole.entries.push({ ...servicesEntry, value: done });
  return nameResources(withDefaultNetwork(whole), name);
}

/** Puts defaults in, and tells of missing keys. What needs nothing stays the value it was. */
function fill(c: Context, value: Value, shape: Shape, path: string): Value {
  if (shape.kind === 'object' && value.kind === 'map') return fillObject(c, value, shape, path);
  if (shape.kind === 'map' && value.kind === 'map' && isBranch(shape.of)) {
    const entries = changed(value.entries, (entry) => withValue(entry, fill(c, entry.value, shape.of, joinPath(path, entry.key))));
    return entries === value.entries ? value : { ...value, entries };
  }
  if (shape.kind === 'list' && value.kind === 'list' && isBranch(shape.of)) {
    const items = changed(value.items, (item, i) => fill(c, item, shape.of, `${path}[${i}]`));
    return items === value.items ? value : { ...value, items };
  }
  return value;
}

const isBranch = (shape: Shape): boolean => shape.kind === 'object' || shape.kind === 'map' || shape.kind === 'list';
const withValue = (entry: Entry, value: Value): Entry => (value === entry.value ? entry : { ...entry, value });

/** The list itself where `change` changes no item. */
function changed<T>(all: T[], change: (one: T, i: number) => T): T[] {
  let out: T[] | undefined;
  for (let i = 0; i < all.length; i++) {
    const before = all[i] as T;
    const after = change(before, i);
    if (after !== before) (out ??= [...all])[i] = after;
  }
  return out ?? all;
}

function fillObject(c: Context, value: MapValue, shape: ObjectShape, path: string): MapValue {
  let entries = changed(value.entries, (entry) => {
    const inner = entry.value.kind === 'scalar' ? undefined : shapeAt(shape, entry.key);
    return inner && isBranch(inner) ? withValue(entry, fill(c, entry.value, inner, joinPath(path, entry.key))) : entry;
  });
  for (const key of shape.required ?? [])
    if (!entries.some((entry) => entry.key === key) && !isTold(c, path, key))
      report(c, value.at, path, `the key "${key}" is missing`, `${shape.name} needs it`);
  for (const [key, fallback] of Object.entries(shape.defaults ?? {}))
    if (!entries.some((entry) => entry.key === key))
      entries = [...entries, { key, at: value.at, value: scalarAt(value.at, fallback), implied: true }];
  return entries === value.entries ? value : { ...value, entries };
}

const put = (map: MapValue, key: string, value: Value, at = value.at): MapValue => ({
  ...map,
  entries: [...map.entries.filter((entry) => entry.key !== key), { key, at, value, ...(entryOf(map, key) ? {} : { implied: true }) }],
});

function completeService(entry: Entry, directory: string): Entry {
  if (entry.value.kind !== 'map') return entry;
  let service = entry.value;
  const networks = valueOf(service, 'networks');
  const none = networks === undefined || (networks.kind === 'map' && networks.entries.length === 0);
  if (none && !entryOf(service, 'network_mode') && !entryOf(service, 'provider'))
    service = put(service, 'networks', {
      kind: 'map',
      at: entry.at,
      entries: [{ key: 'default', at: entry.at, value: scalarAt(entry.at, null) }],
    });
  if (textOf(service, 'pull_policy') === 'if_not_present')
    service = put(service, 'pull_policy', scalarAt(valueOf(service, 'pull_policy')!.at, 'missing'));
  return { ...entry, value: completeDependencies(completeSecrets(completeBuild(service, directory))) };
}

/** @param directory what is built without a context: the project's directory, as relative paths have been resolved by now */
function completeBuild(service: MapValue, directory: string): MapValue {
  const build = valueOf(service, 'build');
  if (build?.kind !== 'map') return service;
  let whole = build;
  if (!textOf(whole, 'context')) whole = put(whole, 'context', scalarAt(build.at, directory));
  // An empty one is none, as to Compose: what a variable that is not set leaves.
  if (!textOf(whole, 'dockerfile') && !entryOf(whole, 'dockerfile_inline'))
    whole = put(whole, 'dockerfile', scalarAt(build.at, 'Dockerfile'));
  return put(service, 'build', whole, entryOf(service, 'build')?.at);
}

/** A secret is found below /run/secrets, unless it is said where. */
function completeSecrets(service: MapValue): MapValue {
  const entry = entryOf(service, 'secrets');
  if (entry?.value.kind !== 'list') return service;
  const items = entry.value.items.map((item) =>
    item.kind === 'map' && !entryOf(item, 'target')
      ? put(item, 'target', scalarAt(item.at, `/run/secrets/${textOf(item, 'source') ?? ''}`))
      : item,
  );
  return put(service, 'secrets', { ...entry.value, items }, entry.at);
}

/** A service that another one shares its namespace, its volumes or its name with is a dependency. */
function completeDependencies(service: MapValue): MapValue {
  const found: { name: string; at: Position; restart: boolean }[] = [];
  for (const { text, at } of textsOf(valueOf(service, 'links'))) found.push({ name: text.split(':')[0] ?? '', at, restart: true });
  for (const key of ['network_mode', 'ipc', 'pid', 'uts', 'cgroup']) {
    const value = valueOf(service, key);
    if (value?.kind === 'scalar' && value.text.startsWith('service:'))
      found.push({ name: value.text.slice(8), at: value.at, restart: true });
  }
  for (const { text, at } of textsOf(valueOf(service, 'volumes_from')))
    if (!text.startsWith('container:')) found.push({ name: text.split(':')[0] ?? '', at, restart: false });
  if (found.length === 0) return service;
  const given = valueOf(service, 'depends_on');
  const entries = given?.kind === 'map' ? [...given.entries] : [];
  for (const { name, at, restart } of found)
    if (!entries.some((entry) => entry.key === name))
      entries.push({ key: name, at, value: mapAt(at, { condition: 'service_started', restart, required: true }) });
  return put(service, 'depends_on', { kind: 'map', at: given?.at ?? service.at, entries });
}

/** The texts of a list, with their places. */
export const textsOf = (value: Value | undefined): { text: string; at: Position }[] =>
  value?.kind === 'list' ? value.items.flatMap((item) => (item.kind === 'scalar' ? [{ text: item.text, at: item.at }] : [])) : [];

/** The network of services that name none is there where one uses it. */
function withDefaultNetwork(tree: MapValue): MapValue {
  const networks = valueOf(tree, 'networks');
  const services = valueOf(tree, 'services');
  if (entryOf(networks, 'default') || services?.kind !== 'map') return tree;
  const user = services.entries.map(({ value }) => entryOf(valueOf(value, 'networks'), 'default')).find((entry) => entry !== undefined);
  if (!user) return tree;
  const entry: Entry = { key: 'default', at: user.at, value: scalarAt(user.at, null) };
  return put(tree, 'networks', {
    kind: 'map',
    at: networks?.at ?? user.at,
    entries: [...(networks?.kind === 'map' ? networks.entries : []), entry],
  });
}

/** Resources are named after the stack and their key, external ones after their key alone. */
function nameResources(tree: MapValue, stack: string): MapValue {
  const entries = tree.entries.map((section) => {
    if (!(SECTIONS as readonly string[]).includes(section.key) || section.key === 'services' || section.key === 'models') return section;
    if (section.value.kind !== 'map') return section;
    return { ...section, value: { ...section.value, entries: section.value.entries.map((entry) => named(entry, stack)) } };
  });
  return { ...tree, entries };
}

function named(entry: Entry, stack: string): Entry {
  const resource: MapValue = entry.value.kind === 'map' ? entry.value : { kind: 'map', at: entry.at, entries: [] };
  if (textOf(resource, 'name')) return { ...entry, value: resource };
  const external = textOf(resource, 'external') === 'true';
  return { ...entry, value: put(resource, 'name', scalarAt(entry.at, external ? entry.key : `${stack}_${entry.key}`)) };
}
