/** The keys of a service, in the order in which Compose prints them: what may stand there, and what Weft does with it. */
import { reject } from './context.js';
import { resolvePath } from './expand.js';
import {
  BUILD,
  byKey,
  COMMAND,
  DEPLOY,
  DEVICE_REQUESTS,
  ENVIRONMENT,
  FILE_MOUNT,
  GPUS,
  HOOK,
  HOSTS,
  itself,
  MODELS,
  NAME,
  OPTIONS,
  PAIRS,
  PRE_START,
  START_HOOK,
  STRING_OR_LIST,
  STRINGS,
  TEXTS,
  ULIMITS,
} from './key-table-parts.js';
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
  path,
  refused,
  string,
  text,
  whole,
  type Short,
} from './shape.js';
import {
  allDevices,
  cleanTarget,
  device,
  entryOf,
  healthTest,
  inKey,
  keyList,
  mapAt,
  microseconds,
  scalarAt,
  textOf,
  volume,
} from './short-forms.js';
import { port } from './short-ports.js';
import type { Value } from './tree.js';

const WINDOWS = refused('it is for Windows containers');
const PROVIDER = refused('what a provider makes is on one machine, not in the cluster');

const MOUNTED_IMAGE = refused(
  'an image is brought to a node and kept there for the services that run it, and an image that is only mounted is of none',
  'make an image with those files in it (COPY --from), or begin a volume with them',
);

const PORT = object(
  'a port',
  {
    name: [string, honoured],
    mode: [choice('ingress', 'host'), honoured],
    host_ip: [string, honoured],
    target: [whole(1, 65_535), honoured],
    published: [text('a port or a range of ports', { lax: true, pattern: /^(\d{1,5}(-\d{1,5})?)?$/ }), honoured],
    protocol: [choice('tcp', 'udp', 'sctp'), honoured],
    app_protocol: [string, differs('a hint, as in Compose: connections are passed on, whatever protocol they speak')],
  },
  { short: port, says: 'a port like "8080:80" or a map', required: ['target'], defaults: { protocol: 'tcp', mode: 'ingress' } },
);

/** What a port is known by; what is not said is what Compose takes for it. */
const portKey = (item: Value): string =>
  [textOf(item, 'host_ip') ?? '0.0.0.0', textOf(item, 'target'), textOf(item, 'published') ?? '', textOf(item, 'protocol') ?? 'tcp'].join(
    ' ',
  );

/** The source of a bind is a path of the user's machine, that of other volumes is none. */
const bindSource: Short = (e, field) => {
  if (field.value.kind !== 'map' || textOf(field.value, 'type') !== 'bind') return field.value;
  const source = entryOf(field.value, 'source');
  if (source?.value.kind !== 'scalar' || (source.value.text.includes('$') && !e.interpolate)) return field.value;
  const at = { value: source.value, at: source.at, path: `${field.path}.source` };
  const found = resolvePath(e, at, source.value.text);
  if (found === undefined) return undefined;
  if (found.includes('\0') || found.includes('\n')) return void reject(e.c, at, 'a path has no NUL and no line end');
  const value = { ...scalarAt(source.value.at, found), ...(source.value.text.startsWith('/') ? {} : { beside: true }) };
  return { ...field.value, entries: field.value.entries.map((entry) => (entry === source ? { ...entry, value } : entry)) };
};

