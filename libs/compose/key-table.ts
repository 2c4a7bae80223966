/**
 * Every key of a compose file: what may stand there (its shape), and what Weft does with it (its standing). The one
 * authority: the file is checked and written out by it, `ctl config` prints in its order, the documentation lists it, and a
 * key is taken over into the stack only where it says so. See README.md for how a key is made to work.
 *
 * A deploy key or a part that several places share stands in key-table-parts.ts, a service's own in key-table-service.ts.
 */
import { warn } from './context.js';
import { byKey, MODELS, NAME, OPTIONS, PAIRS } from './key-table-parts.js';
import { SERVICE } from './key-table-service.js';
import { DRIVER_OPTIONS } from './read-driver-opts.js';
import {
  any,
  boolean,
  differs,
  honoured,
  laxText,
  list,
  map,
  object,
  path,
  refused,
  string,
  text,
  type ObjectShape,
  type Shape,
  type Short,
} from './shape.js';
import { external, inKey, oneOrList } from './short-forms.js';

const POOL = object('an ipam config', {
  subnet: [string, honoured],
  gateway: [string, honoured],
  ip_range: [string, honoured],
  aux_addresses: [map('an address', string), honoured],
});

export const NETWORK = object(
  'a network',
  {
    name: [string, honoured],
    driver: [string, honoured],
    driver_opts: [OPTIONS, differs(`${Object.keys(DRIVER_OPTIONS).join(', ')}, each where the driver has it; others are refused`)],
    ipam: [
      object('ipam', {
        driver: [string, differs('only "default": Weft gives out addresses itself')],
        config: [list(POOL, { unique: byKey('subnet'), mergeItems: true }), honoured],
        options: [OPTIONS, refused('it has no IPAM drivers that could have options')],
      }),
      honoured,
    ],
    external: [boolean, honoured],
    internal: [boolean, honoured],
    attachable: [boolean, honoured],
    labels: [PAIRS, honoured],
    enable_ipv4: [boolean, differs('only true')],
    enable_ipv6: [boolean, honoured],
  },
  { short: external, nullable: true },
);

export const VOLUME = object(
  'a volume',
  {
    name: [string, honoured],
    driver: [string, differs('local alone: there are no plugins')],
    driver_opts: [
      OPTIONS,
      differs(
        'type, o and device of nfs, nfs4, tmpfs and of directories of the node (o: bind), with the mount options that Weft knows; other types are refused',
      ),
    ],
    external: [boolean, honoured],
    labels: [PAIRS, honoured],
  },
  { short: external, nullable: true },
);

const NO_PLUGINS = refused('there are no plugins that could hand out secrets');
const content = {
  name: [string, honoured],
  file: [path(), honoured],
  environment: [string, honoured],
  content: [string, honoured],
  external: [boolean, honoured],
  labels: [PAIRS, honoured],
  driver: [string, NO_PLUGINS],
  driver_opts: [OPTIONS, NO_PLUGINS],
  template_driver: [string, refused('files reach the containers as they are', 'use variables in "content"')],
} as const;
const { content: _, ...secretKeys } = content;
const { driver: _driver, driver_opts: _options, ...configKeys } = content;

export const CONFIG = object('a config', configKeys, { short: external });
export const SECRET = object('a secret', secretKeys, { short: external });

const obsolete: Short = (e, field) => void warn(e.c, field.at, 'version: this key is obsolete and means nothing');

const INCLUDE = object(
  'an include',
  {
    path: [list(path('a compose file'), { short: oneOrList }), honoured],
    project_directory: [path('a directory'), honoured],
    env_file: [list(path('an env file'), { short: oneOrList }), honoured],
  },
  { short: inKey('path'), required: ['path'] },
);

const MODEL = object(
  'a model',
  { name: [string, MODELS], model: [string, MODELS], context_size: [any, MODELS], runtime_flags: [list(laxText()), MODELS] },
  { required: ['model'] },
);

/** A compose file as a whole. */
export const COMPOSE_FILE = object('a compose file', {
  name: [text('the name of the stack'), honoured],
  version: [{ ...laxText('a version'), then: obsolete }, differs('obsolete: it is not looked at')],
  include: [list(INCLUDE), honoured],
  services: [map('a service', SERVICE, { keys: NAME, notes: true }), honoured],
  models: [map('a model', MODEL, { keys: NAME }), MODELS],
  networks: [map('a network', NETWORK, { keys: NAME, notes: true }), honoured],
  volumes: [map('a volume', VOLUME, { keys: NAME, notes: true }), honoured],
  secrets: [map('a secret', SECRET, { keys: NAME, notes: true }), honoured],
  configs: [map('a config', CONFIG, { keys: NAME, notes: true }), honoured],
});

export type Section = 'services' | 'networks' | 'volumes' | 'configs' | 'secrets' | 'models';
export const SECTIONS: readonly Section[] = ['services', 'networks', 'volumes', 'configs', 'secrets', 'models'];

/** The shape at a key of an object. */
export const shapeAt = (shape: Shape | undefined, key: string): Shape | undefined =>
  shape?.kind === 'object' && Object.hasOwn(shape.keys, key) ? shape.keys[key]?.[0] : shape?.kind === 'map' ? shape.of : undefined;

/** The object at a key of an object, within a list or not. */
export function objectAt(shape: ObjectShape, key: string): ObjectShape {
  const found = shapeAt(shape, key);
  const inner = found?.kind === 'list' || found?.kind === 'map' ? found.of : found;
  if (inner?.kind === 'object') return inner;
  throw new Error(`${shape.name} has no map at ${key}`);
}
