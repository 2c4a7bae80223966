/**
 * The files that a service takes variables and labels from become part of its `environment` and `labels`, whose own entries
 * stand above them; a variable without a value takes the caller's ("env_file", "label_file", "environment").
 */
import { posix } from 'node:path';
import { parseDotEnv, parseRawEnv } from './dot-env.js';
import { envOf, openFile, type Loading } from './loading.js';
import { itemsIn } from './profiles.js';
import { entryOf, scalarAt, textOf, valueOf } from './short-forms.js';
import type { Entry, MapValue, Value } from './tree.js';
import type { Position } from './issue.js';

type Env = Readonly<Record<string, string>>;

export function resolveEnvironments(l: Loading, model: MapValue, env: Env): MapValue {
  const services = valueOf(model, 'services');
  if (services?.kind !== 'map') return model;
  const entries = services.entries.map((entry) =>
    entry.value.kind === 'map' ? { ...entry, value: resolveService(l, entry.key, entry.value, env) } : entry,
  );
  return {
    ...model,
    entries: model.entries.map((entry) => (entry.key === 'services' ? { ...entry, value: { ...services, entries } } : entry)),
  };
}

function resolveService(l: Loading, name: string, service: MapValue, env: Env): MapValue {
  const files = l.input.resolveEnvFiles !== false;
  let whole = withCallers(service, env);
  if (files && entryOf(service, 'env_file')) whole = under(without(whole, 'env_file'), 'environment', fromEnvFiles(l, name, service, env));
  if (files && entryOf(service, 'label_file')) whole = under(without(whole, 'label_file'), 'labels', fromLabelFiles(l, name, service, env));
  return whole;
}

const without = (map: MapValue, key: string): MapValue => ({ ...map, entries: map.entries.filter((entry) => entry.key !== key) });

function withCallers(service: MapValue, env: Env): MapValue {
  const given = valueOf(service, 'environment');
  if (given?.kind !== 'map' || !given.entries.some(({ value }) => isOpen(value))) return service;
  const entries = given.entries.map((entry) =>
    isOpen(entry.value) && Object.hasOwn(env, entry.key) ? { ...entry, value: scalarAt(entry.at, env[entry.key] ?? '') } : entry,
  );
  return {
    ...service,
    entries: service.entries.map((entry) => (entry.value === given ? { ...entry, value: { ...given, entries } } : entry)),
  };
}

const isOpen = (value: Value): boolean => value.kind === 'scalar' && value.value === null;

function under(service: MapValue, key: string, found: readonly Entry[]): MapValue {
  if (found.length === 0) return service;
  const given = entryOf(service, key);
  const own = given?.value.kind === 'map' ? given.value.entries : [];
  const entries = new Map([...found, ...own].map((entry) => [entry.key, entry]));
  const at = given?.at ?? service.at;
  return {
    ...service,
    entries: [
      ...service.entries.filter((entry) => entry !== given),
      { key, at, value: { kind: 'map', at, entries: [...entries.values()] } },
    ],
  };
}

function fromEnvFiles(l: Loading, name: string, service: MapValue, env: Env): Entry[] {
  const found: Record<string, string> = {};
  const places: Record<string, Position> = {};
  itemsIn(service, 'env_file').forEach((item, i) => {
    const keyPath = `services.${name}.env_file[${i}]`;
    const named = textOf(item, 'path');
    if (named === undefined) return;
    const optional = textOf(item, 'required') === 'false';
    const path = absolute(l, named);
    if (optional && l.input.read?.(path) === undefined) return;
    const file = openFile(l, path, item.at, keyPath, 'env file');
    if (!file) return;
    const raw = textOf(item, 'format') === 'raw';
    const scope = { ...found, ...env };
    const values = envOf(l, path, () => (raw ? parseRawEnv(file.text, env) : parseDotEnv(file.text, scope)), item.at, keyPath);
    Object.assign(found, values);
    for (const key of Object.keys(values)) places[key] = item.at;
  });
  return entriesFrom(found, places, service.at);
}

function fromLabelFiles(l: Loading, name: string, service: MapValue, env: Env): Entry[] {
  const found: Record<string, string> = {};
  const places: Record<string, Position> = {};
  itemsIn(service, 'label_file').forEach((item, i) => {
    const keyPath = `services.${name}.label_file[${i}]`;
    const path = absolute(l, item.kind === 'scalar' ? item.text : '');
    const file = openFile(l, path, item.at, keyPath, 'label file');
    if (!file) return;
    const values = envOf(l, path, () => parseDotEnv(file.text, env), item.at, keyPath);
    Object.assign(found, values);
    for (const key of Object.keys(values)) places[key] = item.at;
  });
  return entriesFrom(found, places, service.at);
}

const entriesFrom = (found: Env, places: Readonly<Record<string, Position>>, fallback: Position): Entry[] =>
  Object.entries(found).map(([key, value]) => ({ key, at: places[key] ?? fallback, value: scalarAt(places[key] ?? fallback, value) }));

const absolute = (l: Loading, path: string): string => (path.startsWith('/') ? path : posix.join(l.input.projectDirectory, path));