const VOLUME = object(
  'a volume of a service',
  {
    type: [
      choice('volume', 'bind', 'tmpfs', 'image', 'cluster', 'npipe'),
      differs('volume, bind and tmpfs; an image, a volume of Swarm (cluster) and a pipe of Windows (npipe) are refused'),
    ],
    source: [string, honoured],
    target: [text('a path in the container', { then: cleanTarget }), honoured],
    read_only: [boolean, honoured],
    consistency: [string, differs('it is for Docker on macOS and means nothing on Linux')],
    bind: [
      object(
        'bind',
        {
          selinux: [choice('z', 'Z'), differs('a node without SELinux has no labels to set, and Weft sets none where there is')],
          propagation: [choice('private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'), honoured],
          create_host_path: [
            boolean,
            differs(
              'a path beside the compose file travels; of any other ctl up says on which nodes it is missing, and the directory is made on the node that mounts it',
            ),
          ],
          recursive: [choice('enabled', 'disabled', 'writable', 'readonly'), honoured],
        },
        { defaults: { create_host_path: true } },
      ),
      honoured,
    ],
    volume: [
      object('volume', {
        labels: [
          PAIRS,
          refused('they are of volumes without a name, and Weft has none', 'give labels to the volume under the top-level "volumes"'),
        ],
        nocopy: [boolean, honoured],
        subpath: [string, honoured],
      }),
      honoured,
    ],
    tmpfs: [object('tmpfs', { size: [bytes, honoured], mode: [mode, honoured] }), honoured],
    image: [object('image', { subpath: [string, MOUNTED_IMAGE] }), MOUNTED_IMAGE],
  },
  { short: volume, says: 'a volume like "data:/data" or a map', then: bindSource, required: ['type', 'target'] },
);

const ATTACHMENT = object(
  'a network of a service',
  {
    aliases: [STRINGS, honoured],
    driver_opts: [
      OPTIONS,
      refused(
        'an interface has its name by "interface_name", and begins with the settings of "sysctls" (net.ipv4.conf.default.…): no driver has more to set',
        'say it with those keys',
      ),
    ],
    gw_priority: [anyWhole, honoured],
    interface_name: [string, honoured],
    ipv4_address: [string, honoured],
    ipv6_address: [string, honoured],
    link_local_ips: [STRINGS, refused('link-local addresses mean something on one node only, and names never lead to them')],
    mac_address: [string, honoured],
    priority: [anyWhole, honoured],
  },
  { nullable: true },
);

export const DEPENDENCY = object(
  'a dependency',
  {
    condition: [choice('service_started', 'service_healthy', 'service_completed_successfully'), honoured],
    restart: [boolean, honoured],
    required: [boolean, honoured],
  },
  { required: ['condition'], defaults: { required: true } },
);

const BLKIO_RATES = list(object('a rate of a device', { path: [string, honoured], rate: [bytes, honoured] }));

const WATCH_EXEC = object(
  'a command',
  {
    command: [COMMAND, honoured],
    user: [laxText('a user'), honoured],
    privileged: [boolean, refused('a command is run with the rights that the container has')],
    working_dir: [string, honoured],
    environment: [ENVIRONMENT, honoured],
  },
  { required: ['command'] },
);

const WATCH = list(
  object(
    'a path to watch',
    {
      path: [path(), honoured],
      action: [
        choice('rebuild', 'sync', 'restart', 'sync+restart', 'sync+exec'),
        differs('restart and sync+restart drain a task first, as an update does'),
      ],
      target: [string, honoured],
      exec: [WATCH_EXEC, honoured],
      include: [STRING_OR_LIST, honoured],
      ignore: [STRING_OR_LIST, honoured],
      initial_sync: [boolean, honoured],
    },
    { required: ['path', 'action'] },
  ),
);

const ENV_FILES = list(
  object(
    'an env_file',
    { path: [path(), honoured], required: [boolean, honoured], format: [choice('raw'), honoured] },
    { short: inKey('path', { required: true }), says: 'a path or a map', required: ['path'], defaults: { required: true } },
  ),
  { short: (_, { value }) => (value.kind === 'list' ? value : { kind: 'list', at: value.at, items: [value] }), unique: byKey('path') },
);

const LOGGING = object(
  'logging',
  { driver: [string, honoured], options: [map('an option', laxText('a string or a number'), {}), honoured] },
  {
    mergeIf: (base, over) => {
      const drivers = [base, over].map((value) => textOf(value, 'driver'));
      return drivers[0] === undefined || drivers[1] === undefined || drivers[0] === drivers[1];
    },
  },
);

