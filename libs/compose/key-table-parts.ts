/** Key tables of what several places of a compose file have in common. */
import {
  any,
  anyWhole,
  boolean,
  bytes,
  choice,
  differs,
  duration,
  honoured,
  laxText,
  list,
  map,
  mode,
  number,
  object,
  refused,
  string,
  text,
  whole,
  type Key,
  type ListShape,
  type MapShape,
  type Shape,
  type Standing,
} from './shape.js';
import { asText, deviceCount, environmentPairs, hosts, inKey, oneOrList, pairs, printHosts, textOf, words } from './short-forms.js';
import type { Value } from './tree.js';

export const NAME = { pattern: /^[a-zA-Z0-9._-]{1,128}$/, rule: 'letters, digits, "-", "_" and "."' };

/** Items of a list of texts are the same when they are equal. */
export const itself = (item: Value): string | undefined => (item.kind === 'scalar' ? item.text : undefined);
/** By these keys; an item that lacks the first is like no other. */
export const byKey =
  (first: string, ...keys: string[]) =>
  (item: Value): string | undefined => {
    const found = textOf(item, first);
    return found === undefined ? undefined : [found, ...keys.map((key) => textOf(item, key) ?? '')].join('\0');
  };

/** Language models are run by Docker Desktop's model runner. */
export const MODELS = refused('there is no model runner in the cluster', 'run the model as a service');

const VALUE = laxText('a string, a number or a boolean');
/** A value may be missing: the user's own is taken then. */
export const ENVIRONMENT: MapShape = map(
  'a variable',
  { ...VALUE, nullable: true },
  { short: environmentPairs, says: 'a map or a list of KEY=value' },
);
export const PAIRS: MapShape = map('a value', VALUE, { short: pairs, says: 'a map or a list of KEY=value' });
export const OPTIONS: MapShape = map('an option', laxText('a string or a number'));
export const STRINGS: ListShape = list(string, { unique: itself });
export const TEXTS: ListShape = list(laxText(), { unique: itself });
export const STRING_OR_LIST: ListShape = list(string, { short: oneOrList, unique: itself, says: 'a string or a list of strings' });
export const COMMAND: ListShape = list(laxText(), { short: words, replace: true, nullable: true, says: 'a string or a list of strings' });
export const HOSTS: MapShape = map('a host', list(string, { unique: itself }), {
  short: hosts,
  print: printHosts,
  says: 'a map or a list of HOST:ADDRESS',
});
export const PROVENANCE: Shape = text('true, false or attributes', { short: asText });

export const ULIMITS = map(
  'a limit',
  object('a limit', { soft: [anyWhole, honoured], hard: [anyWhole, honoured] }, { required: ['soft', 'hard'], scalar: anyWhole }),
);

export const FILE_MOUNT = (what: string): ListShape =>
  list(
    object(
      what,
      {
        source: [string, honoured],
        target: [string, honoured],
        uid: [laxText('a user id'), differs('numbers only')],
        gid: [laxText('a group id'), differs('numbers only')],
        mode: [mode, honoured],
      },
      { short: inKey('source'), required: ['source'], says: `the key of ${what.replace(/ of .*/, '')}, or a map` },
    ),
    { unique: (item) => textOf(item, 'target') ?? textOf(item, 'source') },
  );

const hookKeys = (standing: Standing): Record<string, Key> => ({
  command: [COMMAND, standing],
  user: [laxText('a user'), standing],
  privileged: [boolean, standing],
  working_dir: [string, standing],
  environment: [ENVIRONMENT, standing],
});
export const HOOK = object('a hook', hookKeys(honoured), { required: ['command'] });
export const PRE_START = refused(
  'Weft runs nothing beside the service’s own containers before they start',
  'make it a service with "deploy: { mode: replicated-job }", and depend on it with service_completed_successfully',
);
/** Runs before the service does, in a container of its own. */
export const START_HOOK = object('a hook', { ...hookKeys(PRE_START), image: [string, PRE_START], per_replica: [boolean, PRE_START] });

export const GPUS = refused('Weft cannot hand GPUs to containers');
const GENERIC = refused('nodes declare no resources of kinds that the user makes up', 'label the nodes, and use placement.constraints');

export const DEVICE_REQUESTS = list(
  object(
    'a request for devices',
    {
      capabilities: [list(string), GPUS],
      driver: [string, GPUS],
      count: [{ ...anyWhole, short: deviceCount }, GPUS],
      device_ids: [list(string), GPUS],
      options: [PAIRS, GPUS],
    },
    {},
  ),
);

