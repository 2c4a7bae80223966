/** What `ctl config` prints, one of several views of a model. */
import { createHash } from 'node:crypto';
import { WeftError } from '#base/errors.js';
import { SERVICE } from '#compose/key-table-service.js';
import type { Model } from '#compose/load-model.js';
import type { ModelInput } from '#compose/loading.js';
import { keysOf, servicesOf } from '#compose/profiles.js';
import { render, renderModel, type Plain } from '#compose/render-model.js';
import { renderYaml } from '#compose/render-yaml.js';
import { scalarAt, textOf, valueOf } from '#compose/short-forms.js';
import type { Entry, MapValue, Value } from '#compose/tree.js';
import { variablesOf } from '#compose/variables.js';
import { json, listing } from './table.js';

export interface ConfigFlags {
  format: 'yaml' | 'json';
  services?: boolean;
  networks?: boolean;
  volumes?: boolean;
  images?: boolean;
  models?: boolean;
  lockImageDigests?: boolean;
  profiles?: boolean;
  variables?: boolean;
  environment?: boolean;
  hash?: string;
}

const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');

/** @throws NOT_FOUND for --hash of a service that is not there */
export function renderConfig(model: Model, input: ModelInput, flags: ConfigFlags): string {
  const { tree } = model;
  if (flags.services)
    return lines(
      servicesOf(tree)
        .map((entry) => entry.key)
        .sort(),
    );
  if (flags.networks) return lines(keysOf(valueOf(tree, 'networks')).sort());
  if (flags.volumes) return lines(keysOf(valueOf(tree, 'volumes')).sort());
  if (flags.models) return lines(keysOf(valueOf(tree, 'models')).sort());
  if (flags.profiles) return lines(model.profiles);
  if (flags.images)
    return lines([...new Set(servicesOf(tree).map(({ key, value }) => textOf(value, 'image') ?? `${model.name}-${key}`))].sort());
  if (flags.environment)
    return lines(
      Object.entries({ COMPOSE_PROJECT_NAME: model.name, ...input.env })
        .map(([key, value]) => `${key}=${value}`)
        .sort(),
    );
  if (flags.variables) return variables(input, flags.format);
  if (flags.hash !== undefined) return hashes(tree, flags.hash);
  const options = { json: flags.format === 'json', escape: input.interpolate !== false };
  const plain = renderModel(flags.lockImageDigests ? imagesAlone(tree) : tree, options);
  return flags.format === 'json' ? json(plain) : renderYaml(plain);
}

/** Those that services name; what is only built has no name at any registry. */
export const imagesOf = (tree: MapValue): string[] => servicesOf(tree).flatMap(({ value }) => textOf(value, 'image') ?? []);

/** The model with other images. @param images by what they were */
export function withImages(tree: MapValue, images: ReadonlyMap<string, string>): MapValue {
  return mapServices(tree, (entry) =>
    entry.key === 'image' && entry.value.kind === 'scalar'
      ? [{ ...entry, value: scalarAt(entry.value.at, images.get(entry.value.text) ?? entry.value.text) }]
      : [entry],
  );
}

/** Of each service its image alone, and nothing else: a file to be merged over the one that it came from. */
function imagesAlone(tree: MapValue): MapValue {
  const services = mapServices(tree, (entry) => (entry.key === 'image' ? [entry] : []));
  return { ...tree, entries: services.entries.filter(({ key }) => key === 'services') };
}

function mapServices(tree: MapValue, change: (entry: Entry) => Entry[]): MapValue {
  const inService = (service: Entry): Entry =>
    service.value.kind === 'map' ? { ...service, value: { ...service.value, entries: service.value.entries.flatMap(change) } } : service;
  const entries = tree.entries.map((entry) =>
    entry.key === 'services' && entry.value.kind === 'map'
      ? { ...entry, value: { ...entry.value, entries: entry.value.entries.map(inService) } }
      : entry,
  );
  return { ...tree, entries };
}

function variables({ files }: ModelInput, format: ConfigFlags['format']): string {
  const rows = variablesOf(files).map(({ name, required, fallback, alternate }) => ({ name, required, fallback, alternate }));
  return listing(
    rows,
    [
      { title: 'NAME', text: (one) => one.name },
      { title: 'REQUIRED', text: (one) => String(one.required) },
      { title: 'DEFAULT VALUE', text: (one) => one.fallback },
      { title: 'ALTERNATE VALUE', text: (one) => one.alternate },
    ],
    format === 'json' ? 'json' : 'table',
  );
}

function hashes(tree: MapValue, wanted: string): string {
  const services = new Map(servicesOf(tree).map((entry) => [entry.key, entry.value]));
  const names = wanted === '*' ? [...services.keys()].sort() : wanted.split(',');
  return lines(
    names.map((name) => {
      const service = services.get(name);
      if (!service)
        throw new WeftError('NOT_FOUND', {
          what: `there is no service "${name}"`,
          hint: 'List the services with `ctl config --services`.',
        });
      return `${name} ${hashOf(service)}`;
    }),
  );
}

/** What can change without another container is left out, as Compose does. */
const NOT_HASHED = ['build', 'pull_policy', 'scale', 'depends_on', 'profiles'];

function hashOf(service: Value): string {
  const plain = render(service, SERVICE, { json: true }) as Record<string, Plain>;
  for (const key of NOT_HASHED) delete plain[key];
  const deploy = plain['deploy'];
  if (typeof deploy === 'object' && deploy !== null && !Array.isArray(deploy)) delete deploy['replicas'];
  return createHash('sha256').update(JSON.stringify(plain)).digest('hex');
}