export const HEALTHCHECK = object('healthcheck', {
  test: [list(laxText(), { short: healthTest, replace: true, says: 'a string or a list of strings' }), honoured],
  timeout: [duration, honoured],
  interval: [duration, honoured],
  retries: [whole(), honoured],
  start_period: [duration, honoured],
  start_interval: [duration, honoured],
  disable: [boolean, honoured],
});

const cpuTime = { ...anyWhole, what: 'microseconds, or a time like "10ms"', short: microseconds };

export const SERVICE = object('a service', {
  profiles: [STRINGS, honoured],
  annotations: [PAIRS, honoured],
  attach: [boolean, differs('ctl up shows the logs of no service, whatever it says: they are read with ctl logs')],
  build: [BUILD, honoured],
  develop: [object('develop', { watch: [WATCH, honoured] }), honoured],
  blkio_config: [
    object('blkio_config', {
      weight: [whole(), honoured],
      weight_device: [list(object('a weight of a device', { path: [string, honoured], weight: [whole(), honoured] })), honoured],
      device_read_bps: [BLKIO_RATES, honoured],
      device_read_iops: [BLKIO_RATES, honoured],
      device_write_bps: [BLKIO_RATES, honoured],
      device_write_iops: [BLKIO_RATES, honoured],
    }),
    honoured,
  ],
  cap_add: [STRINGS, honoured],
  cap_drop: [STRINGS, honoured],
  cgroup_parent: [string, honoured],
  cgroup: [choice('host', 'private'), honoured],
  cpu_count: [whole(), WINDOWS],
  cpu_percent: [number('a percentage'), WINDOWS],
  cpu_period: [cpuTime, honoured],
  cpu_quota: [cpuTime, honoured],
  cpu_rt_period: [cpuTime, honoured],
  cpu_rt_runtime: [cpuTime, honoured],
  cpus: [number('a number of CPUs like "0.5"'), honoured],
  cpuset: [string, honoured],
  cpu_shares: [whole(), honoured],
  command: [COMMAND, honoured],
  configs: [FILE_MOUNT('a config of a service'), honoured],
  container_name: [text('a name', { pattern: /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/ }), honoured],
  credential_spec: [
    object('credential_spec', { config: [string, WINDOWS], file: [string, WINDOWS], registry: [string, WINDOWS] }),
    WINDOWS,
  ],
  depends_on: [
    map('a dependency', DEPENDENCY, {
      keys: NAME,
      says: 'a list or a map of services',
      short: keyList((at) => mapAt(at, { condition: 'service_started', required: true })),
    }),
    honoured,
  ],
  deploy: [DEPLOY, honoured],
  device_cgroup_rules: [list(string), honoured],
  devices: [
    list(
      object(
        'a device',
        {
          source: [string, honoured],
          target: [string, honoured],
          permissions: [text('some of r, w and m', { pattern: /^[rwm]{1,3}$/ }), honoured],
        },
        { short: device, says: 'a device like "/dev/x:/dev/x" or a map', required: ['source'] },
      ),
      { unique: byKey('target') },
    ),
    honoured,
  ],
  dns: [STRING_OR_LIST, honoured],
  dns_opt: [STRINGS, honoured],
  dns_search: [STRING_OR_LIST, honoured],
  domainname: [string, honoured],
  entrypoint: [COMMAND, honoured],
  provider: [object('provider', { type: [string, PROVIDER], options: [any, PROVIDER] }, { required: ['type'] }), PROVIDER],
  environment: [ENVIRONMENT, honoured],
  env_file: [ENV_FILES, honoured],
  expose: [TEXTS, honoured],
  extends: [
    object(
      'extends',
      { file: [path('a compose file'), honoured], service: [string, honoured] },
      { short: inKey('service'), says: 'the name of a service, or a map', required: ['service'] },
    ),
    honoured,
  ],
  external_links: [list(string), honoured],
  extra_hosts: [HOSTS, honoured],
  group_add: [TEXTS, honoured],
  gpus: [{ ...DEVICE_REQUESTS, short: allDevices }, GPUS],
  hostname: [string, honoured],
  healthcheck: [HEALTHCHECK, honoured],
  image: [string, honoured],
  init: [boolean, honoured],
  ipc: [string, honoured],
  isolation: [string, WINDOWS],
  labels: [PAIRS, honoured],
  label_file: [{ ...list(path(), { unique: itself }), short: STRING_OR_LIST.short }, honoured],
  links: [STRINGS, honoured],
  logging: [
    LOGGING,
    differs(
      'the log keeper of the node keeps 3 files of 10 MiB by default; of the drivers json-file and local, with max-size and max-file, and none',
    ),
  ],
  mem_limit: [bytes, honoured],
  mem_reservation: [bytes, honoured],
  memswap_limit: [bytes, honoured],
  mem_swappiness: [bytes, honoured],
  mac_address: [string, honoured],
  models: [
    map('a model', object('a model of a service', { endpoint_var: [string, MODELS], model_var: [string, MODELS] }, { nullable: true }), {
      says: 'a list or a map of models',
      short: keyList((at) => scalarAt(at, null)),
    }),
    MODELS,
  ],
  network_mode: [string, honoured],
  networks: [
    map('a network', ATTACHMENT, { short: keyList((at) => scalarAt(at, null)), says: 'a list or a map of networks', keys: NAME }),
    honoured,
  ],
  oom_kill_disable: [boolean, honoured],
  oom_score_adj: [{ ...anyWhole, min: -1000, max: 1000, what: 'a whole number from -1000 to 1000' }, honoured],
  pid: [string, honoured],
  pids_limit: [anyWhole, honoured],
  platform: [string, honoured],
  ports: [list(PORT, { spread: true, unique: portKey }), honoured],
  privileged: [boolean, honoured],
  pull_policy: [
    text('one of always, never, missing, if_not_present, build, refresh, daily, weekly, every_…', {
      pattern: /^(always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+)$/,
    }),
    differs(
      'always, never, missing, if_not_present and build; the ones with a time are refused: an image is asked for when a stack is brought up',
    ),
  ],
  pull_refresh_after: [string, refused('an image is asked for when a stack is brought up, and no record is kept of when')],
  read_only: [boolean, honoured],
  restart: [
    text('one of no, always, on-failure[:TIMES], unless-stopped', { pattern: /^(no|always|unless-stopped|on-failure(:\d{1,9})?)$/ }),
    differs(
      'what a container wrote to its files is kept from one start to the next, as with Docker, unless the start fails while the container is made or in a post_start hook: the next one is from the image',
    ),
  ],
  runtime: [string, differs('runc, or a name of containerd like io.containerd.runsc.v1')],
  scale: [whole(), honoured],
  secrets: [FILE_MOUNT('a secret of a service'), honoured],
  security_opt: [STRINGS, honoured],
  shm_size: [bytes, honoured],
  stdin_open: [boolean, honoured],
  stop_grace_period: [duration, honoured],
  stop_signal: [laxText('a signal'), honoured],
  storage_opt: [
    OPTIONS,
    refused(
      'containerd’s snapshots have no such options: there is no limit of what a container writes',
      'keep data in a tmpfs with a size, or in a volume',
    ),
  ],
  sysctls: [PAIRS, honoured],
  tmpfs: [STRING_OR_LIST, honoured],
  tty: [boolean, honoured],
  ulimits: [ULIMITS, honoured],
  use_api_socket: [boolean, refused('Weft runs on containerd: there is no engine socket to hand in')],
  user: [laxText('a user'), honoured],
  userns_mode: [string, differs('"host" alone: no container has user ids of its own')],
  uts: [string, honoured],
  volumes: [list(VOLUME, { unique: byKey('target') }), honoured],
  volumes_from: [
    STRINGS,
    differs(
      'a service of the file, whose task of the same number it is put beside where that has files of its node; container:NAME is refused, as what another stack mounts may change without this one',
    ),
  ],
  working_dir: [string, honoured],
  pre_start: [list(START_HOOK), PRE_START],
  post_start: [list(HOOK), differs('also when a container is started again after it ended; a hook that fails makes the start fail')],
  pre_stop: [list(HOOK), differs('together they may take as long as stop_grace_period')],
});