const UPDATE = (what: string) =>
  object(what, {
    parallelism: [whole(), honoured],
    delay: [duration, honoured],
    failure_action: [choice('continue', 'rollback', 'pause'), honoured],
    monitor: [duration, honoured],
    max_failure_ratio: [number('a ratio from 0 to 1', 0, 1), honoured],
    order: [choice('start-first', 'stop-first'), honoured],
  });

const CPUS = number('a number of CPUs like "0.5"');

export const DEPLOY = object('deploy', {
  mode: [choice('replicated', 'global', 'replicated-job', 'global-job'), honoured],
  replicas: [whole(), honoured],
  labels: [PAIRS, honoured],
  update_config: [UPDATE('update_config'), honoured],
  rollback_config: [UPDATE('rollback_config'), honoured],
  resources: [
    object('resources', {
      limits: [
        object('limits', {
          cpus: [CPUS, honoured],
          memory: [bytes, honoured],
          pids: [anyWhole, honoured],
          devices: [DEVICE_REQUESTS, GPUS],
          generic_resources: [any, GENERIC],
        }),
        honoured,
      ],
      reservations: [
        object('reservations', {
          cpus: [CPUS, honoured],
          memory: [bytes, honoured],
          pids: [anyWhole, refused('a node has no stock of processes to reserve from', 'use limits.pids')],
          devices: [DEVICE_REQUESTS, GPUS],
          generic_resources: [
            list(
              object('a generic resource', {
                discrete_resource_spec: [
                  object('discrete_resource_spec', { kind: [string, GENERIC], value: [anyWhole, GENERIC] }),
                  GENERIC,
                ],
              }),
            ),
            GENERIC,
          ],
        }),
        honoured,
      ],
    }),
    honoured,
  ],
  restart_policy: [
    object('restart_policy', {
      condition: [choice('none', 'on-failure', 'any'), honoured],
      delay: [duration, differs('a shorter delay grows with each end in a row, to 10 s, so that a crash loop costs little')],
      max_attempts: [whole(), honoured],
      window: [duration, honoured],
    }),
    honoured,
  ],
  placement: [
    object('placement', {
      constraints: [list(string), honoured],
      preferences: [list(object('a preference', { spread: [string, honoured] })), honoured],
      max_replicas_per_node: [whole(), honoured],
    }),
    honoured,
  ],
  endpoint_mode: [choice('vip', 'dnsrr'), honoured],
});

const BUILDX = differs('by docker buildx; podman and buildah refuse it when the image is built');
const OWNED = refused('a secret of a build is seen by the builder alone', 'say who may read it in the Dockerfile: RUN --mount=type=secret');

/** Handed to the builder under the id `target`. */
const BUILD_SECRETS = list(
  object(
    'a secret of a build',
    {
      source: [string, honoured],
      target: [string, honoured],
      uid: [laxText('a user id'), OWNED],
      gid: [laxText('a group id'), OWNED],
      mode: [mode, OWNED],
    },
    { short: inKey('source'), required: ['source'], says: 'the key of a secret, or a map' },
  ),
  { unique: (item) => textOf(item, 'target') ?? textOf(item, 'source') },
);

export const BUILD = object(
  'build',
  {
    context: [
      text('a directory or a URL', { path: { unless: /^([a-z][a-z0-9+.-]*:\/\/|git@|github\.com\/|service:|target:|docker-image:|-$)/ } }),
      honoured,
    ],
    dockerfile: [string, honoured],
    dockerfile_inline: [string, honoured],
    entitlements: [list(string), BUILDX],
    args: [ENVIRONMENT, honoured],
    provenance: [PROVENANCE, BUILDX],
    sbom: [PROVENANCE, BUILDX],
    ssh: [ENVIRONMENT, honoured],
    labels: [PAIRS, honoured],
    cache_from: [list(string), honoured],
    cache_to: [list(string), honoured],
    no_cache: [boolean, honoured],
    no_cache_filter: [STRING_OR_LIST, BUILDX],
    additional_contexts: [
      map('a context', text('a directory or a URL', { path: { unless: /^([a-z][a-z0-9+.-]*:|git@)/ } }), { short: pairs }),
      honoured,
    ],
    pull: [boolean, honoured],
    extra_hosts: [HOSTS, honoured],
    isolation: [string, differs('by podman and buildah; docker buildx refuses it when the image is built')],
    network: [string, honoured],
    target: [string, honoured],
    secrets: [BUILD_SECRETS, honoured],
    shm_size: [bytes, honoured],
    tags: [STRINGS, honoured],
    ulimits: [ULIMITS, honoured],
    platforms: [STRINGS, honoured],
    privileged: [boolean, BUILDX],
  },
  { short: inKey('context'), says: 'a directory or a map' },
);
