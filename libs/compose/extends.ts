/** `extends` of services ("extends"): the service named stands under the one that names it, be it in this file or another. */
import { posix } from 'node:path';
import { isTold, report } from './context.js';
import { expand } from './expand.js';
import { quote } from './issue.js';
import { nearest } from './nearest.js';
import { SERVICE } from './key-table-service.js';
import { expanderOf, openFile, treesOf, type ComposeFile, type FileScope, type Loading } from './loading.js';
import { merge } from './merge.js';
import { entryOf, textOf, valueOf } from './short-forms.js';
import type { Entry, MapValue, Value } from './tree.js';

/** Where a service is looked for: its file's canonical services, or the tree of another file that is read as needed. */
interface Source {
  file: ComposeFile;
  scope: FileScope;
  find: (name: string) => Value | undefined;
  names: () => string[];
}

const MAX_EXTENDS = 32;

/** The file's tree with each service complete. */
export function applyExtends(l: Loading, file: ComposeFile, tree: MapValue, scope: FileScope): MapValue {
  const services = valueOf(tree, 'services');
  if (services?.kind !== 'map' || !services.entries.some(({ value }) => entryOf(value, 'extends'))) return tree;
  const byName = new Map(services.entries.map((entry) => [entry.key, entry.value]));
  const source: Source = { file, scope, find: (name) => byName.get(name), names: () => [...byName.keys()] };
  const done = new Map<string, Value>();
  const entries = services.entries.map((entry) => ({ ...entry, value: extended(l, source, entry.key, entry.value, [], done) }));
  const whole: Entry[] = tree.entries.map((entry) => (entry.key === 'services' ? { ...entry, value: { ...services, entries } } : entry));
  return { ...tree, entries: whole };
}

function extended(l: Loading, source: Source, name: string, service: Value, chain: readonly string[], done: Map<string, Value>): Value {
  const key = `${source.file.path}\0${name}`;
  const known = done.get(key);
  if (known) return known;
  const entry = entryOf(service, 'extends');
  if (!entry || service.kind !== 'map') return service;
  const own: MapValue = { ...service, entries: service.entries.filter((one) => one !== entry) };
  const base = entry.value.kind === 'map' ? baseOf(l, source, name, entry, [...chain, key], done) : undefined;
  const whole = base ? merge(base, own, SERVICE) : own;
  done.set(key, whole);
  return whole;
}

function baseOf(
  l: Loading,
  source: Source,
  name: string,
  entry: Entry,
  chain: readonly string[],
  done: Map<string, Value>,
): Value | undefined {
  const path = `services.${name}.extends`;
  const wanted = textOf(entry.value, 'service');
  const from = textOf(entry.value, 'file');
  if (wanted === undefined)
    return isTold(l.c, path, 'service') ? undefined : void report(l.c, entry.at, path, 'the key "service" is missing');
  const other = from === undefined || from === source.file.path ? source : openSource(l, from, entry, path);
  if (!other) return undefined;
  const at = valueOf(entry.value, 'service')?.at ?? entry.at;
  if (chain.includes(`${other.file.path}\0${wanted}`) || chain.length > MAX_EXTENDS)
    return void report(
      l.c,
      at,
      path,
      `this service extends itself: ${[...chain, `\0${wanted}`].map((one) => one.split('\0')[1]).join(' → ')}`,
    );
  const found = other.find(wanted);
  if (found?.kind === 'map') return extended(l, other, wanted, found, chain, done);
  const near = nearest(wanted, other.names());
  return void report(l.c, at, path, `there is no service ${quote(wanted)} in ${other.file.shown}`, near && `did you mean "${near}"?`);
}

/** Another file: only the services that are extended are looked at, each with that file's directory for its paths. */
function openSource(l: Loading, path: string, entry: Entry, keyPath: string): Source | undefined {
  const at = valueOf(entry.value, 'file')?.at ?? entry.at;
  const file = openFile(l, path, at, keyPath, 'compose file');
  const trees = file && treesOf(l, file);
  if (!file || !trees) return undefined;
  const scope: FileScope = { directory: posix.dirname(path), env: l.input.env ?? {}, chain: [] };
  const e = expanderOf(l, scope);
  const services = trees.map((tree) => valueOf(tree, 'services'));
  const find = (name: string): Value | undefined => {
    let all: Value | undefined;
    for (const one of services) {
      const raw = entryOf(one, name);
      const value = raw && expand(e, { ...raw, path: `services.${name}` }, SERVICE);
      if (value) all = merge(all, value, SERVICE);
    }
    return all;
  };
  return { file, scope, find, names: () => services.flatMap((one) => (one?.kind === 'map' ? one.entries.map((x) => x.key) : [])) };
}
